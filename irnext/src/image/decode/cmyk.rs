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

#[cfg(test)]
mod tests {
    use super::*;

    /// The corners of a printer's colors in CIE L*a*b* of 8 bits; black changes fastest.
    #[rustfmt::skip]
    const CORNERS: [u8; 48] = [
        255, 128, 128, 43, 128, 128, 227, 123, 216, 28, 128, 137,
        133, 200, 125, 26, 135, 128, 117, 195, 213, 26, 135, 136,
        153, 93, 80, 26, 124, 123, 138, 88, 168, 26, 124, 132,
        43, 165, 77, 26, 132, 123, 28, 160, 165, 26, 131, 132,
    ];

    /// The smallest CMYK profile: a table of the corners.
    fn profile() -> Vec<u8> {
        let fixed = |values: &[f64]| -> Vec<u8> {
            values.iter().flat_map(|value| ((value * 65536.0) as i32).to_be_bytes()).collect()
        };
        let same: Vec<u8> = (0..=255).collect();
        let unit = fixed(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let head = [&b"mft1\0\0\0\0\x04\x03\x02\0"[..], &unit].concat();
        let table = [head, same.repeat(4), CORNERS.into(), same.repeat(3)].concat();
        let white = fixed(&[0.9642, 1.0, 0.8249]);
        let tags = [(b"A2B0", table), (b"wtpt", [b"XYZ \0\0\0\0", &white[..]].concat())];
        let start = 128 + 4 + 12 * tags.len();
        let size: usize = start + tags.iter().map(|(_, data)| data.len()).sum::<usize>();
        let mut icc = vec![0; 128];
        icc[..4].copy_from_slice(&(size as u32).to_be_bytes());
        icc[8..10].copy_from_slice(&[2, 0x40]);
        icc[12..24].copy_from_slice(b"prtrCMYKLab ");
        icc[36..40].copy_from_slice(b"acsp");
        icc[68..80].copy_from_slice(&white);
        icc.extend((tags.len() as u32).to_be_bytes());
        let mut at = start;
        for (name, data) in &tags {
            icc.extend(*name);
            icc.extend((at as u32).to_be_bytes());
            icc.extend((data.len() as u32).to_be_bytes());
            at += data.len();
        }
        tags.iter().for_each(|(_, data)| icc.extend(data));
        icc
    }

    #[test]
    fn inks_become_the_colors_that_their_profile_tells() {
        // What Little CMS 2 makes of these inks by this profile, in relative colorimetry. It
        // interpolates in another way, which between so few corners makes the last two differ.
        let cases = [
            ([0, 0, 0, 0], [255, 255, 255], 2),
            ([255, 0, 0, 0], [0, 164, 229], 2),
            ([0, 255, 0, 0], [227, 44, 133], 2),
            ([0, 0, 255, 0], [247, 224, 0], 2),
            ([0, 0, 0, 255], [42, 42, 42], 2),
            ([64, 32, 16, 0], [204, 209, 222], 6),
            ([128, 128, 0, 32], [136, 123, 168], 14),
        ];
        let inks: Vec<u8> = cases.iter().flat_map(|(inks, ..)| *inks).collect();
        let near = |rgb: &[u8]| {
            for ((inks, expected, tolerance), rgb) in cases.iter().zip(rgb.chunks(3)) {
                let pairs = rgb.iter().zip(expected);
                let differs = pairs.map(|(a, b)| a.abs_diff(*b)).max();
                assert!(differs <= Some(*tolerance), "{inks:?}: {rgb:?}, not {expected:?}");
            }
        };
        let (Rgb::Eight(rgb), note) = to_rgb(Cmyk::Eight(&inks), Some(&profile())) else {
            panic!("8 bits became 16")
        };
        near(&rgb);
        assert_eq!(note, Note::FromCmyk);
        let deep: Vec<u16> = inks.iter().map(|&ink| u16::from(ink) * 257).collect();
        let (Rgb::Sixteen(deep), _) = to_rgb(Cmyk::Sixteen(&deep), Some(&profile())) else {
            panic!("16 bits became 8")
        };
        near(&deep.iter().map(|value| (value / 257) as u8).collect::<Vec<_>>());
    }
}
