//! From a [`Photo`] to the bytes of an image file.

use std::io::Cursor;
use std::path::Path;

use ::image::codecs::bmp::BmpEncoder;
use ::image::codecs::jpeg::JpegEncoder;
use ::image::codecs::png::PngEncoder;
use ::image::codecs::tiff::TiffEncoder;
use ::image::codecs::webp::WebPEncoder;
use ::image::{ExtendedColorType, ImageEncoder};

use super::photo::{Depth, Photo};
use crate::error::{Error, Result};

const JPEG_QUALITY: u8 = 95;

/// The formats that can be written, by their extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
    Bmp,
    Tiff,
    /// Portable gray map.
    Pgm,
    /// Portable pixel map.
    Ppm,
    /// Portable arbitrary map.
    Pam,
    /// Whichever of the three is the simplest that holds the photo.
    Pnm,
}

impl Format {
    /// The format that the extension of `path` names, in either case.
    pub(super) fn of(path: &Path) -> Result<Self> {
        const WRITTEN: &str =
            "png, jpg, jpeg, webp, bmp, tif, tiff, ppm, pgm, pam and pnm can be written";
        let Some(extension) = path.extension() else {
            return Err(Error::image(path, format!("the name has no extension; {WRITTEN}")));
        };
        match extension.to_string_lossy().to_lowercase().as_str() {
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            "bmp" => Ok(Self::Bmp),
            "tif" | "tiff" => Ok(Self::Tiff),
            "pgm" => Ok(Self::Pgm),
            "ppm" => Ok(Self::Ppm),
            "pam" => Ok(Self::Pam),
            "pnm" => Ok(Self::Pnm),
            other => Err(Error::image(path, format!("cannot write \".{other}\" files; {WRITTEN}"))),
        }
    }
}

/// The samples as the file will hold them.
struct Samples {
    width: u32,
    height: u32,
    /// 1 gray, 2 gray and alpha, 3 color, 4 color and alpha.
    channels: u8,
    depth: Depth,
    /// Native byte order.
    bytes: Vec<u8>,
}

/// The whole file.
pub(super) fn photo(photo: &Photo, format: Format) -> std::result::Result<Vec<u8>, String> {
    let samples = samples(photo, format)?;
    let mut file = Cursor::new(Vec::new());
    let result = match format {
        Format::Png => write(PngEncoder::new(&mut file), photo, &samples),
        Format::Jpeg => return jpeg(photo, JPEG_QUALITY),
        Format::WebP => write(WebPEncoder::new_lossless(&mut file), photo, &samples),
        Format::Bmp => write(BmpEncoder::new(&mut file), photo, &samples),
        Format::Tiff => write(TiffEncoder::new(&mut file), photo, &samples),
        Format::Pgm | Format::Ppm | Format::Pam | Format::Pnm => {
            return Ok(portable_map(&samples, format == Format::Pam));
        }
    };
    result.map_err(|error| format!("cannot write: {error}"))?;
    Ok(file.into_inner())
}

/// A JPEG file of this quality, 1 to 100.
pub(super) fn jpeg(photo: &Photo, quality: u8) -> std::result::Result<Vec<u8>, String> {
    let samples = samples(photo, Format::Jpeg)?;
    let mut file = Cursor::new(Vec::new());
    let result = write(JpegEncoder::new_with_quality(&mut file, quality), photo, &samples);
    result.map_err(|error| format!("cannot write: {error}"))?;
    Ok(file.into_inner())
}

