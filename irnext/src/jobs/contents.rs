//! What a file holds, by its first bytes.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The contents of a file, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// An image that can be read, or a file that is called one.
    Photo {
        /// The extension for a result of its format, without a dot.
        extension: String,
    },
    /// An image of a format that cannot be read, by its name.
    Unreadable(&'static str),
    /// No image.
    Other,
}

/// The formats that can be written, by their extensions, the usual one first.
const WRITTEN: [&[&str]; 6] = [
    &["jpg", "jpeg", "jpe", "jfif"],
    &["png"],
    &["webp"],
    &["tif", "tiff"],
    &["bmp"],
    &["pnm", "ppm", "pgm", "pam"],
];

/// Looks into the file `path`.
///
/// # Errors
/// If it cannot be opened, or is not a regular file: a pipe may never end.
pub fn contents(path: &Path) -> Result<Contents> {
    if !path.metadata().map_err(Error::io(path))?.is_file() {
        return Err(Error::image(path, "is not a regular file"));
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(64).read_to_end(&mut head).map_err(Error::io(path))?;
    let own = extension_of(path);
    Ok(match format(&head) {
        Some(Ok(usual)) => {
            let fits = own.as_ref().filter(|own| same_format(own, usual));
            Contents::Photo { extension: fits.cloned().unwrap_or_else(|| usual.into()) }
        }
        Some(Err(unreadable)) => Contents::Unreadable(unreadable),
        // Empty, damaged or no image at all. Reading it says which.
        None => own.map_or(Contents::Other, |extension| Contents::Photo { extension }),
    })
}

/// The usual extension of the format of a file with this beginning, or its name if it cannot be
/// read.
fn format(head: &[u8]) -> Option<Result<&'static str, &'static str>> {
    Some(match head {
        [0xFF, 0xD8, 0xFF, ..] => Ok("jpg"),
        [0x89, b'P', b'N', b'G', ..] => Ok("png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok("webp"),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Ok("tif"),
        [b'B', b'M', ..] => Ok("bmp"),
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => Ok("pnm"),
        [b'G', b'I', b'F', b'8', ..] => Err("GIF"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => Err("AVIF"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', b'e' | b'i', ..] => Err("HEIC"),
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Err("JPEG XL"),
        _ => return None,
    })
}

/// The usual extension of a file with these contents, if it can be read.
pub(super) fn extension_of_bytes(bytes: &[u8]) -> Option<&'static str> {
    format(bytes)?.ok()
}

/// The extension of `path`, if it is that of an image that can be written.
pub(super) fn extension_of(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?;
    let is_known =
        WRITTEN.iter().any(|names| names.iter().any(|n| extension.eq_ignore_ascii_case(n)));
    is_known.then(|| extension.into())
}

/// Whether two extensions name one format.
pub(super) fn same_format(a: &str, b: &str) -> bool {
    let has =
        |names: &[&str], extension: &str| names.iter().any(|n| extension.eq_ignore_ascii_case(n));
    WRITTEN.iter().any(|names| has(names, a) && has(names, b))
}
