//! From folders of images to the batches a network trains on.
//!
//! A [`Source`] has a list of images and makes training samples from them: [`Paired`] crops the
//! same place from a degraded photograph and its ground truth, [`Synthetic`] degrades a clean
//! photograph on the fly. A [`Loader`] assembles samples into [`Batch`]es on worker threads, in
//! advance. All random draws come from a counter-based generator, so a batch depends on the seed
//! and its step alone: not on the number of threads, and not on where a run was resumed.

mod cache;
mod crops;
mod files;
mod loader;
mod paired;
mod pairing;
mod source;
mod splits;
mod synthetic;

pub use cache::PhotoCache;
pub use crops::{CropSpec, CropWindow};
pub use files::image_files;
pub use loader::{Batch, Loader, LoaderConfig};
pub use paired::{Paired, border};
pub use pairing::{Pair, Pairing};
pub use source::Source;
pub(crate) use splits::scene_of;
pub use splits::{Role, Split, splits};
pub use synthetic::{MakePair, Synthetic};

#[cfg(test)]
pub(crate) mod tests {
    use super::files::{file_name, image_files};
    use std::fs;
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