/// Rounds the photo to the samples that `format` can hold.
fn samples(photo: &Photo, format: Format) -> std::result::Result<Samples, String> {
    let image = &photo.rgb;
    let count = image.width * image.height;
    let alpha_len = photo.alpha.as_ref().map_or(count, Vec::len);
    if count == 0 || image.data.len() != count * 3 || alpha_len != count {
        return Err(format!(
            "an image of {}x{} pixels cannot be written",
            image.width, image.height
        ));
    }
    let side =
        |side| u32::try_from(side).map_err(|_| format!("a side of {side} pixels is too long"));
    let (width, height) = (side(image.width)?, side(image.height)?);

    let has_alpha =
        photo.alpha.is_some() && !matches!(format, Format::Jpeg | Format::Pgm | Format::Ppm);
    // These two libraries support gray and alpha, but not both at once; and a pixel map is always
    // in color.
    let gray = photo.gray
        && format != Format::Ppm
        && !(has_alpha && matches!(format, Format::Bmp | Format::Tiff));
    if format == Format::Pgm && !gray {
        return Err(
            "a .pgm file holds gray images only, but the photo is in color; use .ppm or .png"
                .into(),
        );
    }
    let depth = match format {
        Format::Jpeg | Format::WebP | Format::Bmp => Depth::Eight,
        _ => photo.depth,
    };

    let channels = if gray { 1 } else { 3 } + u8::from(has_alpha);
    let mut bytes = Vec::with_capacity(count * usize::from(channels) * 2);
    let mut push = |value: f32| match depth {
        // A cast from float limits to the range of the integer; NaN gives 0.
        Depth::Eight => bytes.push((value * 255.0).round() as u8),
        Depth::Sixteen => bytes.extend(((value * 65535.0).round() as u16).to_ne_bytes()),
    };
    for (i, [r, g, b]) in image.pixels().enumerate() {
        if gray {
            push(0.299 * r + 0.587 * g + 0.114 * b);
        } else {
            [r, g, b].into_iter().for_each(&mut push);
        }
        if let (true, Some(alpha)) = (has_alpha, &photo.alpha) {
            push(alpha[i]);
        }
    }
    Ok(Samples { width, height, channels, depth, bytes })
}

fn write(
    mut encoder: impl ImageEncoder,
    photo: &Photo,
    samples: &Samples,
) -> ::image::ImageResult<()> {
    use ExtendedColorType as Color;
    let color = match (samples.depth, samples.channels) {
        (Depth::Eight, 1) => Color::L8,
        (Depth::Eight, 2) => Color::La8,
        (Depth::Eight, 3) => Color::Rgb8,
        (Depth::Eight, _) => Color::Rgba8,
        (Depth::Sixteen, 1) => Color::L16,
        (Depth::Sixteen, 2) => Color::La16,
        (Depth::Sixteen, 3) => Color::Rgb16,
        (Depth::Sixteen, _) => Color::Rgba16,
    };
    // A gray profile does not apply to a gray photo that had to be written in color.
    let writes_gray = samples.channels < 3;
    if let Some(profile) = photo.icc.as_ref().filter(|_| photo.gray == writes_gray) {
        // BMP cannot hold one.
        let _ = encoder.set_icc_profile(profile.clone());
    }
    encoder.write_image(&samples.bytes, samples.width, samples.height, color)
}

/// A binary PGM (P5), PPM (P6) or, for alpha or on request, PAM (P7) file. Sixteen-bit samples are
/// big-endian.
fn portable_map(samples: &Samples, always_pam: bool) -> Vec<u8> {
    let Samples { width, height, channels, .. } = samples;
    let max = match samples.depth {
        Depth::Eight => 255,
        Depth::Sixteen => 65535,
    };
    let header = match channels {
        1 if !always_pam => format!("P5\n{width} {height}\n{max}\n"),
        3 if !always_pam => format!("P6\n{width} {height}\n{max}\n"),
        _ => {
            let color = if *channels < 3 { "GRAYSCALE" } else { "RGB" };
            let alpha = if matches!(channels, 2 | 4) { "_ALPHA" } else { "" };
            format!(
                "P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {max}\nTUPLTYPE \
                 {color}{alpha}\nENDHDR\n"
            )
        }
    };
    let mut file = header.into_bytes();
    match samples.depth {
        Depth::Eight => file.extend_from_slice(&samples.bytes),
        Depth::Sixteen => {
            for pair in samples.bytes.chunks_exact(2) {
                file.extend(u16::from_ne_bytes([pair[0], pair[1]]).to_be_bytes());
            }
        }
    }
    file
}
