//! Features of blur. Blur reduces the differences between neighboring pixels along one direction
//! (motion) or all (defocus), everywhere or in places.
//!
//! The structure function D(s) is the mean squared difference between pixels s apart. ln D(s)/D(2s)
//! is -1.4 where everything is smooth at that scale, about -0.7 in sharp photographs and 0 in
//! noise, whatever the contrast. Blur of length L along a direction makes everything smooth up to
//! about s = L/2 along that direction.

use super::tiles::{means, quantile};
use crate::image::{Image, Plane};

/// Two directions and their perpendiculars.
const DIRECTIONS: [[isize; 2]; 4] = [[1, 0], [0, 1], [1, 1], [1, -1]];

/// The distances s, pixels.
const SCALES: [isize; 5] = [1, 2, 4, 8, 16];

/// The squared difference that counts as none: a rounding of eight bits.
const LEAST: f64 = 2e-6;

/// The squared difference at which a square has half its weight: a sky tells nothing about
/// sharpness.
const FLAT: f64 = 4e-4;

pub(super) fn features(image: &Image) -> [f64; 13] {
    let light = Plane::gray(image);
    let difference = |step| means(&light, step, |here, there| (here - there) * (here - there));
    let structure =
        DIRECTIONS.map(|[dx, dy]| SCALES.map(|scale| difference([scale * dx, scale * dy])));
    let count = structure[0][0].len();
    let weights: Vec<f64> = (0..count)
        .map(|square| {
            let contrast =
                structure.iter().map(|direction| direction[3][square]).sum::<f64>() / 4.0;
            contrast / (contrast + FLAT) + 1e-3
        })
        .collect();
    let total: f64 = weights.iter().sum();
    let average =
        |values: &[f64]| values.iter().zip(&weights).map(|(v, w)| v * w).sum::<f64>() / total;

    // For each scale but the last and each square: the mean over the directions, and how they
    // differ.
    let slope = |direction: usize, scale: usize, square: usize| {
        let of = |scale: usize| structure[direction][scale][square] + LEAST;
        (of(scale) / of(scale + 1)).ln()
    };
    let level: [Vec<f64>; 4] = std::array::from_fn(|scale| {
        (0..count)
            .map(|square| (0..4).map(|d| slope(d, scale, square)).sum::<f64>() / 4.0)
            .collect()
    });
    let turn: [[Vec<f64>; 2]; 4] = std::array::from_fn(|scale| {
        [[0, 1], [2, 3]].map(|[a, b]| {
            (0..count).map(|square| slope(a, scale, square) - slope(b, scale, square)).collect()
        })
    });
    let common = |scale: usize| {
        let [x, y] = &turn[scale];
        average(x).hypot(average(y))
    };
    let single = |scale: usize| {
        let [x, y] = &turn[scale];
        average(&x.iter().zip(y).map(|(x, y)| x.hypot(*y)).collect::<Vec<_>>())
    };
    let told: Vec<f64> =
        (0..count).filter(|&s| weights[s] > 0.4).map(|s| level[0][s] + level[1][s]).collect();
    let told = if told.is_empty() {
        (0..count).map(|s| level[0][s] + level[1][s]).collect()
    } else {
        told
    };
    [
        average(&level[0]),
        average(&level[1]),
        average(&level[2]),
        average(&level[3]),
        quantile(told.clone(), 0.95),
        quantile(told.clone(), 0.5),
        quantile(told, 0.1),
        common(0),
        common(1),
        common(2),
        common(3),
        single(0),
        single(1),
    ]
}
