//! The files and folders of a data set.

use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The image files in `folder`, recognized by their extensions and sorted by name, without hidden
/// files and those in sub-folders.
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
pub(super) fn image_files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = image_files(folder)?;
    if files.is_empty() {
        for part in folders(folder)? {
            files.extend(image_files(&part)?);
        }
    }
    Ok(files)
}

/// The folders in `folder`, sorted by name, without hidden ones.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// The entries of `folder` that are not hidden, sorted, since file systems list them in any order.
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
pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(OsStr::new(""));
    name.to_string_lossy().into_owned()
}
