//! The readable part of PNM files that are cut short.

use std::io::Cursor;

use ::image::ImageDecoder;
use ::image::codecs::pnm::PnmDecoder;
use ::image::codecs::pnm::PnmSubtype::{Bitmap, Graymap, Pixmap};
use ::image::codecs::pnm::SampleEncoding::{Ascii, Binary};

use super::decoded::{Area, Result, check_size, truncated};
use crate::image::FileKind;
use crate::image::photo::Limits;

/// A file with zeros for the samples that it lacks at its end, and where these are in the picture;
/// `None` if it lacks none, or its header cannot be used.
pub(super) fn lengthened(bytes: &[u8], limits: &Limits) -> Result<Option<(Vec<u8>, Area)>> {
    match lengthened_rows(bytes, limits) {
        Some((_, missing)) if missing.y == 0 => Err(truncated(FileKind::Pnm)),
        longer => Ok(longer),
    }
}

fn lengthened_rows(bytes: &[u8], limits: &Limits) -> Option<(Vec<u8>, Area)> {
    let decoder = PnmDecoder::new(Cursor::new(bytes)).ok()?;
    check_size(decoder.dimensions(), limits).ok()?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let channels = usize::from(decoder.color_type().channel_count());
    let row_bytes = usize::try_from(decoder.total_bytes()).ok()? / height;
    let encoding = decoder.subtype();
    let samples = &bytes[decoder.into_inner().0.position() as usize..];
    // What a row takes, how much there is, how much of that is whole, and what a zero looks like.
    let (row, there, whole, zero) = match encoding {
        Bitmap(Binary) => (width.div_ceil(8), samples.len(), samples.len(), &b"\0"[..]),
        Bitmap(Ascii) => {
            let digits = samples.iter().filter(|byte| byte.is_ascii_digit()).count();
            (width, digits, digits, &b"0"[..])
        }
        Graymap(Ascii) | Pixmap(Ascii) => {
            let words = samples.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let numbers = words.count();
            // Of the last, digits may be missing.
            let is_cut = samples.last().is_some_and(|byte| !byte.is_ascii_whitespace());
            (width * channels, numbers, numbers - usize::from(is_cut), &b" 0"[..])
        }
        _ => (row_bytes, samples.len(), samples.len(), &b"\0"[..]),
    };
    let missing = (row * height).checked_sub(there).filter(|missing| *missing > 0)?;
    let rows = whole / row;
    let area = Area { x: 0, y: rows, width, height: height - rows };
    Some(([bytes, &zero.repeat(missing)].concat(), area))
}
