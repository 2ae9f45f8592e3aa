//! Color profiles: to sRGB, which the network, the detection and the metrics expect, and back.
//!
//! No conversion there and back is exact, and sRGB does not hold every color of a larger space. So
//! a photo keeps the samples that it was read with. A pixel that nothing changed is written as it
//! was read; one that changed little keeps most of what sRGB could not hold of it.

use moxcms::{ColorProfile, DataColorSpace, Layout, TransformF32Executor, TransformOptions};
use rayon::prelude::*;
use std::sync::Arc;

use super::{Image, Note};

/// Two profiles whose colors differ by less than this are the same: half a step of 8 bits and a
/// little, as the many profiles named sRGB differ.
const SAME: f32 = 0.7 / 255.0;

/// Pixels that are converted at a time.
const CHUNK: usize = 1 << 14;

/// The ICC color profile of a photo.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The profile, as it is in the file.
    pub icc: Vec<u8>,
    /// The samples as they were read, three a pixel or, of a gray photo, one; none where the
    /// profile's colors are those of sRGB, or nobody can tell.
    encoded: Option<Arc<Vec<u16>>>,
}

impl Profile {
    /// A profile that goes along with the photo and changes no color.
    pub fn inert(icc: Vec<u8>) -> Self {
        Self { icc, encoded: None }
    }

    /// Converts the samples of a file to sRGB, in place.
    pub(super) fn read(
        icc: Vec<u8>,
        image: &mut Image,
        gray: bool,
    ) -> (Option<Self>, Option<Note>) {
        if space(&icc) != Some(if gray { DataColorSpace::Gray } else { DataColorSpace::Rgb }) {
            // The profile of other channels would tell lies about these. sRGB is no loss.
            let srgb = Conversion::new(&icc, false).is_some_and(|conversion| conversion.is_srgb());
            let note = (!srgb).then_some(Note::ProfileIgnored);
            // One that cannot be read at all is kept: others may.
            let kept = space(&icc).is_none().then(|| Self::inert(icc));
            return (kept, note);
        }
        let Some(conversion) = Conversion::new(&icc, gray) else {
            return (Some(Self::inert(icc)), Some(Note::ProfileIgnored));
        };
        if conversion.is_srgb() {
            return (Some(Self::inert(icc)), None);
        }
        let step = if gray { 3 } else { 1 };
        let samples = image.data.iter().step_by(step);
        let encoded = samples.map(|value| (value * 65535.0).round() as u16).collect();
        conversion.to_srgb(&mut image.data);
        (Some(Self { icc, encoded: Some(Arc::new(encoded)) }), None)
    }

    /// Whether the samples in the file are other numbers than those in sRGB.
    pub fn converts(&self) -> bool {
        self.encoded.is_some()
    }

    /// The samples for a file with this profile, for a photo in sRGB.
    pub(super) fn encode(&self, image: &Image, gray: bool) -> Image {
        let conversion = self.encoded.as_ref().and_then(|_| Conversion::new(&self.icc, gray));
        let (Some(encoded), Some(conversion)) = (&self.encoded, conversion) else {
            return image.clone();
        };
        let mut out = image.clone();
        conversion.from_srgb(&mut out.data);
        let channels = if gray { 1 } else { 3 };
        if encoded.len() / channels * 3 != image.data.len() {
            return out;
        }
        let mut before: Vec<f32> = encoded
            .iter()
            .flat_map(|&value| vec![f32::from(value) / 65535.0; 3 / channels])
            .collect();
        let original = before.clone();
        conversion.to_srgb(&mut before);
        let pixels = before.chunks_exact(3).zip(image.data.chunks_exact(3));
        let kept: Vec<f32> = pixels.map(|(before, now)| kept(before, now)).collect();
        conversion.from_srgb(&mut before);
        for (i, value) in out.data.iter_mut().enumerate() {
            *value = match kept[i / 3] {
                1.0 => original[i],
                kept => *value + kept * (original[i] - before[i]),
            };
        }
        out
    }
}

/// How much of what sRGB could not hold of a pixel stays in it: all if it is unchanged, and less the
/// more it has changed, as it is another color then.
fn kept(before: &[f32], now: &[f32]) -> f32 {
    const ANOTHER: f32 = 0.25;
    let changes = before.iter().zip(now).map(|(before, now)| (before - now).abs());
    (1.0 - changes.fold(0.0, f32::max) / ANOTHER).max(0.0)
}

fn space(icc: &[u8]) -> Option<DataColorSpace> {
    ColorProfile::new_from_slice(icc).ok().map(|profile| profile.color_space)
}

/// A conversion between the colors of a profile and sRGB.
enum Conversion {
    Color {
        there: Arc<TransformF32Executor>,
        back: Arc<TransformF32Executor>,
    },
    /// The gray of sRGB for each of 65536 grays, rising.
    Gray(Vec<f32>),
}

