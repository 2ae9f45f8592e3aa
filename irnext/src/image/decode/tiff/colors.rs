//! From the samples of a TIFF file to colors.

use ::image::DynamicImage;

use super::super::cmyk::{Cmyk, to_rgb};
use super::super::decoded::Result;
use super::super::samples::{eight_bits, sixteen_bits};
use super::chunks::Samples;
use super::reasons::rare;
use super::tags::{Photometric, Tags};
use crate::image::Note;
use crate::image::profile::lab_to_srgb;

/// The picture, in gray or RGB. A profile that does not describe it any longer is taken out of
/// `icc`.
pub(super) fn image(
    samples: &Samples,
    size: (u32, u32),
    tags: &Tags,
    icc: &mut Option<Vec<u8>>,
    notes: &mut Vec<Note>,
) -> Result<DynamicImage> {
    let colors = match tags.photometric {
        Photometric::Gray | Photometric::Palette => 1,
        Photometric::Cmyk => 4,
        _ => 3,
    };
    if samples.channels < colors {
        return Err(rare("too few samples for its colors"));
    }
    let alpha = Alpha::of(samples, colors, tags);
    let scaled = |channels: usize| Scaled::new(samples, channels);
    let built = match tags.photometric {
        Photometric::Gray => scaled(1).with(alpha, 1, samples),
        Photometric::Rgb => scaled(3).with(alpha, 3, samples),
        Photometric::Palette => palette(samples, &tags.palette)?,
        Photometric::YCbCr => scaled(3).map(|samples| tags.ycbcr.to_rgb(samples)),
        Photometric::CieLab | Photometric::IccLab => {
            *icc = None;
            let signed = tags.photometric == Photometric::CieLab;
            lab(samples, signed)
        }
        Photometric::Cmyk => {
            let inks = scaled(4);
            let profile = icc.take();
            let (rgb, note) = match &inks.values {
                Values::Eight(values) => to_rgb(Cmyk::Eight(values), profile.as_deref()),
                Values::Sixteen(values) => to_rgb(Cmyk::Sixteen(values), profile.as_deref()),
            };
            notes.push(note);
            let image = rgb.into_image(size.0 as usize, size.1 as usize);
            return image.ok_or_else(|| rare("an unusual size"));
        }
    };
    built.into_image(size).ok_or_else(|| rare("an unusual size"))
}

/// Where the opacity of a pixel is, and whether its colors are multiplied by it.
#[derive(Clone, Copy)]
struct Alpha {
    channel: usize,
    multiplied: bool,
}

impl Alpha {
    fn of(samples: &Samples, colors: usize, tags: &Tags) -> Option<Self> {
        let multiplied = match tags.extra {
            Some(1) => true,
            Some(2) => false,
            // A fourth sample that nothing is said about.
            None if colors == 3 => false,
            _ => return None,
        };
        (samples.channels > colors).then_some(Self { channel: colors, multiplied })
    }
}

enum Values {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

/// Interleaved samples of 8 or 16 bits.
struct Scaled {
    values: Values,
    channels: usize,
}

impl Scaled {
    /// The first channels of each pixel.
    fn new(samples: &Samples, channels: usize) -> Self {
        let max = u32::from(samples.max);
        let kept = samples.values.chunks_exact(samples.channels).flat_map(|p| &p[..channels]);
        let scale = |&value: &u16, to: u32| (u32::from(value) * to + max / 2) / max;
        let values = match samples.max {
            ..=255 => Values::Eight(kept.map(|value| scale(value, 255) as u8).collect()),
            65535 => Values::Sixteen(kept.copied().collect()),
            _ => Values::Sixteen(kept.map(|value| scale(value, 65535) as u16).collect()),
        };
        Self { values, channels }
    }

