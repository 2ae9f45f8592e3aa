//! Color profiles: to sRGB, which the network, the detection and the metrics expect, and back.
//!
//! No conversion there and back is exact, and sRGB does not hold every color of a larger space. So
//! a photo keeps the samples that it was read with. A pixel that nothing changed is written as it
//! was read; one that changed little keeps most of what sRGB could not hold of it.

pub(super) mod chunks;
#[cfg(test)]
mod tests;

use moxcms::{ColorProfile, DataColorSpace, Layout, TransformF32Executor, TransformOptions};
use std::sync::Arc;

use super::pixels::sixteen;
use super::{Note, Pixels};
use chunks::{Chunk, Colors};

/// Two profiles whose colors differ by less than this are the same: half a step of 8 bits and a
/// little, as the many profiles named sRGB differ.
const SAME: f32 = 0.7 / 255.0;

/// The color profile of a photo.
#[derive(Clone, Debug)]
pub struct PhotoProfile {
    /// The ICC profile, as it is in the file or, of a PNG file without one, made of what else it
    /// says about its colors; empty if that is sRGB.
    pub icc: Vec<u8>,
    /// Whether it is in the file.
    pub(super) in_file: bool,
    /// What else a PNG file says about its colors.
    pub(super) chunks: Vec<Chunk>,
    /// The samples as they were read; none where the profile's colors are those of sRGB, or nobody
    /// can tell.
    encoded: Option<Arc<Pixels>>,
}

impl PhotoProfile {
    /// A profile that goes along with the photo and changes no color.
    pub fn inert(icc: Vec<u8>) -> Self {
        Self { icc, in_file: true, chunks: Vec::new(), encoded: None }
    }

    /// Converts the samples of a file to sRGB, in place.
    pub(super) fn read(
        icc: Vec<u8>,
        pixels: &mut Pixels,
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
        let encoded = pixels.clone();
        pixels.change(|_, row| conversion.to_srgb(row));
        (Some(Self { encoded: Some(Arc::new(encoded)), ..Self::inert(icc) }), None)
    }

    /// Like [`Self::read`], but of a file that may have no profile, or chunks about its colors.
    pub(super) fn of_file(
        icc: Option<Vec<u8>>,
        mut chunks: Vec<Chunk>,
        pixels: &mut Pixels,
        gray: bool,
    ) -> (Option<Self>, Option<Note>) {
        let Some(colors) = chunks::colors(&chunks, gray, icc.is_some()) else {
            let Some(icc) = icc else { return (None, None) };
            let (profile, note) = Self::read(icc, pixels, gray);
            chunks.retain(|(kind, _)| kind != chunks::PROFILE);
            return (profile.map(|profile| Self { chunks, ..profile }), note);
        };
        let (profile, note) = match colors {
            Colors::Srgb => (Some(Self::inert(Vec::new())), None),
            Colors::Icc(made) => Self::read(made, pixels, gray),
            Colors::Unknown => (Some(Self::inert(Vec::new())), Some(Note::ProfileIgnored)),
        };
        (profile.map(|profile| Self { in_file: false, chunks, ..profile }), note)
    }

    /// The bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.icc.len() + self.encoded.as_ref().map_or(0, |encoded| encoded.bytes())
    }

    /// Whether the samples in the file are other numbers than those in sRGB.
    pub fn converts(&self) -> bool {
        self.encoded.is_some()
    }

    /// The way back to the samples of a file with this profile; none if they are those in sRGB.
    pub(super) fn encoding(&self, gray: bool) -> Option<Encoding<'_>> {
        let encoded = self.encoded.as_ref()?;
        Some(Encoding { conversion: Conversion::new(&self.icc, gray)?, encoded })
    }
}

/// From sRGB to the samples of a file.
pub(super) struct Encoding<'a> {
    conversion: Conversion,
    encoded: &'a Pixels,
}

impl Encoding<'_> {
    /// Turns row `y` of `pixels` into samples of the file.
    pub fn apply(&self, pixels: &Pixels, y: usize, row: &mut [f32]) {
        let now = row.to_vec();
        self.conversion.from_srgb(row);
        let size = |pixels: &Pixels| (pixels.width, pixels.height);
        if size(self.encoded) != size(pixels) {
            return;
        }
        let mut original = vec![0.0; row.len()];
        self.encoded.read(3 * y * pixels.width, &mut original);
        let mut before = original.clone();
        self.conversion.to_srgb(&mut before);
        // As the photo was kept.
        before.iter_mut().for_each(|value| *value = f32::from(sixteen(*value)) / 65535.0);
        let pairs = before.chunks_exact(3).zip(now.chunks_exact(3));
        let kept: Vec<f32> = pairs.map(|(before, now)| kept(before, now)).collect();
        self.conversion.from_srgb(&mut before);
        for (i, value) in row.iter_mut().enumerate() {
            *value = match kept[i / 3] {
                1.0 => original[i],
                kept => *value + kept * (original[i] - before[i]),
            };
        }
    }
}

/// How much of what sRGB could not hold of a pixel stays in it: all if it is unchanged, and less
/// the more it has changed, as it is another color then.
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

/// A row that cannot be converted stays as it is.
fn convert(transform: &TransformF32Executor, row: &mut [f32]) {
    let from: Vec<f32> = row.iter().map(|value| value.clamp(0.0, 1.0)).collect();
    if transform.transform(&from, row).is_ok() {
        row.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    }
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
    linear.map(srgb_of_light)
}

/// The number of sRGB that codes this light, where white is 1.
pub(super) fn srgb_of_light(light: f64) -> f64 {
    let light = light.clamp(0.0, 1.0);
    if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}
