//! From the samples of a decoder to a [`Photo`].

use ::image::{DynamicImage, ImageBuffer};

use super::decoded::Result;
use crate::image::photo::{Depth, Photo};
use crate::image::pixels::Pixels;

/// The pixels with these interleaved samples: 1 channel (gray), 2 (gray, alpha), 3 (color) or 4.
/// `None` if there are not enough of them.
pub(super) fn eight_bits(
    samples: Vec<u8>,
    channels: usize,
    (width, height): (u32, u32),
) -> Option<DynamicImage> {
    Some(match channels {
        1 => DynamicImage::ImageLuma8(ImageBuffer::from_raw(width, height, samples)?),
        2 => DynamicImage::ImageLumaA8(ImageBuffer::from_raw(width, height, samples)?),
        3 => DynamicImage::ImageRgb8(ImageBuffer::from_raw(width, height, samples)?),
        _ => DynamicImage::ImageRgba8(ImageBuffer::from_raw(width, height, samples)?),
    })
}

/// Like [`eight_bits`], with 16.
pub(super) fn sixteen_bits(
    samples: Vec<u16>,
    channels: usize,
    (width, height): (u32, u32),
) -> Option<DynamicImage> {
    Some(match channels {
        1 => DynamicImage::ImageLuma16(ImageBuffer::from_raw(width, height, samples)?),
        2 => DynamicImage::ImageLumaA16(ImageBuffer::from_raw(width, height, samples)?),
        3 => DynamicImage::ImageRgb16(ImageBuffer::from_raw(width, height, samples)?),
        _ => DynamicImage::ImageRgba16(ImageBuffer::from_raw(width, height, samples)?),
    })
}

/// The photo of these pixels, whose colors are not converted yet.
pub(super) fn split(pixels: DynamicImage) -> Result<Photo> {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let channels = usize::from(pixels.color().channel_count());
    let eight = |raw: Vec<u8>| {
        let (samples, alpha) = split_as(raw, channels, |sample| f32::from(sample) / 255.0);
        (Pixels::eight_bits(width, height, samples), alpha, Depth::Eight)
    };
    let sixteen = |raw: Vec<u16>| {
        let (samples, alpha) = split_as(raw, channels, |sample| f32::from(sample) / 65535.0);
        (Pixels::sixteen_bits(width, height, samples), alpha, Depth::Sixteen)
    };
    let (pixels, alpha, depth) = match pixels {
        DynamicImage::ImageLuma8(p) => eight(p.into_raw()),
        DynamicImage::ImageLumaA8(p) => eight(p.into_raw()),
        DynamicImage::ImageRgb8(p) => eight(p.into_raw()),
        DynamicImage::ImageRgba8(p) => eight(p.into_raw()),
        DynamicImage::ImageLuma16(p) => sixteen(p.into_raw()),
        DynamicImage::ImageLumaA16(p) => sixteen(p.into_raw()),
        DynamicImage::ImageRgb16(p) => sixteen(p.into_raw()),
        DynamicImage::ImageRgba16(p) => sixteen(p.into_raw()),
        _ => {
            return Err("its samples are of a rare type; save the image with 8 or 16 bits".into());
        }
    };
    Ok(Photo { alpha, depth, gray: channels < 3, ..Photo::of(pixels) })
}

/// Splits interleaved samples into color, of three channels, and opacities; `channels` is 1 (gray),
/// 2 (gray, alpha), 3 or 4.
fn split_as<T: Copy>(
    raw: Vec<T>,
    channels: usize,
    scale: impl Fn(T) -> f32,
) -> (Vec<T>, Option<Vec<f32>>) {
    let pixels = raw.chunks_exact(channels);
    let alpha = matches!(channels, 2 | 4)
        .then(|| pixels.clone().map(|pixel| scale(pixel[channels - 1])).collect());
    let color = match channels {
        1 | 2 => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
        3 => raw,
        _ => pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
    };
    (color, alpha)
}
