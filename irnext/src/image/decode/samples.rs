//! From the samples of a decoder to a [`Photo`].

use ::image::DynamicImage;

use super::decoded::Result;
use crate::image::Image;
use crate::image::photo::{Depth, Photo};

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
