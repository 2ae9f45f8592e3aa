//! The features of a block: parameters of the distributions of its values, and of the products of
//! neighbors.
//!
//! Values follow an asymmetric generalized Gaussian distribution, with shape α and a scale on each
//! side of zero, βₗ and βᵣ. It is fitted by moments (Lasmar, Stitou and Berthoumieu, 2009): of all
//! α from 0.2 to 10 in steps of 0.001, the one whose Γ(2/α)² / (Γ(1/α) Γ(3/α)) is nearest to the
//! same ratio of the values.

use libm::tgamma as gamma;
use std::sync::LazyLock;

/// Features of a block at one of the two sizes.
pub(super) const FEATURES: usize = 18;

/// The neighbors of a value: rows above, and columns to the left.
const NEIGHBORS: [(isize, isize); 4] = [(0, 1), (1, 0), (1, 1), (1, -1)];

/// The features of a square block of `side` rows: α and the mean of βₗ and βᵣ of its values; then,
/// of the products with each neighbor, α, the mean (βᵣ − βₗ) Γ(2/α) / Γ(1/α), βₗ and βᵣ. The block
/// repeats beyond its border. All but the shapes are NaN where there are no values on one side of
/// zero.
pub(super) fn of_block(block: &[f64], side: usize) -> [f64; FEATURES] {
    let values = Fit::of(block.iter().copied());
    let mut features = [0.0; FEATURES];
    features[..2].copy_from_slice(&[values.shape, (values.left + values.right) / 2.0]);
    let before =
        |place: usize, offset: isize| (place as isize - offset).rem_euclid(side as isize) as usize;
    for ((up, left), features) in NEIGHBORS.into_iter().zip(features[2..].chunks_exact_mut(4)) {
        let product = |(i, value): (usize, &f64)| {
            value * block[before(i / side, up) * side + before(i % side, left)]
        };
        let Fit { shape, left, right } = Fit::of(block.iter().enumerate().map(product));
        let mean = (right - left) * gamma(2.0 / shape) / gamma(1.0 / shape);
        features.copy_from_slice(&[shape, mean, left, right]);
    }
    features
}

/// An asymmetric generalized Gaussian distribution: α, βₗ and βᵣ.
struct Fit {
    shape: f64,
    left: f64,
    right: f64,
}

/// The shapes that are tried, from the flattest side of zero to the steepest.
fn shape(step: usize) -> f64 {
    0.2 + 0.001 * step as f64
}

/// The ratio of each shape. It grows with the shape.
static RATIOS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let ratio = |step| {
        let [one, two, three] = [1.0, 2.0, 3.0].map(|n| gamma(n / shape(step)));
        two * two / (one * three)
    };
    (0..=9800).map(ratio).collect()
});

impl Fit {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        // The number, the sum of magnitudes and of squares: below, at and above zero.
        let (mut count, mut magnitudes) = (0.0, 0.0);
        let (mut left, mut right) = ([0.0; 2], [0.0; 2]);
        for value in values {
            count += 1.0;
            magnitudes += value.abs();
            let side = if value < 0.0 { &mut left } else { &mut right };
            if value != 0.0 {
                side[0] += 1.0;
                side[1] += value * value;
            }
        }
        let ratio = (magnitudes / count).powi(2) / ((left[1] + right[1]) / count);
        let [left, right] =
            [left, right].map(|[count, squares]: [f64; 2]| (squares / count).sqrt());
        let sides = left / right;
        let ratio = ratio * (sides.powi(3) + 1.0) * (sides + 1.0) / (sides.powi(2) + 1.0).powi(2);
        let shape = shape(nearest(&RATIOS, ratio));
        let scale = (gamma(1.0 / shape) / gamma(3.0 / shape)).sqrt();
        Self { shape, left: left * scale, right: right * scale }
    }
}

/// The first of the ascending `values` that none is nearer to `value` than; for NaN 0, as with
/// MATLAB's `min` and NumPy's `argmin`.
fn nearest(values: &[f64], value: f64) -> usize {
    let above = values.partition_point(|&other| other < value).min(values.len() - 1);
    let below = above.saturating_sub(1);
    let away = |i: usize| (values[i] - value).powi(2);
    if away(above) < away(below) { above } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_is_the_factorial() {
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-13, "{a}, not {b}");
        near(gamma(1.0), 1.0);
        near(gamma(15.0), 87_178_291_200.0);
        near(gamma(0.5), std::f64::consts::PI.sqrt());
        near(gamma(0.1), 9.513_507_698_668_732);
    }

    #[test]
    fn ratios_ascend_and_the_nearest_is_found() {
        assert!(RATIOS.windows(2).all(|pair| pair[0] < pair[1]));
        let values = [1.0, 2.0, 4.0];
        for (value, place) in [(0.0, 0), (1.4, 0), (1.5, 0), (1.6, 1), (3.1, 2), (9.0, 2)] {
            assert_eq!(nearest(&values, value), place, "{value}");
        }
        assert_eq!(nearest(&values, f64::NAN), 0);
    }

    #[test]
    fn a_normal_distribution_has_shape_two() {
        let mut rng = engine::Rng::new(1);
        let values: Vec<f64> = (0..200_000).map(|_| rng.normal()).collect();
        let fit = Fit::of(values.iter().copied());
        assert!((fit.shape - 2.0).abs() < 0.03, "{}", fit.shape);
        // β is √2 standard deviations.
        let root = 2f64.sqrt();
        assert!((fit.left - root).abs() < 0.02 && (fit.right - root).abs() < 0.02);
        // Twice the scale above zero.
        let fit =
            Fit::of(values.iter().map(|value| if *value > 0.0 { 2.0 * value } else { *value }));
        assert!((fit.right / fit.left - 2.0).abs() < 0.03, "{} {}", fit.left, fit.right);
    }

    #[test]
    fn a_block_without_negative_values_has_shapes_only() {
        let features = of_block(&[0.5; 16], 4);
        assert_eq!(features[0], 0.2);
        assert!(features[1].is_nan() && features[3].is_nan());
    }
}
