//! Writing a result: its place is taken before the work, and filled after it.

use crate::error::{Error, Result};
use nn::Reserved;
use std::fs::{self, File, Metadata};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// The place of a result. Dropped without being filled, it leaves nothing behind but folders.
pub(super) struct Place {
    path: PathBuf,
    reserved: Reserved,
}

impl Place {
    /// Takes the place of `path`, for a result of the photograph with this metadata: makes the
    /// folders above it, and a hidden file in the last one.
    ///
    /// # Errors
    /// If nothing can be written there, or it exists and is not to be replaced.
    pub fn take(path: &Path, photo: &Metadata, overwrite: bool) -> Result<Self> {
        let target = follow(path);
        let existing = match target.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(Error::image(path, "is a folder")),
            Ok(_) if !overwrite => {
                return Err(Error::image(path, "already exists; --overwrite replaces it"));
            }
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot(path)(error)),
        };
        if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(cannot(path))?;
        }
        let reserved = Reserved::beside(&target).map_err(cannot(path))?;
        let file = reserved.file();
        match existing {
            Some(existing) => file.set_permissions(existing.permissions()),
            None => restrict(file, photo),
        }
        .map_err(cannot(path))?;
        Ok(Self { path: path.into(), reserved })
    }

    /// Takes as much of the disk as the result will have at least, so that a full one is noticed
    /// before the work. The result is written over it.
    pub fn hold(self, len: u64) -> Result<Self> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        // More is not worth the time to write it twice.
        const MOST: u64 = 64 << 20;
        let mut file = self.reserved.file();
        let mut rest = len.min(MOST);
        while rest > 0 {
            let part = rest.min(ZEROS.len() as u64);
            file.write_all(&ZEROS[..part as usize]).map_err(cannot(&self.path))?;
            rest -= part;
        }
        file.rewind().map_err(cannot(&self.path))?;
        Ok(self)
    }

    /// Writes the result. It gets the photograph's time of modification, by which programs sort
    /// pictures that do not say when they were taken.
    pub fn fill(self, bytes: &[u8], photo: &Metadata) -> Result<()> {
        let mut file = self.reserved.file();
        let written = file.write_all(bytes).and_then(|()| file.set_len(bytes.len() as u64));
        written.map_err(cannot(&self.path))?;
        // Not every file system keeps times.
        let _ = photo.modified().and_then(|time| file.set_modified(time));
        self.reserved.finish().map_err(cannot(&self.path))
    }
}

/// An error about writing `path`.
fn cannot(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::image(path, format!("cannot be written: {}", Error::words(&error)))
}

/// Gives `file` no permission that the photograph does not have, and none that new files are not
/// given.
#[cfg(unix)]
fn restrict(file: &File, photo: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_mode(permissions.mode() & photo.permissions().mode() & 0o777);
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
fn restrict(_file: &File, _photo: &Metadata) -> io::Result<()> {
    Ok(())
}

/// The file that `path` leads to, through links, whether it exists or not.
fn follow(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    // More links than any system follows.
    for _ in 0..64 {
        match fs::read_link(&target) {
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => break,
        }
    }
    target
}

/// Equal for two paths of one file: absolute, with links followed as far as the path exists.
pub(super) fn identity(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let path = follow(path);
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => {
            identity(Path::new(".")).join(name)
        }
        (Some(folder), Some(name)) => identity(folder).join(name),
        _ => path,
    }
}

/// The folder of `file`, or the nearest one above that exists.
pub(super) fn existing_folder(file: &Path) -> PathBuf {
    let file = follow(file);
    let above = file.ancestors().skip(1).find(|folder| folder.exists());
    match above {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => PathBuf::from("."),
    }
}

/// An error if no file can be made in `folder`.
pub(super) fn check_writable(folder: &Path) -> Result<()> {
    // Dropped at once.
    Reserved::beside(&folder.join("result")).map(drop).map_err(cannot(folder))
}
