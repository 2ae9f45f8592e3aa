//! Everything here is a test; the crate itself has the search for files and the reader of source
//! text that several of them share, and the examples in the packages' READMEs.

pub mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// The files below `folder` with one of these extensions, in the order of their paths. Build
/// outputs and hidden folders are passed over.
pub fn files_in(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for path in entries.map(|entry| entry.expect("an entry of a folder").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let extension = path.extension().unwrap_or_default();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if extensions.iter().any(|wanted| extension == *wanted) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `engine`'s page in a registry.
#[cfg(doctest)]
#[doc = include_str!("../../engine/README.md")]
mod engine_page {}

/// `nn`'s.
#[cfg(doctest)]
#[doc = include_str!("../../nn/README.md")]
mod nn_page {}

/// `irnext`'s.
#[cfg(doctest)]
#[doc = include_str!("../../irnext/README.md")]
mod irnext_page {}

/// `kernels`'.
#[cfg(doctest)]
#[doc = include_str!("../../kernels/README.md")]
mod kernels_page {}

/// `cuda-driver`'s.
#[cfg(doctest)]
#[doc = include_str!("../../kernels/driver/README.md")]
mod driver_page {}
