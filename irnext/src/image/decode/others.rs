//! PNG, WebP, BMP and PNM files, by the decoders of `image`; of JPEG and GIF files, the size.

use std::borrow::Cow;
use std::io::{BufRead, Cursor, Read, Seek};

use ::image::codecs::png::PngDecoder;
use ::image::codecs::webp::WebPDecoder;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::bmp::{self, BMP_HEADER, bottom_up};
use super::decoded::{Area, Decoded, Result, check_size, damaged, gray_out, rare, truncated};
use super::png::{self, with_right_checksums};
use super::pnm;
use crate::image::metadata::png as in_png;
use crate::image::metadata::{Metadata, containers, exif};
use crate::image::photo::Limits;
use crate::image::{FileKind, Note, SourceFile};

/// Width and height.
type Size = (u32, u32);

pub(super) fn decode(bytes: &[u8], kind: FileKind, limits: &Limits) -> Result<Decoded> {
    match kind {
        FileKind::Png => {
            let file = with_right_checksums(bytes);
            let mut decoded = decode_sound(&file, kind, limits)?;
            if matches!(file, Cow::Owned(_)) {
                decoded.notes.push(Note::WrongChecksum);
            }
            Ok(decoded)
        }
        FileKind::Bmp => {
            let mut file = Cow::Borrowed(bytes);
            file = bmp::with_usual_header(&file).map_or(file, Cow::Owned);
            let turned = bottom_up(&file);
            let is_turned = turned.is_some();
            file = turned.map_or(file, Cow::Owned);
            let mut decoded = match bmp::lengthened(&file, limits)? {
                Some(longer) => decode_longer(longer, kind, limits)?,
                None => decode_sound(&file, kind, limits)?,
            };
            if is_turned {
                decoded.pixels = decoded.pixels.flipv();
            }
            Ok(decoded)
        }
        FileKind::Pnm => match pnm::lengthened(bytes, limits)? {
            Some(longer) => decode_longer(longer, kind, limits),
            None => decode_sound(bytes, kind, limits),
        },
        _ => decode_sound(bytes, kind, limits),
    }
}

/// Decodes a file that was lengthened where it ends early. The part that was not there becomes
/// gray; without a request for such files, there must be none.
fn decode_longer(
    (file, missing): (Vec<u8>, Area),
    kind: FileKind,
    limits: &Limits,
) -> Result<Decoded> {
    if missing.height > 0 && !limits.keep_going {
        return Err(truncated(kind));
    }
    let mut decoded = decode_sound(&file, kind, limits)?;
    if missing.height > 0 {
        let height = decoded.pixels.height() as usize;
        gray_out(&mut decoded.pixels, missing);
        let percent = 100 * (height - missing.height) / height;
        decoded.notes.push(Note::Incomplete(percent as u8));
    }
    Ok(decoded)
}

fn decode_sound(bytes: &[u8], kind: FileKind, limits: &Limits) -> Result<Decoded> {
    let refuse = |error| reason(error, kind);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format(kind)?);
    let mut memory = ::image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(16).max(1 << 26));
    reader.limits(memory);
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    check_size(decoder.dimensions(), limits)?;
    let icc = decoder.icc_profile().unwrap_or(None);
    let mut decoded = Decoded::new(Default::default(), SourceFile::new(kind));
    decoded.pixels = match DynamicImage::from_decoder(decoder) {
        Err(_) if kind == FileKind::Png && limits.keep_going => {
            let (pixels, note) = png::readable_part(bytes, limits)?;
            decoded.notes.push(note);
            pixels
        }
        pixels => pixels.map_err(refuse)?,
    };
    decoded.icc = icc;
    // Damaged metadata is no reason to refuse the pixels.
    match kind {
        FileKind::Png => (decoded.metadata, decoded.chunks) = in_png::of_png(bytes),
        FileKind::WebP => decoded.metadata = containers::of_webp(bytes),
        _ => {}
    }
    decoded.source.lossy = kind == FileKind::WebP && is_lossy_webp(bytes);
    decoded.notes.extend(frames(bytes, kind).filter(|&count| count > 1).map(Note::FirstOf));
    Ok(decoded)
}

