//! High dynamic range in sRGB: colors coded by PQ or HLG (ITU-R BT.2100).
//!
//! The brightest pixel becomes white, by the curve of ITU-R BT.2390, section 5.4.1, over luminance.
//! As for JPEG XL, a display of sRGB has 255 cd/m², and one of HLG 1000.

use super::container::{Nclx, SRGB_PRIMARIES, UNSPECIFIED};
use crate::image::profile::srgb_of_light;

/// What white of sRGB and of HLG is, in cd/m².
const SRGB_WHITE: f32 = 255.0;
const SRGB_WHITE_IN_PQ: f32 = 0.604_649;
const HLG_WHITE: f32 = 1000.0;

/// The shares of red, green and blue of sRGB in luminance.
const SRGB_SHARES: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// From linear RGB to linear sRGB.
type ToSrgb = [[f32; 3]; 3];

const UNCHANGED: ToSrgb = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
const OF_BT2020: ToSrgb = [
    [1.660_491, -0.587_641_1, -0.072_849_9],
    [-0.124_550_5, 1.132_899_9, -0.008_349_4],
    [-0.018_150_8, -0.100_578_9, 1.118_729_7],
];
const OF_P3: ToSrgb = [
    [1.224_940_2, -0.224_940_2, 0.0],
    [-0.042_056_9, 1.042_056_9, 0.0],
    [-0.019_637_6, -0.078_636_1, 1.098_273_6],
];

/// The curve that codes light, by its number.
#[derive(Clone, Copy)]
enum Curve {
    Pq,
    Hlg,
}

/// The way of a picture to sRGB.
#[derive(Clone, Copy)]
pub(super) struct ToneMapping {
    curve: Curve,
    /// The shares of red, green and blue in luminance.
    shares: [f32; 3],
    matrix: ToSrgb,
    /// The luminance of the brightest pixel, in PQ.
    peak: f32,
}

impl ToneMapping {
    /// `None` if the colors are not of high dynamic range, or in a space that has none.
    pub fn of(nclx: Nclx) -> Option<Self> {
        let curve = match nclx.curve {
            16 => Curve::Pq,
            18 => Curve::Hlg,
            _ => return None,
        };
        let (shares, matrix) = match nclx.primaries {
            SRGB_PRIMARIES => (SRGB_SHARES, UNCHANGED),
            9 | UNSPECIFIED => ([0.2627, 0.678, 0.0593], OF_BT2020),
            12 => ([0.228_975, 0.691_739, 0.079_286], OF_P3),
            _ => return None,
        };
        Some(Self { curve, shares, matrix, peak: SRGB_WHITE_IN_PQ })
    }

    /// The same for a picture with this peak, as [`Self::peak`] finds it.
    pub fn with_peak(self, peak: f32) -> Self {
        Self { peak: to_pq(peak.max(SRGB_WHITE)), ..self }
    }

    /// The greatest luminance of a row of coded pixels, in cd/m².
    pub fn peak(&self, row: &[f32], channels: usize) -> f32 {
        let light = row.chunks_exact(channels).map(|pixel| luminance(self.linear(pixel)));
        light.fold(0.0, f32::max)
    }

    /// Maps a row of coded pixels to sRGB, in place. Opacities stay.
    pub fn apply(&self, row: &mut [f32], channels: usize) {
        for pixel in row.chunks_exact_mut(channels) {
            let light = self.linear(pixel);
            let before = luminance(light);
            let scale = if before > 0.0 { self.mapped(before) / before } else { 1.0 };
            let coded = light.map(|light| srgb(light * scale / SRGB_WHITE));
            match pixel {
                [gray] | [gray, _] => *gray = coded[1],
                [colors @ .., _] if colors.len() == 3 => colors.copy_from_slice(&coded),
                colors => colors.copy_from_slice(&coded),
            }
        }
    }

    /// A coded pixel as linear sRGB, in cd/m².
    fn linear(&self, pixel: &[f32]) -> [f32; 3] {
        let coded = match *pixel {
            [gray] | [gray, _] => [gray; 3],
            _ => [pixel[0], pixel[1], pixel[2]],
        };
        let light = match self.curve {
            Curve::Pq => coded.map(of_pq),
            Curve::Hlg => {
                // Of the scene; that of a display is more contrasty.
                let scene = coded.map(of_hlg);
                let scale = HLG_WHITE * dot(self.shares, scene).powf(0.2);
                scene.map(|light| light * scale)
            }
        };
        // What sRGB cannot hold has negative shares.
        self.matrix.map(|shares| dot(shares, light).max(0.0))
    }

