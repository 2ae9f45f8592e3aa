//! Writes files atomically, so that a name never stands for half a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The end of the names of files that are being written.
const SUFFIX: &str = ".part";

/// Writes `bytes` to a new file beside `path`, waits until they are on the disk, and renames the
/// file to `path`. Even after an interruption, `path` holds the old contents or the new.
///
/// ```
/// # let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("best.txt");
/// nn::write_atomically(&path, b"step 1").expect("written");
/// nn::write_atomically(&path, b"step 2").expect("replaced");
/// assert_eq!(std::fs::read(&path).expect("whole"), b"step 2");
/// # Ok::<_, nn::Error>(())
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Reserved::beside(path)?.replace(bytes)
}

/// Like [`write_atomically`], but moves the earlier contents of `path` to `previous`. Even after an
/// interruption, the earlier contents are whole, at one of the two.
///
/// ```
/// # let folder = tempfile::tempdir().expect("a folder");
/// let [path, previous] = ["now.txt", "before.txt"].map(|name| folder.path().join(name));
/// for contents in ["step 1", "step 2"] {
///     nn::write_keeping(&path, &previous, contents.as_bytes()).expect("written");
/// }
/// assert_eq!(std::fs::read(&previous).expect("kept"), b"step 1");
/// # Ok::<_, nn::Error>(())
/// ```
pub fn write_keeping(path: &Path, previous: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut reserved = Reserved::beside(path)?;
    reserved.file.write_all(bytes)?;
    reserved.finish_keeping(Some(previous))
}

/// Removes the partial files that an interrupted process left in `folder`. No other process may be
/// writing there.
///
/// ```
/// # let folder = tempfile::tempdir().expect("a folder");
/// let interrupted = folder.path().join(".4711-0.part");
/// std::fs::write(&interrupted, b"half a fi").expect("written");
/// nn::remove_partial(folder.path()).expect("removed");
/// assert!(!interrupted.exists());
/// # Ok::<_, nn::Error>(())
/// ```
pub fn remove_partial(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let numbers = name.strip_prefix('.').and_then(|name| name.strip_suffix(SUFFIX));
        if numbers
            .is_some_and(|numbers| numbers.split('-').all(|number| number.parse::<u32>().is_ok()))
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A new file that is to take the name `path`: made before the work whose result it is for, so that
/// a folder that cannot be written to is noticed first. Dropped, it leaves nothing behind.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("result.txt");
/// let reserved = nn::Reserved::beside(&path)?;
/// let result = "the work of an hour";
/// reserved.replace(result.as_bytes())?;
/// assert_eq!(std::fs::read_to_string(&path)?, result);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Reserved {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    /// Whether the file still has the name `partial`.
    pending: bool,
}

impl Reserved {
    /// Makes the file, hidden, beside `path`.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let (file, partial) = create_in(folder_of(path))?;
        Ok(Self { file, partial, path: path.into(), pending: true })
    }

    /// The file, to be written, and to get permissions and times.
    ///
    /// ```
    /// use std::io::Write;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("lines.txt");
    /// let reserved = nn::Reserved::beside(&path)?;
    /// for line in 1..=3 {
    ///     writeln!(reserved.file(), "{line}")?;
    /// }
    /// reserved.finish()?;
    /// assert_eq!(std::fs::read_to_string(&path)?, "1\n2\n3\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes `bytes` and takes the name.
    pub fn replace(mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.finish()
    }

    /// Waits until the file is on the disk, and renames it to its `path`. Even after an
    /// interruption, `path` holds the old contents or the new.
    pub fn finish(self) -> io::Result<()> {
        self.finish_keeping(None)
    }

    fn finish_keeping(mut self, previous: Option<&Path>) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(previous) = previous.filter(|_| self.path.exists()) {
            fs::rename(&self.path, previous)?;
        }
        fs::rename(&self.partial, &self.path)?;
        self.pending = false;
        // Makes the new name itself durable. Not every file system can sync a folder, and the file
        // is whole already.
        if let Ok(folder) = File::open(folder_of(&self.path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.pending {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new hidden file in `folder`. Its name does not contain the final one, which may be as long as
/// names can be.
fn create_in(folder: &Path) -> io::Result<(File, PathBuf)> {
    let mut attempt = 0;
    loop {
        let partial = folder.join(format!(".{}-{attempt}{SUFFIX}", std::process::id()));
        match File::create_new(&partial) {
            Ok(file) => return Ok((file, partial)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(write_atomically(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("missing/x"), b"x").is_err());
    }

    #[test]
    fn what_is_reserved_and_not_used_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let reserved = Reserved::beside(&folder.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(reserved);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(Reserved::beside(&folder.path().join("missing/a")).is_err());
    }

    #[test]
    fn the_contents_before_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, previous) = (folder.path().join("a"), folder.path().join("b"));
        for (i, contents) in [b"1", b"2", b"3"].into_iter().enumerate() {
            write_keeping(&path, &previous, contents).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
            assert_eq!(previous.exists(), i > 0);
        }
        assert_eq!(fs::read(&previous).unwrap(), b"2");
    }

    #[test]
    fn only_what_was_being_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (_, partial) = create_in(folder.path()).unwrap();
        let others = [".part", "7-0.part", ".a-0.part", "x"].map(|name| folder.path().join(name));
        others.iter().for_each(|path| fs::write(path, "theirs").unwrap());
        remove_partial(folder.path()).unwrap();
        assert!(!partial.exists());
        assert!(others.iter().all(|path| path.exists()));
    }
}