    /// With opacity as a last channel, and colors that are not multiplied by it.
    fn with(self, alpha: Option<Alpha>, colors: usize, samples: &Samples) -> Self {
        let Some(alpha) = alpha else { return self };
        let all = Self::new(samples, colors + 1);
        debug_assert_eq!(alpha.channel, colors);
        match (all.values, alpha.multiplied) {
            (Values::Eight(mut values), true) => {
                values.chunks_exact_mut(all.channels).for_each(|pixel| divide(pixel, 255));
                Self { values: Values::Eight(values), ..all }
            }
            (Values::Sixteen(mut values), true) => {
                values.chunks_exact_mut(all.channels).for_each(|pixel| divide(pixel, 65535));
                Self { values: Values::Sixteen(values), ..all }
            }
            (values, false) => Self { values, ..all },
        }
    }

    /// Each pixel's colors, from 0 to 1, changed.
    fn map(self, f: impl Fn([f64; 3]) -> [f64; 3]) -> Self {
        let values = match self.values {
            Values::Eight(mut values) => {
                for pixel in values.chunks_exact_mut(3) {
                    let color = f([0, 1, 2].map(|i| f64::from(pixel[i]) / 255.0));
                    (0..3).for_each(|i| pixel[i] = (color[i] * 255.0).round() as u8);
                }
                Values::Eight(values)
            }
            Values::Sixteen(mut values) => {
                for pixel in values.chunks_exact_mut(3) {
                    let color = f([0, 1, 2].map(|i| f64::from(pixel[i]) / 65535.0));
                    (0..3).for_each(|i| pixel[i] = (color[i] * 65535.0).round() as u16);
                }
                Values::Sixteen(values)
            }
        };
        Self { values, ..self }
    }

    fn into_image(self, size: (u32, u32)) -> Option<DynamicImage> {
        match self.values {
            Values::Eight(samples) => eight_bits(samples, self.channels, size),
            Values::Sixteen(samples) => sixteen_bits(samples, self.channels, size),
        }
    }
}

/// Takes the opacity, the last sample, out of the colors.
fn divide<T: Copy + Into<u32> + TryFrom<u32>>(pixel: &mut [T], max: u32) {
    let Some((alpha, colors)) = pixel.split_last_mut() else { return };
    let alpha: u64 = u64::from((*alpha).into());
    if alpha == 0 {
        return;
    }
    for color in colors {
        let whole = (u64::from((*color).into()) * u64::from(max) + alpha / 2) / alpha;
        if let Ok(value) = T::try_from(whole.min(max.into()) as u32) {
            *color = value;
        }
    }
}

/// The colors of the palette: its reds, then its greens, then its blues, of 16 bits each.
fn palette(samples: &Samples, palette: &[u16]) -> Result<Scaled> {
    let colors = palette.len() / 3;
    if colors == 0 {
        return Err(rare("a palette without colors"));
    }
    // Some programs write 8 bits.
    let shift = if palette.iter().all(|&value| value < 256) { 0 } else { 8 };
    let indices = samples.values.chunks_exact(samples.channels).map(|pixel| pixel[0]);
    let color = |index: u16| {
        let index = usize::from(index).min(colors - 1);
        [0, 1, 2].map(|c| (palette[c * colors + index] >> shift) as u8)
    };
    Ok(Scaled { values: Values::Eight(indices.flat_map(color).collect()), channels: 3 })
}

/// CIE L*a*b* under D50. `signed` numbers count from 0 up and down, others from the middle.
fn lab(samples: &Samples, signed: bool) -> Scaled {
    let unit = if samples.max > 255 { 256.0 } else { 1.0 };
    let chroma = |value: u16| match (signed, samples.max > 255) {
        (true, true) => f64::from(value as i16) / unit,
        (true, false) => f64::from(value as u8 as i8),
        (false, _) => f64::from(value) / unit - 128.0,
    };
    let pixels = samples.values.chunks_exact(samples.channels);
    let colors = pixels.flat_map(|pixel| {
        let lightness = 100.0 * f64::from(pixel[0]) / f64::from(samples.max);
        lab_to_srgb([lightness, chroma(pixel[1]), chroma(pixel[2])])
    });
    let values = match samples.max {
        ..=255 => Values::Eight(colors.map(|v| (v * 255.0).round() as u8).collect()),
        _ => Values::Sixteen(colors.map(|v| (v * 65535.0).round() as u16).collect()),
    };
    Scaled { values, channels: 3 }
}
