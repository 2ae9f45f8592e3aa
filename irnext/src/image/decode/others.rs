//! PNG, WebP, BMP, GIF and PNM files, by the decoders of `image`; of JPEG files, the size.

use std::borrow::Cow;
use std::io::{BufRead, Cursor, Read, Seek};

use ::image::codecs::gif::GifDecoder;
use ::image::codecs::png::PngDecoder;
use ::image::codecs::webp::WebPDecoder;
use ::image::{
    AnimationDecoder, ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader,
};

use super::decoded::{Area, Decoded, Result, check_size, damaged, gray_out, truncated};
use super::pnm;
use super::repair::{BMP_HEADER, bottom_up, with_right_checksums};
use super::samples::{eight_bits, sixteen_bits};
use crate::image::metadata::{Metadata, containers, exif, png};
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
        FileKind::Bmp => match bottom_up(bytes) {
            Some(file) => {
                let mut decoded = decode_sound(&file, kind, limits)?;
                decoded.pixels = decoded.pixels.flipv();
                Ok(decoded)
            }
            None => decode_sound(bytes, kind, limits),
        },
        FileKind::Pnm if limits.keep_going => match pnm::lengthened(bytes, limits) {
            Some((_, 0)) => Err(truncated(kind)),
            Some((file, rows)) => {
                let mut decoded = decode_sound(&file, kind, limits)?;
                let (width, height) = (decoded.pixels.width(), decoded.pixels.height() as usize);
                let missing = Area { x: 0, y: rows, width: width as usize, height: height - rows };
                gray_out(&mut decoded.pixels, missing);
                decoded.notes.push(Note::Incomplete((100 * rows / height) as u8));
                Ok(decoded)
            }
            None => decode_sound(bytes, kind, limits),
        },
        _ => decode_sound(bytes, kind, limits),
    }
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
    (decoded.pixels, decoded.notes) = pixels(decoder, kind, limits)?;
    decoded.icc = icc;
    // Damaged metadata is no reason to refuse the pixels.
    match kind {
        FileKind::Png => (decoded.metadata, decoded.chunks) = png::of_png(bytes),
        FileKind::WebP => decoded.metadata = containers::of_webp(bytes),
        _ => {}
    }
    decoded.source.lossy = kind == FileKind::WebP && is_lossy_webp(bytes);
    decoded.notes.extend(frames(bytes, kind).filter(|&count| count > 1).map(Note::FirstOf));
    Ok(decoded)
}

/// The pixels; of a damaged file, if requested, those that the decoder reached.
fn pixels(
    decoder: impl ImageDecoder,
    kind: FileKind,
    limits: &Limits,
) -> Result<(DynamicImage, Vec<Note>)> {
    let refuse = |error| reason(error, kind);
    if !limits.keep_going {
        return Ok((DynamicImage::from_decoder(decoder).map_err(refuse)?, Vec::new()));
    }
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    let len = usize::try_from(decoder.total_bytes()).map_err(|_| "takes too much memory")?;
    let mut bytes = vec![0; len];
    let error = decoder.read_image(&mut bytes).err();
    let row = (len / height.max(1) as usize).max(1);
    let empty = bytes.rchunks(row).take_while(|row| row.iter().all(|&byte| byte == 0)).count();
    let notes = match error {
        // WebP is decoded in passes over the whole picture.
        Some(error) if empty == height as usize || kind == FileKind::WebP => {
            return Err(refuse(error));
        }
        Some(_) if empty > 0 => {
            vec![Note::Incomplete((100 - 100 * empty / height as usize).min(99) as u8)]
        }
        Some(_) => vec![Note::Damaged],
        None => Vec::new(),
    };
    let (channels, size) = (usize::from(color.channel_count()), (width, height));
    let image = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {
            eight_bits(bytes, channels, size)
        }
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            let samples = bytes.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
            sixteen_bits(samples.collect(), channels, size)
        }
        _ => None,
    };
    Ok((image.ok_or("its samples are of a rare type")?, notes))
}

/// The size of the image as stored, and its orientation.
pub(super) fn size(mut file: impl BufRead + Seek, kind: FileKind) -> Result<(Size, Option<u8>)> {
    let cannot = |error| format!("cannot be read: {error}");
    if kind == FileKind::Bmp {
        let mut bytes = Vec::new();
        file.by_ref().take(BMP_HEADER).read_to_end(&mut bytes).map_err(cannot)?;
        if bottom_up(&bytes).is_some() {
            file.read_to_end(&mut bytes).map_err(cannot)?;
            return size_of_sound(Cursor::new(bottom_up(&bytes).unwrap_or(bytes)), kind);
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
    png::of_png(&without_pixels).0.orientation()
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
        FileKind::Gif => {
            let frames = GifDecoder::new(Cursor::new(bytes)).ok()?.into_frames();
            Some(frames.take_while(|frame| frame.is_ok()).count())
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
        ImageError::Unsupported(_) => format!(
            "a {kind} of a rare kind, which cannot be read; open it in an image program and save \
             it as an ordinary PNG"
        ),
        _ => damaged(kind),
    }
}
