//! CMYK to RGB: by the file's profile, or by a rule of thumb.

use ::image::{DynamicImage, ImageBuffer, RgbImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use crate::image::Note;

/// Inks, four samples a pixel; 0 is none.
pub(super) enum Cmyk<'a> {
    Eight(&'a [u8]),
    Sixteen(&'a [u16]),
}

/// The samples of an RGB picture in sRGB.
pub(super) enum Rgb {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Rgb {
    pub fn into_image(self, width: usize, height: usize) -> Option<DynamicImage> {
        let (width, height) = (width as u32, height as u32);
        match self {
            Self::Eight(raw) => RgbImage::from_raw(width, height, raw).map(DynamicImage::ImageRgb8),
            Self::Sixteen(raw) => {
                ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageRgb16)
            }
        }
    }
}

/// Converts by a CMYK profile if there is a usable one, and says which it was.
pub(super) fn to_rgb(inks: Cmyk<'_>, icc: Option<&[u8]>) -> (Rgb, Note) {
    let by_profile = icc.and_then(|icc| by_profile(&inks, icc));
    if let Some(rgb) = by_profile {
        return (rgb, Note::FromCmyk);
    }
    let rgb = match inks {
        Cmyk::Eight(inks) => Rgb::Eight(naive(inks, 255, |v| v as u8)),
        Cmyk::Sixteen(inks) => Rgb::Sixteen(naive(inks, 65535, |v| v as u16)),
    };
    (rgb, Note::ApproximateColors)
}

fn by_profile(inks: &Cmyk<'_>, icc: &[u8]) -> Option<Rgb> {
    let profile = ColorProfile::new_from_slice(icc).ok()?;
    if profile.color_space != DataColorSpace::Cmyk {
        return None;
    }
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let layouts = [Layout::Rgba, Layout::Rgb];
    match inks {
        Cmyk::Eight(inks) => {
            let transform =
                profile.create_transform_8bit(layouts[0], &srgb, layouts[1], options).ok()?;
            let mut rgb = vec![0; inks.len() / 4 * 3];
            transform.transform(inks, &mut rgb).ok()?;
            Some(Rgb::Eight(rgb))
        }
        Cmyk::Sixteen(inks) => {
            let transform =
                profile.create_transform_16bit(layouts[0], &srgb, layouts[1], options).ok()?;
            let mut rgb = vec![0; inks.len() / 4 * 3];
            transform.transform(inks, &mut rgb).ok()?;
            Some(Rgb::Sixteen(rgb))
        }
    }
}

/// Each ink takes away its complement, and black takes away everything.
fn naive<T: Copy + Into<u64>>(inks: &[T], max: u64, sample: impl Fn(u64) -> T) -> Vec<T> {
    let rgb = |pixel: &[T]| {
        let [c, m, y, k] = [0, 1, 2, 3].map(|i| max - pixel[i].into());
        [c, m, y].map(|light| sample((light * k + max / 2) / max))
    };
    inks.chunks_exact(4).flat_map(rgb).collect()
}
