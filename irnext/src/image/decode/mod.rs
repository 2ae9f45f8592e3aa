//! From the bytes of an image file to a [`Photo`]. Errors are plain text; the caller adds the
//! file's name.

mod bmp;
mod cmyk;
mod decoded;
mod gif;
mod guard;
#[cfg(any(feature = "avif", feature = "heic"))]
mod heif;
pub(super) mod jpeg;
mod jxl;
mod others;
mod png;
mod pnm;
mod samples;
mod tiff;

use std::io::{BufRead, Seek};

use ::image::metadata::Orientation;

use super::photo::{Limits, Photo};
use super::profile::PhotoProfile;
use super::{FileKind, Note};
use decoded::{AGAIN, Result, check_size, only, only_readable};
pub(super) use guard::guarded;
use samples::split;

/// Decodes the whole file, or the readable part of it.
pub(super) fn photo(bytes: &[u8], limits: &Limits) -> Result<Photo> {
    let reason = match (readable(bytes, limits), limits.keep_going_option) {
        (Err(reason), Some(option)) if !limits.keep_going && reason.ends_with(AGAIN) => {
            // Only an attempt tells whether it would help, and how much there is.
            match readable(bytes, &Limits { keep_going: true, ..*limits }) {
                Ok(photo) => {
                    let there = photo.notes.iter().find_map(|note| match note {
                        Note::Incomplete(percent) if has_end(bytes) => {
                            Some(only_readable(*percent))
                        }
                        Note::Incomplete(percent) => Some(only(*percent)),
                        _ => None,
                    });
                    let reason = there.unwrap_or(reason);
                    format!("{reason}, or add {option} to restore its readable part")
                }
                Err(_) => reason,
            }
        }
        (result, _) => return result,
    };
    Err(reason)
}

/// Whether a file of a kind whose end shows has it, so that nothing is missing.
fn has_end(bytes: &[u8]) -> bool {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => bytes.ends_with(b"IEND\xAE\x42\x60\x82"),
        [b'G', b'I', b'F', ..] => bytes.ends_with(b"\0;"),
        _ => false,
    }
}

fn readable(bytes: &[u8], limits: &Limits) -> Result<Photo> {
    let kind = FileKind::of(&bytes[..bytes.len().min(super::kind::SIGNATURE_LEN as usize)]);
    if let Some(refusal) = kind.refusal() {
        return Err(refusal);
    }
    let mut decoded = guarded(|| match kind {
        FileKind::Jpeg => jpeg::decode(bytes, limits),
        FileKind::Tiff => tiff::decode(bytes, limits),
        FileKind::JpegXl => jxl::decode(bytes, limits),
        FileKind::Gif => gif::decode(bytes, limits),
        #[cfg(any(feature = "avif", feature = "heic"))]
        FileKind::Avif | FileKind::Heic => heif::decode(bytes, kind, limits),
        kind => others::decode(bytes, kind, limits),
    })?;
    let orientation = decoded.orientation.or_else(|| decoded.metadata.orientation());
    let orientation = orientation.and_then(Orientation::from_exif);
    decoded.pixels.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    let mut photo = split(decoded.pixels)?;
    photo.notes = decoded.notes;
    let (profile, note) =
        PhotoProfile::of_file(decoded.icc, decoded.chunks, &mut photo.pixels, photo.gray);
    photo.profile = profile;
    photo.notes.extend(note);
    photo.metadata = decoded.metadata;
    photo.metadata.complete();
    photo.metadata.make_upright(photo.pixels.width, photo.pixels.height);
    photo.source = Some(decoded.source);
    Ok(photo)
}

/// The width and height of the upright image, from the header of a file of this kind.
pub(super) fn size(
    file: impl BufRead + Seek,
    kind: FileKind,
    limits: &Limits,
) -> Result<(usize, usize)> {
    let ((width, height), orientation) = guarded(|| match kind {
        FileKind::Tiff => tiff::size(file),
        FileKind::JpegXl => jxl::size(file),
        #[cfg(any(feature = "avif", feature = "heic"))]
        FileKind::Avif | FileKind::Heic => heif::size(file, kind),
        kind => others::size(file, kind),
    })?;
    check_size((width, height), limits)?;
    let (width, height) = (width as usize, height as usize);
    Ok(if matches!(orientation, Some(5..=8)) { (height, width) } else { (width, height) })
}