/// The size of the image as stored, and its orientation.
pub(super) fn size(mut file: impl BufRead + Seek, kind: FileKind) -> Result<(Size, Option<u8>)> {
    let cannot = |error| format!("cannot be read: {error}");
    if kind == FileKind::Bmp {
        let mut bytes = Vec::new();
        file.by_ref().take(BMP_HEADER).read_to_end(&mut bytes).map_err(cannot)?;
        let mended = |bytes: &[u8]| bottom_up(bytes).or_else(|| bmp::with_usual_header(bytes));
        if bottom_up(&bytes).is_some() || bytes.get(14..18) == Some(&[64, 0, 0, 0]) {
            file.read_to_end(&mut bytes).map_err(cannot)?;
            return size_of_sound(Cursor::new(mended(&bytes).unwrap_or(bytes)), kind);
        }
        file.rewind().map_err(cannot)?;
    }
    let (size, orientation) = size_of_sound(&mut file, kind)?;
    // Behind the pixels, the decoder does not look.
    let late = (kind == FileKind::Png && orientation.is_none()).then(|| png_orientation(&mut file));
    Ok((size, orientation.or(late.flatten())))
}

/// The orientation that a PNG file tells, wherever in it.
fn png_orientation(file: &mut (impl BufRead + Seek)) -> Option<u8> {
    // More is no description.
    const MOST: u32 = 1 << 26;
    file.rewind().ok()?;
    let mut without_pixels = vec![0; 8];
    file.read_exact(&mut without_pixels).ok()?;
    let mut head = [0; 8];
    while file.read_exact(&mut head).is_ok() {
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if len > MOST || matches!(&head[4..], b"IDAT" | b"fdAT") {
            file.seek_relative(i64::from(len) + 4).ok()?;
        } else {
            without_pixels.extend(head);
            file.by_ref().take(u64::from(len) + 4).read_to_end(&mut without_pixels).ok()?;
        }
    }
    in_png::of_png(&without_pixels).0.orientation()
}

fn size_of_sound(file: impl BufRead + Seek, kind: FileKind) -> Result<(Size, Option<u8>)> {
    let reader = ImageReader::with_format(file, format(kind)?);
    let mut decoder = reader.into_decoder().map_err(|error| reason(error, kind))?;
    let block = decoder.exif_metadata().unwrap_or(None);
    let metadata = Metadata {
        exif: block.map(|block| exif::without_prefix(&block).into()),
        xmp: decoder.xmp_metadata().unwrap_or(None),
        ..Metadata::default()
    };
    Ok((decoder.dimensions(), metadata.orientation()))
}

fn format(kind: FileKind) -> Result<ImageFormat> {
    match kind {
        FileKind::Png => Ok(ImageFormat::Png),
        FileKind::Jpeg => Ok(ImageFormat::Jpeg),
        FileKind::WebP => Ok(ImageFormat::WebP),
        FileKind::Bmp => Ok(ImageFormat::Bmp),
        FileKind::Gif => Ok(ImageFormat::Gif),
        FileKind::Pnm => Ok(ImageFormat::Pnm),
        kind => Err(format!("{kind} files cannot be read")),
    }
}

/// How many images an animation has.
fn frames(bytes: &[u8], kind: FileKind) -> Option<usize> {
    match kind {
        FileKind::Png => {
            let decoder = PngDecoder::new(Cursor::new(bytes)).ok()?;
            decoder.is_apng().ok()?.then(|| apng_frames(bytes))?
        }
        FileKind::WebP => {
            let decoder = WebPDecoder::new(Cursor::new(bytes)).ok()?;
            decoder.has_animation().then(|| count_of(bytes, b"ANMF"))
        }
        _ => None,
    }
}

/// The number in the animation's header.
fn apng_frames(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"acTL")? + 4;
    let count = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(count) as usize)
}

fn count_of(bytes: &[u8], id: &[u8; 4]) -> usize {
    bytes.windows(4).filter(|window| window == id).count()
}

fn is_lossy_webp(bytes: &[u8]) -> bool {
    let mut at = 12;
    while let Some(head) = bytes.get(at..at + 8) {
        if &head[..4] == b"VP8 " {
            return true;
        }
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        at += 8 + size.next_multiple_of(2);
    }
    false
}

/// A decoder's error in words.
fn reason(error: ImageError, kind: FileKind) -> String {
    use std::io::ErrorKind::UnexpectedEof;
    match error {
        ImageError::IoError(error) if error.kind() == UnexpectedEof => truncated(kind),
        ImageError::IoError(error) => format!("cannot be read: {error}"),
        ImageError::Limits(_) => "takes too much memory to decode".into(),
        ImageError::Unsupported(_) => rare(kind),
        _ => damaged(kind),
    }
}
