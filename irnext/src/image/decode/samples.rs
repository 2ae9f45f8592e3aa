//! From the samples of a decoder to a [`Photo`].

use ::image::{DynamicImage, ImageBuffer};

use super::decoded::Result;
use crate::image::Image;
use crate::image::photo::{Depth, Photo};

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
    let side = (pixels.width() as usize, pixels.height() as usize);
    let channels = usize::from(pixels.color().channel_count());
    let eight = |raw: Vec<u8>| {
        let scale = |sample: u8| f32::from(sample) / 255.0;
        split_as(&raw, side, channels, Depth::Eight, scale)
    };
    let sixteen = |raw: Vec<u16>| {
        let scale = |sample: u16| f32::from(sample) / 65535.0;
        split_as(&raw, side, channels, Depth::Sixteen, scale)
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
        _ => Err("its samples are of a rare type; save the image with 8 or 16 bits".into()),
    }
}

/// Splits interleaved samples into color and alpha; `channels` is 1 (gray), 2 (gray, alpha), 3 or
/// 4.
fn split_as<T: Copy>(
    raw: &[T],
    (width, height): (usize, usize),
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
    Photo { alpha, depth, gray, ..Photo::new(Image { width, height, data }) }
}
