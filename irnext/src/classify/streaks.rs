//! Features of rain and snow. They add bright objects but no dark ones, thin across the fall or in
//! every direction, all over the picture.

use super::lines::bright;
use super::tiles::{SIDE, inside, mean, means, quantile};
use crate::image::{Image, Plane};

/// Half the length of the lines that an object must be shorter than to count as thin, pixels.
const HALF: usize = 4;

/// The number that is added to mean brightnesses before they are compared: less is invisible.
const LEAST: f64 = 0.002;

/// How far below a streak to look for its continuation, in pixels, and how far to the side at most.
const FALL: isize = 8;
const ASIDE: isize = 6;

pub(super) fn features(image: &Image) -> [f64; 18] {
    let light = Plane::gray(image);
    let half = Plane::gray(&image.shrink(2).pad_reflect(SIDE, SIDE));
    let fine = || rayon::join(|| Streaks::of(&light), || Streaks::of(&light.clone().map(|v| -v)));
    let coarse = || rayon::join(|| Streaks::of(&half), || Streaks::of(&half.clone().map(|v| -v)));
    let ((white, black), (coarse_white, coarse_black)) = rayon::join(fine, coarse);

    let streaks = ratio(&white.across, &black.across);
    let spots = ratio(&white.spots, &black.spots);
    let strong_spots = strong_ratio(&white.spots, &black.spots);
    let strong_coarse = strong_ratio(&coarse_white.spots, &coarse_black.spots);
    let upright = ratio(&white.across, &white.down);
    let more_upright =
        upright.iter().zip(ratio(&black.across, &black.down)).map(|(white, black)| white - black);
    let alike = likeness(&white.across);
    let bright_spots = white.spots.data.iter().filter(|&&v| v > 0.1).count() as f64
        / white.spots.data.len() as f64;
    [
        quantile(streaks.clone(), 0.5),
        quantile(streaks, 0.2),
        quantile(strong_ratio(&white.across, &black.across), 0.5),
        quantile(more_upright.collect(), 0.5),
        quantile(upright, 0.5),
        quantile(amount(&white.across), 0.2),
        alike,
        alike - likeness(&black.across),
        quantile(spots.clone(), 0.5),
        quantile(spots, 0.2),
        quantile(strong_spots.clone(), 0.5),
        quantile(strong_spots, 0.8),
        quantile(amount(&white.spots), 0.2),
        (bright_spots + 1e-4).ln(),
        quantile(ratio(&coarse_white.spots, &coarse_black.spots), 0.5),
        quantile(strong_coarse.clone(), 0.5),
        quantile(strong_coarse, 0.8),
        quantile(amount(&coarse_white.spots), 0.2),
    ]
}

/// For each square, ln of its mean brightness.
fn amount(plane: &Plane) -> Vec<f64> {
    mean(plane).iter().map(|v| (v + LEAST).ln()).collect()
}

/// For each square, ln of the ratio of `a` to `b`.
fn ratio(a: &Plane, b: &Plane) -> Vec<f64> {
    amount(a).iter().zip(amount(b)).map(|(a, b)| a - b).collect()
}

/// The same for their squares, so that a few strong objects count more than many weak ones.
fn strong_ratio(a: &Plane, b: &Plane) -> Vec<f64> {
    let strength = |plane: &Plane| {
        means(plane, [0, 0], |v, _| v * v).into_iter().map(|v| 0.5 * (v + LEAST * LEAST).ln())
    };
    strength(a).zip(strength(b)).map(|(a, b)| a - b).collect()
}

/// The bright and thin objects.
struct Streaks {
    /// Thin from left to right.
    across: Plane,
    /// Thin from top to bottom.
    down: Plane,
    /// Thin in all of four directions.
    spots: Plane,
}

impl Streaks {
    fn of(light: &Plane) -> Self {
        let [across, down, rising, falling] =
            [[1, 0], [0, 1], [1, -1], [1, 1]].map(|step| bright(light, step, HALF));
        let spots =
            across.clone().zip(&down, f32::min).zip(&rising, f32::min).zip(&falling, f32::min);
        Self { across, down, spots }
    }
}

/// How much the thin objects resemble those [`FALL`] pixels below them, in the direction of the
/// closest resemblance: 1 if equal, 0 if unrelated.
fn likeness(thin: &Plane) -> f64 {
    // A lamp must not outweigh the rain.
    let thin = thin.clone().map(|v| v.min(0.2));
    let level = thin.mean();
    let thin = thin.map(|v| v - level);
    let square = f64::from(thin.deviation()).powi(2).max(1e-9);
    let toward = |aside: isize| {
        let (columns, rows) = (inside(thin.width, aside), inside(thin.height, FALL));
        let count = (columns.len() * rows.len()).max(1);
        let products = rows.map(|y| {
            let here = &thin.data[y * thin.width..][columns.clone()];
            let below = &thin.data[(y + FALL as usize) * thin.width..][..thin.width];
            let below = &below[columns.start.wrapping_add_signed(aside)..];
            f64::from(here.iter().zip(below).map(|(a, b)| a * b).sum::<f32>())
        });
        products.sum::<f64>() / count as f64 / square
    };
    (-ASIDE..=ASIDE).map(toward).fold(-1.0, f64::max)
}
