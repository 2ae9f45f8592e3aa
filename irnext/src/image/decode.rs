//! From the bytes of an image file to a [`Photo`]. Errors are plain text; the caller adds the
//! file's name.

use std::any::Any;
use std::io::{BufRead, Cursor, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::codecs::tiff::TiffDecoder;
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::Image;
use super::photo::{Depth, Limits, Photo};

type Result<T> = std::result::Result<T, String>;

/// The number of bytes at the start of a file that [`detect_format`] needs.
pub(super) const SIGNATURE_LEN: u64 = 64;

/// The format that a file starting with `head` is in, if it can be read.
pub(super) fn detect_format(head: &[u8]) -> Result<ImageFormat> {
    const READ: &str = "PNG, JPEG, WebP, BMP, TIFF and PNM can be read";
    if head.is_empty() {
        return Err("the file is empty".into());
    }
    match ::image::guess_format(head) {
        Ok(format) if format.reading_enabled() => Ok(format),
        Ok(format) => Err(format!("{format:?} files cannot be read; {READ}")),
        Err(_) => Err(format!("not an image, or of an unknown type; {READ}")),
    }
}

/// Decodes the whole file.
pub(super) fn photo(bytes: &[u8], limits: &Limits) -> Result<Photo> {
    let format = detect_format(bytes)?;
    guarded(|| decode(bytes, format, limits))
}

/// The width and height of the upright image, from the header of the file that `reader` starts.
pub(super) fn size(
    reader: impl BufRead + Seek,
    format: ImageFormat,
    limits: &Limits,
) -> Result<(usize, usize)> {
    guarded(|| {
        let mut decoder = open(reader, format, limits)?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        match decoder.orientation() {
            Ok(
                Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH,
            ) => Ok((height, width)),
            _ => Ok((width, height)),
        }
    })
}

/// The decoders return errors and are fuzzed. If one panics all the same, the panic becomes an
/// error about this file.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(format!("the decoder failed: {}", message(panic.as_ref()))))
}

fn decode(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Photo> {
    // Decoders silently fill the missing part of a JPEG with gray.
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err("the file is truncated".into());
    }
    let mut decoder = open(Cursor::new(bytes), format, limits)?;
    // Damaged metadata is no reason to refuse the pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let icc = match format {
        ImageFormat::Tiff => tiff_profile(bytes),
        _ => decoder.icc_profile().unwrap_or(None),
    };
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(reason)?;
    pixels.apply_orientation(orientation);
    let mut photo = convert(pixels)?;
    photo.icc = icc.filter(|profile| describes(profile, photo.gray));
    Ok(photo)
}

/// Reads the header, and stops there if the image is too large.
fn open<'a, R: BufRead + Seek + 'a>(
    reader: R,
    format: ImageFormat,
    limits: &Limits,
) -> Result<impl ImageDecoder + use<'a, R>> {
    let mut reader = ImageReader::with_format(reader, format);
    let mut memory = ::image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(16).max(1 << 26));
    reader.limits(memory);
    let decoder = reader.into_decoder().map_err(reason)?;
    check_size(decoder.dimensions(), limits)?;
    Ok(decoder)
}

fn check_size((width, height): (u32, u32), limits: &Limits) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(format!("the image has no pixels ({width}x{height})"));
    }
    if width.max(height) > limits.max_side || pixels > limits.max_pixels {
        return Err(format!(
            "the image is too large: {width}x{height}; up to {} pixels a side and {} megapixels \
             are read",
            limits.max_side,
            limits.max_pixels as f64 / 1e6
        ));
    }
    Ok(())
}

fn convert(pixels: DynamicImage) -> Result<Photo> {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let channels = usize::from(pixels.color().channel_count());
    let eight = |raw: Vec<u8>| {
        let scale = |sample: u8| f32::from(sample) / 255.0;
        split(&raw, width, height, channels, Depth::Eight, scale)
    };
    let sixteen = |raw: Vec<u16>| {
        let scale = |sample: u16| f32::from(sample) / 65535.0;
        split(&raw, width, height, channels, Depth::Sixteen, scale)
    };
    match pixels {
        DynamicImage::ImageLuma8(p) => Ok(eight(p.into_raw())),
        DynamicImage::ImageLumaA8(p) => Ok(eight(p.into_raw())),
        DynamicImage::ImageRgb8(p) => Ok(eight(p.into_raw())),
        DynamicImage::ImageRgba8(p) => Ok(eight(p.into_raw())),
        DynamicImage::ImageLuma16(p) => Ok(sixteen(p.into_raw())),
        DynamicImage::ImageLumaA16(p) => Ok(sixteen(p.into_raw())),
        DynamicImage::ImageRgb16(p) => Ok(sixteen(p.into_raw())),
        DynamicImage::ImageRgba16(p) => Ok(sixteen(p.into_raw())),
        other => Err(format!(
            "samples of type {:?} cannot be read; save the image with 8 or 16 bits",
            other.color()
        )),
    }
}

/// Splits interleaved samples into color and alpha; `channels` is 1 (gray), 2 (gray, alpha), 3 or
/// 4.
fn split<T: Copy>(
    raw: &[T],
    width: usize,
    height: usize,
    channels: usize,
    depth: Depth,
    scale: impl Fn(T) -> f32,
) -> Photo {
    let gray = channels < 3;
    let has_alpha = matches!(channels, 2 | 4);
    let mut data = Vec::with_capacity(width * height * 3);
    let mut alpha = has_alpha.then(|| Vec::with_capacity(width * height));
    for pixel in raw.chunks_exact(channels) {
        if gray {
            data.extend([scale(pixel[0]); 3]);
        } else {
            data.extend(pixel[..3].iter().map(|&sample| scale(sample)));
        }
        if let Some(alpha) = &mut alpha {
            alpha.push(scale(pixel[channels - 1]));
        }
    }
    Photo { rgb: Image { width, height, data }, alpha, depth, gray, icc: None, notes: Vec::new() }
}

/// Once its limits are set, the TIFF decoder gives no more memory to a profile than the pixels
/// take, which is too little for a small image: a second one, that keeps its own limits, reads the
/// profile.
fn tiff_profile(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = TiffDecoder::new(Cursor::new(bytes)).ok()?;
    decoder.icc_profile().unwrap_or(None)
}

/// Whether an ICC profile is one for the channels that came out of the decoder: bytes 16 to 19 name
/// its color space.
fn describes(profile: &[u8], gray: bool) -> bool {
    let space: &[u8] = if gray { b"GRAY" } else { b"RGB " };
    profile.get(16..20) == Some(space)
}

/// Whether a JPEG file goes on until its end-of-image marker. Walks from marker to marker, since
/// the same two bytes also end the preview that a camera puts inside a segment.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        at += match (first, marker) {
            (0xFF, END_OF_IMAGE) => return true,
            // Compressed data, a fill byte, an escaped 0xFF, or a marker that stands alone.
            (..0xFF, _) | (0xFF, 0xFF) => 1,
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8) => 2,
            // A segment: its length, which counts itself, follows.
            (0xFF, _) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        };
    }
    false
}

fn reason(error: ImageError) -> String {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file is truncated".into()
        }
        error => error.to_string(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause")
}
