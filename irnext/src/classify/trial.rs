//! A trial of the network that removes haze, on a small copy of the photograph: what it takes away
//! from the dark parts is haze. It has learned to leave clear pictures as they are, and sees more
//! than the features of a linear classifier do: that distances are pale, and near things are not.
//! Of a patch of one color nobody can tell, and the network takes gray for haze: pages and
//! screenshots are full of such.

use super::haze::dark_channel;
use crate::image::{Image, Plane};

/// The longer side of the copy, pixels.
pub(crate) const SIDE: usize = 320;

/// Half the side of the patches of the dark channel, pixels.
const PATCH: usize = 4;

/// The standard deviation of a patch from which it counts in full; a flatter one counts less.
const FLAT: f32 = 0.005;

/// The veil at which haze is as likely as none, and how much likelier it becomes with it: fitted to
/// photographs of both sorts (docs/src/auto.md).
const MIDDLE: f64 = 0.1;
const SLOPE: f64 = 50.0;

/// How much darker the dark parts of a picture are in its restored version: the mean of
/// [`veil_map`].
pub(crate) fn veil(before: &Image, after: &Image) -> f64 {
    f64::from(veil_map(before, after).mean())
}

/// The fall of the dark channel from a picture to its restored version in each place, where 1 is
/// the step from black to white, and patches of one color count as 0.
pub(crate) fn veil_map(before: &Image, after: &Image) -> Plane {
    let gray = Plane::gray(before);
    let squares = gray.clone().map(|v| v * v).box_blur(PATCH);
    let variance = squares.zip(&gray.box_blur(PATCH), |square, mean| square - mean * mean);
    let weight = variance.map(|variance| (variance.max(0.0).sqrt() / FLAT).min(1.0));
    let fall = dark_channel(before, PATCH).zip(&dark_channel(after, PATCH), |a, b| a - b);
    fall.zip(&weight, |fall, weight| fall * weight)
}

/// The probability of haze in a photograph with this veil.
pub(super) fn probability(veil: f64) -> f64 {
    1.0 / (1.0 + (-SLOPE * (veil - MIDDLE)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veil_is_what_is_taken_from_dark_parts() {
        let stripes = |veil: f32| {
            // One column of four is bright: no patch is without a dark one.
            let value = |x: usize| if x.is_multiple_of(4) { 0.9 } else { 0.1 };
            Image::from_fn(64, 40, |x, _| [0, 1, 2].map(|_| value(x) * (1.0 - veil) + veil))
        };
        let found = veil(&stripes(0.3), &stripes(0.1));
        assert!((found - 0.2 * 0.9).abs() < 1e-6, "{found}");
        assert_eq!(veil(&stripes(0.3), &stripes(0.3)), 0.0);
        let flat = |level: f32| Image::from_fn(64, 40, |_, _| [level; 3]);
        assert_eq!(veil(&flat(0.9), &flat(0.4)), 0.0, "one color tells nothing");
        let bright =
            Image::from_fn(
                64,
                40,
                |x, y| {
                    if (x / 4 + y / 4) % 3 == 0 { [0.0; 3] } else { [0.9; 3] }
                },
            );
        let darker =
            Image { data: bright.data.iter().map(|v| v * 0.7).collect(), ..bright.clone() };
        assert!(veil(&bright, &darker).abs() < 0.01, "bright things are no veil");
    }

    #[test]
    fn the_thicker_the_veil_the_likelier_haze() {
        assert_eq!(probability(MIDDLE), 0.5);
        assert!(probability(0.0) < 0.1 && probability(0.25) > 0.95);
    }
}