    /// The luminance that another one becomes.
    fn mapped(&self, luminance: f32) -> f32 {
        let most = SRGB_WHITE_IN_PQ / self.peak;
        let knee = 1.5 * most - 0.5;
        let at = to_pq(luminance) / self.peak;
        if at <= knee || knee >= 1.0 {
            return luminance;
        }
        let t = ((at - knee) / (1.0 - knee)).min(1.0);
        let (t2, t3) = (t * t, t * t * t);
        let mapped = (2.0 * t3 - 3.0 * t2 + 1.0) * knee
            + (t3 - 2.0 * t2 + t) * (1.0 - knee)
            + (3.0 * t2 - 2.0 * t3) * most;
        of_pq(mapped * self.peak)
    }
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn luminance(light: [f32; 3]) -> f32 {
    dot(SRGB_SHARES, light)
}

/// The constants of PQ, of ITU-R BT.2100, table 4.
const M1: f32 = 2610.0 / 16384.0;
const M2: f32 = 2523.0 / 32.0;
const C1: f32 = 3424.0 / 4096.0;
const C2: f32 = 2413.0 / 128.0;
const C3: f32 = 2392.0 / 128.0;

/// The light of a number of PQ, in cd/m².
fn of_pq(coded: f32) -> f32 {
    let power = coded.clamp(0.0, 1.0).powf(1.0 / M2);
    10_000.0 * ((power - C1).max(0.0) / (C2 - C3 * power)).powf(1.0 / M1)
}

fn to_pq(light: f32) -> f32 {
    let power = (light / 10_000.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// The light of the scene, 0 to 1, of a number of HLG (table 5).
fn of_hlg(coded: f32) -> f32 {
    const A: f32 = 0.178_832_77;
    const B: f32 = 0.284_668_92;
    const C: f32 = 0.559_910_7;
    let coded = coded.clamp(0.0, 1.0);
    if coded <= 0.5 { coded * coded / 3.0 } else { (((coded - C) / A).exp() + B) / 12.0 }
}

fn srgb(light: f32) -> f32 {
    srgb_of_light(light.into()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(curve: u16, primaries: u16) -> ToneMapping {
        let nclx = Nclx { primaries, curve, ..Nclx::UNSPECIFIED };
        ToneMapping::of(nclx).unwrap()
    }

    #[test]
    fn light_is_that_of_the_recommendation() {
        // BT.2408, table 1: 203 cd/m² is 58 % of PQ and 75 % of HLG.
        assert!((of_pq(0.580_689) - 203.0).abs() < 0.1 && (to_pq(203.0) - 0.580_689).abs() < 1e-5);
        assert!((of_pq(SRGB_WHITE_IN_PQ) - SRGB_WHITE).abs() < 0.1);
        assert!((of_pq(1.0) - 10_000.0).abs() < 1.0 && of_pq(0.0) == 0.0);
        let white = mapping(18, 9).linear(&[0.75; 3]);
        assert!(white.iter().all(|light| (light - 203.0).abs() < 0.5), "{white:?}");
    }

    #[test]
    fn the_brightest_pixel_becomes_white_and_shadows_stay() {
        for primaries in [1, 2, 9, 12] {
            let hdr = mapping(16, primaries);
            let mut row: Vec<f32> = [4000.0, 20.0].iter().flat_map(|&x| [to_pq(x); 3]).collect();
            let peak = hdr.peak(&row, 3);
            assert!((peak - 4000.0).abs() < 4.0, "{peak}");
            hdr.with_peak(peak).apply(&mut row, 3);
            let expected = [1.0, srgb(20.0 / 255.0)];
            for (value, expected) in row.chunks_exact(3).zip(expected) {
                assert!(value.iter().all(|v| (v - expected).abs() < 2e-3), "{value:?}");
            }
        }
    }

    #[test]
    fn gray_and_opacity_keep_their_places() {
        let hdr = mapping(16, 9).with_peak(1000.0);
        let mut pixels = [[0.5; 4], [0.5; 4], [0.5; 4]];
        hdr.apply(&mut pixels[0][..1], 1);
        hdr.apply(&mut pixels[1][..2], 2);
        hdr.apply(&mut pixels[2], 4);
        let color = pixels[0][0];
        assert!((color - 0.5).abs() > 0.1);
        assert_eq!(pixels[1][..2], [color, 0.5]);
        assert!(pixels[2][..3].iter().all(|c| (c - color).abs() < 1e-4) && pixels[2][3] == 0.5);
    }
}
