//! From folders of images to the batches a network trains on.
//!
//! A [`Source`] knows its images and makes one training sample of one of them: [`Paired`] cuts the
//! same place out of a degraded photograph and its ground truth, [`Synthetic`] degrades a clean
//! photograph on the fly. A [`Loader`] puts samples together to [`Batch`]es on worker threads,
//! ahead of the training that uses them. Every draw comes from a counter-based generator, so that a
//! batch depends on the seed and its step and on nothing else: not on the number of threads, and
//! not on where a run was resumed.

mod cache;
mod crops;
mod loader;
mod paired;
mod pairing;
mod splits;
mod synthetic;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use engine::Rng;

pub use cache::{PhotoCache, Pixels};
pub use crops::{CropSpec, Window};
pub use loader::{Batch, Loader, LoaderConfig};
pub use paired::{Paired, border};
pub use pairing::{Pair, Pairing};
pub(crate) use splits::scene_of;
pub use splits::{Role, Split, splits};
pub use synthetic::{Degrade, Synthetic};

use crate::error::{Error, Result};
use crate::image::Image;

/// A set of images that training samples are made of. Shared between threads.
pub trait Source: Send + Sync {
    /// How many images there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to call image `index` in messages and tables: its file's name. Panics if `index` is not
    /// below `len()`.
    fn name(&self, index: usize) -> String;

    /// The width and height of image `index`; from its file's header, where it is a file. The error
    /// names the file. Panics if `index` is not below `len()`.
    fn size(&self, index: usize) -> Result<(usize, usize)> {
        let (input, _) = self.full(index)?;
        Ok((input.width, input.height))
    }

    /// A training sample (input, target) made of image `index`, both of the size that `crop` names.
    /// Random choices are drawn from `rng` and from nowhere else. The error names the file. Panics
    /// if `index` is not below `len()`.
    fn sample(&self, index: usize, rng: &mut Rng, crop: &CropSpec) -> Result<(Image, Image)>;

    /// The pair (input, target) of image `index` that scores are computed on, the same at every
    /// call. The error names the file. Panics if `index` is not below `len()`.
    fn full(&self, index: usize) -> Result<(Image, Image)>;
}

/// The image files in `folder`, known by their extensions and sorted by name; not those in its
/// sub-folders, and no hidden ones.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    const EXTENSIONS: [&str; 11] =
        ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pam", "pnm"];
    let mut files = entries(folder)?;
    files.retain(|path| {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) && path.is_file()
    });
    Ok(files)
}

/// The image files in `folder`, or those in its sub-folders if it has none itself (RESIDE's OTS
/// comes in parts).
fn image_files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = image_files(folder)?;
    if files.is_empty() {
        for part in folders(folder)? {
            files.extend(image_files(&part)?);
        }
    }
    Ok(files)
}

/// The folders in `folder`, sorted by name; no hidden ones.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// What is in `folder` and not hidden. Sorted, since the order in which a file system lists its
/// files is its own.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path, as text.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(OsStr::new(""));
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A folder with these (empty) files in it.
    pub(crate) fn tree(files: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        root
    }

    #[test]
    fn lists_image_files_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.PNG", "a.jpg", "notes.txt", ".c.png", "10.tif", "9.tif"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        fs::create_dir(folder.path().join("folder.png")).unwrap();
        let files = image_files(folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|path| file_name(path)).collect();
        assert_eq!(names, ["10.tif", "9.tif", "a.jpg", "b.PNG"]);

        let missing = folder.path().join("missing");
        let error = image_files(&missing).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
