//! The kind of a file's contents, by its first bytes.

use crate::error::{Error, Result};
use crate::image::{FileKind, Format};
use std::path::Path;

/// The contents of a file, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContents {
    /// An image that can be read, or a file that is called one.
    Photo {
        /// The extension for a result of its format, without a dot.
        extension: String,
    },
    /// An image of a format that cannot be read, by its name.
    Unreadable(String),
    /// No image.
    Other,
}

/// Looks into the file `path`.
///
/// # Errors
/// If it cannot be opened, or is not a regular file: a pipe may never end.
pub fn contents(path: &Path) -> Result<FileContents> {
    if !path.metadata().map_err(Error::io(path))?.is_file() {
        return Err(Error::image(path, "is not a regular file"));
    }
    let (kind, own) = (FileKind::detect(path)?, extension_of(path));
    Ok(match kind {
        _ if kind.is_readable() => {
            // Results for what cannot be written are PNG.
            let usual = kind.extension().unwrap_or("png");
            let fits = own.filter(|own| same_format(own, usual));
            FileContents::Photo { extension: fits.unwrap_or_else(|| usual.into()) }
        }
        _ if kind.is_picture() => FileContents::Unreadable(kind.to_string()),
        // Empty, damaged or no image at all. Reading it says which.
        _ => own.map_or(FileContents::Other, |extension| FileContents::Photo { extension }),
    })
}

/// The extension of `path`, if it is that of an image that can be written.
pub(super) fn extension_of(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?;
    Format::of_extension(extension).map(|_| extension.into())
}

/// Whether two extensions name one format.
pub(super) fn same_format(a: &str, b: &str) -> bool {
    let kind = |extension| Format::of_extension(extension).map(Format::kind);
    kind(a).is_some() && kind(a) == kind(b)
}
