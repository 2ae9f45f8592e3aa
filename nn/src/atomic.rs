//! Writes files atomically, so that a name never stands for half a file.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

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
        if numbers(&path).is_some() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Removes the partial files in `folder` whose processes were killed. Unlike [`remove_partial`], it
/// leaves alone those that a process is writing, on this machine or on another one that shares the
/// folder: a file is locked as long as its process lives. Locks may not reach other machines, so
/// the files that were made there, or here before the last start of the system, must also be a day
/// old. A folder that cannot be searched, and files that cannot be removed, stay as they are.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("result.txt");
/// let writing = nn::Reserved::beside(&path)?;
/// nn::remove_abandoned(folder.path());
/// writing.replace(b"whole")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_file = || path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if let Some(numbers) = numbers(&path).filter(|_| is_file()) {
            let _ = remove_if_abandoned(&path, &numbers);
        }
    }
}

/// How long a file that may be of another machine must be unchanged before it counts as abandoned.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

fn remove_if_abandoned(path: &Path, numbers: &[u32]) -> io::Result<()> {
    // Some network drives lock only files that are open for writing.
    let file = File::options().write(true).open(path)?;
    file.try_lock()?;
    let is_of_here = matches!(numbers, [system, _, _] if Some(*system) == *SYSTEM);
    let is_old =
        || Ok::<_, io::Error>(file.metadata()?.modified()?.elapsed().ok() > Some(ABANDONED));
    // While it is locked: see `create_in`.
    if is_of_here || is_old()? { fs::remove_file(path) } else { Ok(()) }
}

/// The numbers in the name of a partial file: the system, the process and the attempt. Earlier
/// versions gave no system. None for other files.
fn numbers(path: &Path) -> Option<Vec<u32>> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    let numbers: Vec<u32> =
        name.split('-').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    matches!(numbers.len(), 2 | 3).then_some(numbers)
}

/// A number for this machine since its last start; none where the system does not tell. All
/// processes that share it see each other's locks.
static SYSTEM: LazyLock<Option<u32>> = LazyLock::new(|| {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u32::from_str_radix(id.get(..8)?, 16).ok()
});

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

/// A new hidden file in `folder`, locked until it is closed. Its name does not contain the final
/// one, which may be as long as names can be.
fn create_in(folder: &Path) -> io::Result<(File, PathBuf)> {
    let system = SYSTEM.map(|system| format!("{system}-")).unwrap_or_default();
    let mut attempt = 0;
    loop {
        let partial = folder.join(format!(".{system}{}-{attempt}{SUFFIX}", std::process::id()));
        match File::create_new(&partial) {
            Ok(file) => match file.try_lock() {
                Ok(()) if partial.exists() => return Ok((file, partial)),
                // Between the two calls, another process took the file for an abandoned one, and
                // removes it.
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                // Where nothing can be locked, nobody finds it unlocked.
                Err(TryLockError::Error(_)) => return Ok((file, partial)),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        attempt += 1;
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

    #[test]
    fn files_of_killed_processes_are_removed_and_those_of_living_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let living = Reserved::beside(&at("a")).unwrap();
        let killed = Reserved::beside(&at("b")).unwrap();
        let abandoned = killed.partial.clone();
        // As the end of a process leaves it: closed, and so unlocked, but with its name.
        let Reserved { file, .. } = &killed;
        file.unlock().unwrap();
        // Of another machine or of an earlier version: only the old ones are safe to remove.
        let days = Duration::from_secs(2 * 24 * 60 * 60);
        let long_ago = std::time::SystemTime::now() - days;
        let other = SYSTEM.unwrap_or_default().wrapping_add(1);
        let names = [format!(".{other}-7-0.part"), ".7-0.part".into()];
        for name in &names {
            fs::write(at(name), "new").unwrap();
            let old = name.replace("7-0", "7-1");
            fs::write(at(&old), "old").unwrap();
            File::options().write(true).open(at(&old)).unwrap().set_modified(long_ago).unwrap();
        }
        let others = ["1-7-0.part", ".a-7-0.part", ".7.part", ".1-2-3-4.part", ".1-7-0.parts"];
        others.iter().for_each(|name| fs::write(at(name), "theirs").unwrap());
        fs::create_dir(at(".1-7-9.part")).unwrap();

        remove_abandoned(folder.path());
        assert_eq!(abandoned.exists(), SYSTEM.is_none());
        assert!(living.partial.exists());
        for name in &names {
            assert!(at(name).exists() && !at(&name.replace("7-0", "7-1")).exists(), "{name}");
        }
        assert!(others.iter().all(|name| at(name).exists()) && at(".1-7-9.part").exists());
        living.replace(b"whole").unwrap();
        assert_eq!(fs::read(at("a")).unwrap(), b"whole");
        remove_abandoned(&at("missing"));
    }
}
