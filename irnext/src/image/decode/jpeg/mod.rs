//! JPEG files, also damaged ones.

mod bits;
mod blocks;
mod walk;

#[cfg(test)]
mod tests;

use ::image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::cmyk::{Cmyk, to_rgb};
use super::decoded::{self, Decoded, Result, check_size, only};
use crate::image::metadata::{containers, exif};
use crate::image::photo::Limits;
use crate::image::segments::{EOI, coding, is_frame, segments};
use crate::image::{FileKind, Note, SourceFile};
use walk::Walk;

/// The part of the rows that may be missing of a file that is read all the same: the end of a
/// download.
const MAY_BE_MISSING: f64 = 0.05;

/// The samples of missing rows.
const GRAY: u8 = 128;

/// Decodes a file; of a damaged one, the readable part.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    refuse_rare_codings(bytes)?;
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options());
    decoder.decode_headers().map_err(|_| damaged())?;
    let (width, height) = decoder.dimensions().ok_or_else(damaged)?;
    check_size((width as u32, height as u32), limits)?;
    let (walk, notes) = inspect(bytes, limits)?;
    // A decoder makes detail of the bits that are not there.
    let sound = walk.and_then(|walk| walk.cut).map(|cut| [&bytes[..cut], &[0xFF, EOI]].concat());
    if let Some(sound) = &sound {
        decoder = JpegDecoder::new_with_options(ZCursor::new(sound), options());
        decoder.decode_headers().map_err(|_| damaged())?;
    }

    let color = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        Some(color @ (ColorSpace::CMYK | ColorSpace::YCCK)) => color,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options().jpeg_set_out_colorspace(color));
    let mut samples = decoder.decode().map_err(|_| damaged())?;
    if let Some(walk) = walk.filter(|walk| walk.rows < 1.0) {
        let row = samples.len() / height.max(1);
        let there = (walk.rows * height as f64) as usize;
        samples.iter_mut().skip(there * row).for_each(|sample| *sample = GRAY);
    }
    let mut icc = decoder.icc_profile();
    let (side, kind) = ((width as u32, height as u32), FileKind::Jpeg);
    let mut decoded = Decoded::new(DynamicImage::new_rgb8(0, 0), SourceFile::new(kind));
    decoded.notes = notes;
    let pixels = match color {
        ColorSpace::Luma => {
            GrayImage::from_raw(side.0, side.1, samples).map(DynamicImage::ImageLuma8)
        }
        ColorSpace::CMYK | ColorSpace::YCCK => {
            match color {
                ColorSpace::YCCK => samples.chunks_exact_mut(4).for_each(ycck_to_inks),
                // Adobe's programs store light, not ink, and the rest follow them.
                _ => samples.iter_mut().for_each(|sample| *sample = 255 - *sample),
            }
            let (rgb, note) = to_rgb(Cmyk::Eight(&samples), icc.take().as_deref());
            decoded.notes.push(note);
            rgb.into_image(width, height)
        }
        _ => RgbImage::from_raw(side.0, side.1, samples).map(DynamicImage::ImageRgb8),
    };
    decoded.pixels = pixels.ok_or_else(damaged)?;
    decoded.icc = icc;
    decoded.metadata = containers::of_jpeg(bytes);
    decoded.source.lossy = true;
    decoded.source.jpeg = coding(bytes);
    decoded.notes.extend(pictures(bytes).filter(|&count| count > 1).map(Note::FirstOf));
    decoded.notes.extend(decoded.metadata.has_video().then_some(Note::VideoLeftOut));
    Ok(decoded)
}

/// Cyan, magenta and yellow are stored as if they were red, green and blue, in the full range of
/// ITU-R BT.601, and black as light.
fn ycck_to_inks(pixel: &mut [u8]) {
    let [y, cb, cr] = [0, 1, 2].map(|i| f32::from(pixel[i]));
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    let inks = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    (0..3).for_each(|i| pixel[i] = inks[i].round() as u8);
    pixel[3] = 255 - pixel[3];
}

/// The state of the file, and its faults as notes; refused if too much of it is missing.
fn inspect(bytes: &[u8], limits: &Limits) -> Result<(Option<Walk>, Vec<Note>)> {
    let Some(walk) = walk::walk(bytes) else { return Ok((None, Vec::new())) };
    let mut notes = Vec::new();
    let percent = (100.0 * walk.rows).floor() as u8;
    if walk.rows < 1.0 - MAY_BE_MISSING && !limits.keep_going {
        return Err(only(percent));
    }
    if walk.rows < 1.0 {
        notes.push(Note::Incomplete(percent));
    }
    if walk.damaged {
        notes.push(Note::Damaged);
    }
    if walk.coarse {
        notes.push(Note::Coarse);
    }
    if !walk.ended && notes.is_empty() {
        notes.push(Note::NoEnd);
    }
    Ok((Some(walk), notes))
}

/// Whether a component of a frame has more samples than the first, which the decoder takes for
/// other places, or three where the others have one.
fn is_rarely_sampled(frame: &[u8]) -> bool {
    let factors = |component: &[u8]| [component[1] >> 4, component[1] & 15];
    let mut components = frame.get(6..).unwrap_or_default().chunks_exact(3).map(factors);
    let Some([across, down]) = components.next() else { return false };
    let is_rare = |factor: u8| !matches!(factor, 1 | 2 | 4);
    is_rare(across)
        || is_rare(down)
        || components.any(|[x, y]| x > across || y > down || is_rare(x) || is_rare(y))
}

fn refuse_rare_codings(bytes: &[u8]) -> Result<()> {
    /// The frame of JPEG-LS.
    const LS: u8 = 0xF7;
    let is_any_frame = |marker| is_frame(marker) || marker == LS;
    let Some(frame) = segments(bytes).find(|segment| is_any_frame(segment.marker)) else {
        return Err(damaged());
    };
    let save = "open it in an image program and save it as an ordinary JPEG or PNG";
    match (frame.marker, frame.contents) {
        (0xC0..=0xC2, [8, ..]) if is_rarely_sampled(frame.contents) => {
            Err(format!("a JPEG of a rare color sub-sampling, which cannot be read; {save}"))
        }
        (0xC0..=0xC2, [8, ..]) => Ok(()),
        (0xC0..=0xC2, [bits, ..]) => {
            Err(format!("a JPEG with {bits} bits, which cannot be read; {save}"))
        }
        (0xC9..=0xCB, _) => {
            Err(format!("a JPEG with arithmetic coding, which cannot be read; {save}"))
        }
        (LS, _) => Err(format!("a JPEG-LS file, which cannot be read; {save}")),
        (0xC3, _) => Err(format!("a lossless JPEG, which cannot be read; {save}")),
        _ => Err(format!("a JPEG of a rare kind, which cannot be read; {save}")),
    }
}

/// How many pictures the file has, if it says so (Multi-Picture Format).
fn pictures(bytes: &[u8]) -> Option<usize> {
    let list = segments(bytes).find_map(|segment| match segment.marker {
        0xE2 => segment.contents.strip_prefix(b"MPF\0"),
        _ => None,
    })?;
    exif::number_of_pictures(list)
}

fn options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

fn damaged() -> String {
    decoded::damaged(FileKind::Jpeg)
}