impl Conversion {
    fn new(icc: &[u8], gray: bool) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(icc).ok()?;
        let srgb = ColorProfile::new_srgb();
        let options = TransformOptions { prefer_fixed_point: false, ..Default::default() };
        let rgb = Layout::Rgb;
        if !gray {
            return Some(Self::Color {
                there: profile.create_transform_f32(rgb, &srgb, rgb, options).ok()?,
                back: srgb.create_transform_f32(rgb, &profile, rgb, options).ok()?,
            });
        }
        let there = profile.create_transform_f32(Layout::Gray, &srgb, rgb, options).ok()?;
        let grays: Vec<f32> = (0..=u16::MAX).map(|value| f32::from(value) / 65535.0).collect();
        let mut colors = vec![0.0; 3 * grays.len()];
        there.transform(&grays, &mut colors).ok()?;
        let table: Vec<f32> = colors.chunks_exact(3).map(|color| color[1]).collect();
        let rises = table.windows(2).all(|pair| pair[0] <= pair[1]);
        let spans = table[0] < 0.5 && table[usize::from(u16::MAX)] > 0.5;
        (rises && spans).then_some(Self::Gray(table))
    }

    fn to_srgb(&self, data: &mut [f32]) {
        match self {
            Self::Color { there, .. } => convert(there.as_ref(), data),
            Self::Gray(table) => data
                .iter_mut()
                .for_each(|value| *value = table[(*value * 65535.0).round() as u16 as usize]),
        }
    }

    #[allow(clippy::wrong_self_convention)]
    fn from_srgb(&self, data: &mut [f32]) {
        match self {
            Self::Color { back, .. } => convert(back.as_ref(), data),
            Self::Gray(table) => data.iter_mut().for_each(|value| *value = inverse(table, *value)),
        }
    }

    fn is_srgb(&self) -> bool {
        const STEPS: usize = 9;
        let mut grid = Vec::new();
        for i in 0..STEPS.pow(3) {
            let digit = |place: usize| (i / STEPS.pow(place as u32) % STEPS) as f32;
            grid.extend([0, 1, 2].map(|place| digit(place) / (STEPS - 1) as f32));
        }
        if matches!(self, Self::Gray(_)) {
            grid = (0..STEPS).flat_map(|i| [i as f32 / (STEPS - 1) as f32; 3]).collect();
        }
        let mut converted = grid.clone();
        self.to_srgb(&mut converted);
        grid.iter().zip(&converted).all(|(a, b)| (a - b).abs() < SAME)
    }
}

/// A pixel that cannot be converted stays as it is.
fn convert(transform: &TransformF32Executor, data: &mut [f32]) {
    data.par_chunks_mut(3 * CHUNK).for_each(|chunk| {
        let from: Vec<f32> = chunk.iter().map(|value| value.clamp(0.0, 1.0)).collect();
        if transform.transform(&from, chunk).is_ok() {
            chunk.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        }
    });
}

/// Where a rising table of the values from 0 to 1 has `value`.
fn inverse(table: &[f32], value: f32) -> f32 {
    let above = table.partition_point(|&entry| entry < value).clamp(1, table.len() - 1);
    let (low, high) = (table[above - 1], table[above]);
    let part = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
    ((above - 1) as f32 + part) / (table.len() - 1) as f32
}

