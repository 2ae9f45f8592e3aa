//! Views: the values of an image that are scored.

use crate::image::Image;

/// The channels that are scored, and their precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The RGB values as they are; range 1. Limit a network's output to [0, 1] first.
    Rgb,
    /// The RGB values that an 8-bit file would hold: limited and rounded to the nearest; range 255.
    Rgb8,
    /// The luma of the RGB values as they are, not rounded, on the scale of 8-bit video (16 to
    /// 235); range 255. On images read from 8-bit files, as BasicSR.
    Luma,
    /// The luma of the values that an 8-bit file would hold, rounded as well; range 255.
    /// As MATLAB's `rgb2ycbcr` on `uint8` images, which papers on deraining use.
    Luma8,
}

impl View {
    /// The difference between the largest and the smallest value that there can be, as scores
    /// define it.
    pub fn range(self) -> f64 {
        match self {
            Self::Rgb => 1.0,
            Self::Rgb8 | Self::Luma | Self::Luma8 => 255.0,
        }
    }

    /// The channels that this view has of `image`, each `height * width` values in reading order.
    pub(super) fn planes(self, image: &Image) -> Vec<Vec<f64>> {
        let rgb = |f: fn(f32) -> f64| {
            let plane = |channel| image.pixels().map(move |pixel| f(pixel[channel])).collect();
            (0..3).map(plane).collect()
        };
        match self {
            Self::Rgb => rgb(f64::from),
            Self::Rgb8 => rgb(eight_bit),
            Self::Luma => vec![image.luma()],
            Self::Luma8 => vec![image.pixels().map(|pixel| luma_8(pixel).round()).collect()],
        }
    }
}

/// A value as an 8-bit file holds it, 0 to 255. NaN stays NaN.
fn eight_bit(value: f32) -> f64 {
    (f64::from(value).clamp(0.0, 1.0) * 255.0).round()
}

/// [`Image::luma`] of 8-bit values, computed in whole numbers up to a single division, so that
/// rounding halves is not left to chance.
pub(super) fn luma_8(pixel: [f32; 3]) -> f64 {
    let [r, g, b] = pixel.map(eight_bit);
    (65_481.0 * r + 128_553.0 * g + 24_966.0 * b) / 255_000.0 + 16.0
}

/// The gray of 8-bit values by MATLAB's `rgb2gray`, 0 to 255, not rounded. Its weights are the
/// inverse of a matrix of NTSC's, and more precise than BT.601's 0.299, 0.587 and 0.114.
pub(super) fn gray_8(pixel: [f32; 3]) -> f64 {
    let [r, g, b] = pixel.map(eight_bit);
    0.298_936_021_293_775_3 * r + 0.587_043_074_451_121_4 * g + 0.114_020_904_255_103_2 * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_the_channels() {
        let image = Image::from_fn(2, 1, |x, _| [x as f32, 0.5, 0.25]);
        let planes = [vec![0.0, 1.0], vec![0.5; 2], vec![0.25; 2]];
        assert_eq!(View::Rgb.planes(&image), planes);
        let planes = [vec![0.0, 255.0], vec![128.0; 2], vec![64.0; 2]];
        assert_eq!(View::Rgb8.planes(&image), planes);
        // (65.481 * 255 + 128.553 * 128 + 24.966 * 64) / 255 + 16 = 152.2757…
        assert_eq!(View::Luma8.planes(&image), [vec![87.0, 152.0]]);
        let luma = 65.481 + 128.553 * 0.5 + 24.966 * 0.25 + 16.0;
        assert!((View::Luma.planes(&image)[0][1] - luma).abs() < 1e-12);
    }
}
