//! Rain: O = B + S1 + S2 + ..., layers of bright streaks of one direction each; downpours add a
//! veil, O = a (B + S) + (1 - a) A (Yang et al., "Deep joint rain detection and removal", 2017).
//!
//! There are two models of it. [`light`] is fitted to Rain100L. [`storm`] has heavier rain of other
//! looks too, as photographs of real rain have.

mod light;
mod storm;

pub(super) use light::rain;
pub(super) use storm::pair;

use engine::Rng;

use super::stroke::stroke;
use crate::image::Plane;

/// One layer of streaks: the drops at one distance.
struct Streaks {
    /// Radians off the vertical.
    angle: f64,
    /// Pixels, of a drop at a middling distance.
    length: f64,
    /// Pixels: the deviation of a streak's brightness across it.
    sigma: f64,
    /// The light that a streak adds.
    brightness: f64,
    /// The share of the pixels that streaks would cover if none overlapped.
    cover: f64,
}

impl Streaks {
    /// Adds the streaks to `light`.
    fn draw(&self, light: &mut Plane, rng: &mut Rng) {
        let &Self { angle, length, sigma, brightness, cover } = self;
        let (width, height) = (light.width, light.height);
        // Streaks start outside the image as well. One shows two sigma to each side.
        let area = (width as f64 + length) * (height as f64 + length);
        let count = (cover * area / (length * 4.0 * sigma)).round() as usize;
        for _ in 0..count {
            // Near drops are longer, wider and brighter; most drops are far.
            let near = -(1.0 - rng.uniform()).ln();
            let length = length * (0.3 + 0.3 * near + rng.range(0.0..0.5));
            let sigma = (sigma * (0.75 + 0.15 * near) * rng.range(0.8..1.2)).max(0.4) as f32;
            let peak = (brightness * (0.4 + 0.6 * near)).min(0.9) as f32;
            let slope = angle + 0.06 * rng.normal();
            let half = [slope.sin() * length / 2.0, slope.cos() * length / 2.0];
            let x = rng.range(-length / 2.0..width as f64 + length / 2.0);
            let y = rng.range(-length / 2.0..height as f64 + length / 2.0);
            let from = [(x - half[0]) as f32, (y - half[1]) as f32];
            let to = [(x + half[0]) as f32, (y + half[1]) as f32];
            // A drop wobbles as it falls, and its light flickers.
            let light_along: [f32; 8] =
                std::array::from_fn(|k| if k % 7 == 0 { 0.0 } else { rng.range(0.4..1.4) as f32 });
            stroke(width, height, from, to, 3.0 * sigma, |pixel, distance, along| {
                let across = (-0.5 * (distance / sigma).powi(2)).exp();
                // Just below 7, so that there is a next one.
                let place = 6.999 * along;
                let (before, part) = (place as usize, place.fract());
                let flicker = light_along[before] * (1.0 - part) + light_along[before + 1] * part;
                light.data[pixel] += peak * across * flicker;
            });
        }
    }
}