/// A color of CIE L*a*b* under D50, lightness 0 to 100, in sRGB.
pub(super) fn lab_to_srgb([lightness, a, b]: [f64; 3]) -> [f64; 3] {
    let y = (lightness + 16.0) / 116.0;
    let curve = |t: f64| {
        if t > 6.0 / 29.0 { t.powi(3) } else { 3.0 * (6.0f64 / 29.0).powi(2) * (t - 4.0 / 29.0) }
    };
    let x = 0.964_22 * curve(y + a / 500.0);
    let z = 0.825_21 * curve(y - b / 200.0);
    let y = curve(y);
    // The inverse of sRGB's primaries, adapted to D50.
    let linear = [
        3.133_856_1 * x - 1.616_866_7 * y - 0.490_614_6 * z,
        -0.978_768_4 * x + 1.916_141_5 * y + 0.033_454 * z,
        0.071_945_3 * x - 0.228_991_4 * y + 1.405_242_7 * z,
    ];
    linear.map(|light| {
        let light = light.clamp(0.0, 1.0);
        if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Depth, Format, Limits, Photo, WriteOptions};

    fn profiles() -> Vec<(&'static str, ColorProfile)> {
        vec![
            ("Display P3", ColorProfile::new_display_p3()),
            ("Adobe RGB", ColorProfile::new_adobe_rgb()),
            ("ProPhoto", ColorProfile::new_pro_photo_rgb()),
            ("Rec. 2020", ColorProfile::new_bt2020()),
            ("gray 2.2", ColorProfile::new_gray_with_gamma(2.2)),
            ("gray 1.0", ColorProfile::new_gray_with_gamma(1.0)),
        ]
    }

    /// A photo whose samples are these numbers in the color space of a profile.
    fn stored(profile: &ColorProfile, gray: bool, depth: Depth) -> Photo {
        let levels = if depth == Depth::Eight { 255u32 } else { 65535 };
        let level = |i: usize| {
            let i = i as u32;
            (i.wrapping_mul(2_654_435_761) >> 8) % (levels + 1)
        };
        let rgb = Image::from_fn(40, 25, |x, y| {
            let i = y * 40 + x;
            let sample = |c: usize| level(if gray { i } else { 3 * i + c }) as f32 / levels as f32;
            [0, 1, 2].map(sample)
        });
        let icc = profile.encode().unwrap();
        Photo { gray, depth, profile: Some(Profile::inert(icc)), ..Photo::new(rgb) }
    }

    #[test]
    fn what_nothing_changes_is_written_as_it_was_read() {
        for (name, profile) in profiles() {
            let gray = name.starts_with("gray");
            for (depth, format) in [
                (Depth::Eight, Format::Png),
                (Depth::Sixteen, Format::Png),
                (Depth::Sixteen, Format::Tiff),
            ] {
                let stored = stored(&profile, gray, depth);
                let options = WriteOptions::default();
                let (file, _) = stored.to_bytes(format, &options).unwrap();
                let photo = Photo::from_bytes(&file, &Limits::default()).unwrap();
                assert_eq!(photo.notes, [], "{name}");
                assert!(photo.profile.as_ref().unwrap().converts(), "{name}");
                assert_ne!(photo.rgb, stored.rgb, "{name}");
                assert!(photo.rgb.data.iter().all(|v| (0.0..=1.0).contains(v)), "{name}");
                let (again, _) = photo.to_bytes(format, &options).unwrap();
                assert_eq!(again, file, "{name}, {depth:?}");
                // A change of one pixel is that pixel's alone.
                let mut changed = photo.clone();
                changed.rgb.set_pixel(3, 4, [0.5; 3]);
                let (file, _) = changed.to_bytes(format, &options).unwrap();
                let back = Photo::from_bytes(&file, &Limits::default()).unwrap();
                assert!(back.rgb.pixel(3, 4).iter().all(|v| (v - 0.5).abs() < 0.02), "{name}");
                changed.rgb.set_pixel(3, 4, photo.rgb.pixel(3, 4));
                assert_eq!(changed.to_bytes(format, &options).unwrap().0, again, "{name}");
            }
        }
    }

    #[test]
    fn colors_become_those_that_other_programs_show() {
        // By the primaries and curves of the standards, from https://www.color.org/chardata.
        for (profile, stored, srgb) in [
            // Display P3's half gray is sRGB's; its red is outside.
            (ColorProfile::new_display_p3(), [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
            (ColorProfile::new_display_p3(), [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
            (ColorProfile::new_display_p3(), [0.6, 0.5, 0.4], [0.620, 0.497, 0.382]),
            // 0.5^(563/256) through sRGB's curve.
            (ColorProfile::new_adobe_rgb(), [0.5, 0.5, 0.5], [0.499, 0.499, 0.499]),
            (ColorProfile::new_pro_photo_rgb(), [0.5, 0.5, 0.5], [0.574, 0.574, 0.574]),
        ] {
            let mut image = Image::from_fn(1, 1, |_, _| stored);
            let (_, note) = Profile::read(profile.encode().unwrap(), &mut image, false);
            assert_eq!(note, None);
            for (value, expected) in image.data.iter().zip(srgb) {
                assert!((value - expected).abs() < 0.006, "{stored:?}: {:?}", image.data);
            }
        }
    }

    #[test]
    fn srgb_changes_nothing() {
        let image = Image::from_fn(3, 2, |x, y| [x as f32 / 3.0, y as f32 / 2.0, 0.123]);
        let mut read = image.clone();
        let icc = ColorProfile::new_srgb().encode().unwrap();
        let (profile, note) = Profile::read(icc.clone(), &mut read, false);
        let profile = profile.unwrap();
        assert_eq!((read, note, profile.converts()), (image.clone(), None, false));
        assert_eq!(profile.icc, icc);
        assert_eq!(profile.encode(&image, false), image);
    }

    #[test]
    fn profiles_of_other_channels_are_dropped_and_unknown_ones_kept() {
        let mut image = Image::from_fn(1, 1, |_, _| [0.25; 3]);
        let gray = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
        let (profile, note) = Profile::read(gray, &mut image, false);
        assert!(profile.is_none() && note == Some(Note::ProfileIgnored));
        // A gray picture with the profile of sRGB is common.
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        let (profile, note) = Profile::read(srgb, &mut image, true);
        assert!(profile.is_none() && note.is_none());
        let (profile, note) = Profile::read(vec![7; 300], &mut image, false);
        assert_eq!(profile.unwrap().icc, [7; 300]);
        assert_eq!((note, image.data), (Some(Note::ProfileIgnored), vec![0.25; 3]));
    }

    #[test]
    fn lab_is_what_the_standard_says() {
        for (lab, srgb) in [
            ([100.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
            ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            ([54.29, 80.81, 69.89], [1.0, 0.0, 0.0]),
            ([87.82, -79.27, 80.99], [0.0, 1.0, 0.0]),
        ] {
            let color = lab_to_srgb(lab);
            let near = color.iter().zip(srgb).all(|(a, b)| (a - b).abs() < 0.01);
            assert!(near, "{lab:?}: {color:?}");
        }
    }
}
