//! Haze that is nearly as thick everywhere, as in RESIDE's outdoor sets.

use engine::Rng;

use super::through_air;
use crate::image::{Image, Plane};

/// `clean` behind haze.
pub(in super::super) fn haze(clean: &Image, rng: &mut Rng) -> Image {
    Air::draw(clean, rng).over(clean)
}

/// The air between the camera and the scene.
struct Air {
    airlight: [f32; 3],
    transmission: Plane,
}

impl Air {
    /// Fitted to the outdoor test set of RESIDE, where the mean optical depth of a picture, -ln t,
    /// is 0.2 to 0.7 and 0.4 on average, its spread inside a picture a fifth of that, and airlight
    /// gray and 0.8 to 1. One in 25 is fog, as in Dense-Haze: some of it lets through a tenth of
    /// the light, unevenly. With more of it, and more of dusk, a network takes pale ground for air,
    /// and darkens it.
    fn draw(clean: &Image, rng: &mut Rng) -> Self {
        let (thickness, spread) = match rng.chance(0.04) {
            true => (rng.range(0.7..2.4), rng.range(0.1..0.5)),
            false => (rng.range(0.15..0.65), rng.range(0.05..0.35)),
        };
        // At dusk and under clouds the air is darker than in any of the data sets.
        let gray = if rng.chance(0.95) { rng.range(0.8..1.0) } else { rng.range(0.5..0.8) };
        // Real haze is not quite gray: bluish far off, yellowish with dust.
        let tint = if rng.chance(0.3) { rng.range(-0.04..0.04) } else { 0.0 };
        let airlight = [gray - tint, gray, gray + tint].map(|a| a.clamp(0.0, 1.0) as f32);
        let depth = depth(clean, spread as f32, rng);
        Self { airlight, transmission: depth.map(|d| (-thickness as f32 * d).exp()) }
    }

    /// I = J t + A (1 - t).
    fn over(&self, clean: &Image) -> Image {
        through_air(clean, &self.transmission, |_| self.airlight)
    }
}

/// A plausible depth map of mean 1 and standard deviation `spread`: uneven, usually farther toward
/// the top, and with brighter objects farther or nearer. In RESIDE the ramp and the brightness
/// explain a third of the variance: a network that was taught that bright is far darkens every sky.
/// Half of the maps have discontinuities at the photograph's edges, like the outlines of real
/// objects.
fn depth(clean: &Image, spread: f32, rng: &mut Rng) -> Plane {
    let (width, height) = (clean.width, clean.height);
    let gray = Plane::gray(clean);
    let slope = (0.4 + 0.6 * rng.normal()) as f32;
    let bright = (0.1 + 0.4 * rng.normal()) as f32;
    let cells = rng.int(2..7) as usize;
    let mut depth = Plane::ramp(width, height, slope, 0.0)
        .zip(&Plane::noise(width, height, cells, rng), |d, n| d + n)
        .zip(&gray.box_blur(4), |d, g| d + bright * g);
    if rng.chance(0.5) {
        let steps = rng.range(3.0..8.0) as f32;
        depth = depth.map(|d| (d * steps).round() / steps);
        depth = depth.guided(&gray, width.max(height).div_ceil(16), 1e-3);
    }
    let (mean, deviation) = (depth.mean(), depth.deviation());
    depth.map(|d| (1.0 + spread * (d - mean) / deviation.max(1e-3)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haze_keeps_t_of_the_scene_and_adds_the_rest_of_the_air() {
        let clean =
            Image::from_fn(64, 64, |x, y| [if (x / 2 + y / 2) % 2 == 0 { 0.1 } else { 0.5 }; 3]);
        for index in 0..50 {
            let haze = Air::draw(&clean, &mut Rng::at(3, 0, index));
            let image = haze.over(&clean);
            assert!(haze.transmission.data.iter().all(|t| (0.0..=1.0).contains(t)));
            for ((hazy, clean), t) in
                image.pixels().zip(clean.pixels()).zip(&haze.transmission.data)
            {
                for ((hazy, clean), a) in hazy.into_iter().zip(clean).zip(haze.airlight) {
                    assert!((hazy - a - t * (clean - a)).abs() < 1e-5);
                }
            }
            assert_eq!(image, super::haze(&clean, &mut Rng::at(3, 0, index)));
        }
    }

    #[test]
    fn thickness_and_spread_are_those_of_sots_outdoor_but_for_some_fog() {
        let clean = Image::from_fn(96, 64, |x, y| [if y < 24 { 0.8 } else { x as f32 / 192.0 }; 3]);
        let (mut means, mut spreads) = (Vec::new(), Vec::new());
        for index in 0..400 {
            let t = Air::draw(&clean, &mut Rng::at(3, 0, index)).transmission;
            let depth = t.clone().map(|t| -t.ln());
            means.push(t.mean());
            spreads.push(depth.deviation() / depth.mean());
        }
        let median = |values: &mut Vec<f32>| {
            values.sort_by(f32::total_cmp);
            values[values.len() / 2]
        };
        let fog = means.iter().filter(|&&t| t < 0.4).count() as f64 / 400.0;
        let (mean, spread) = (median(&mut means), median(&mut spreads));
        println!(
            "haze: median of the mean transmission {mean:.2}, of the spread of depth {spread:.2}; \
             fog {fog:.2}"
        );
        // In SOTS-outdoor 0.69, 0.21 and none.
        assert!(
            (0.6..0.72).contains(&mean)
                && (0.15..0.25).contains(&spread)
                && (0.01..0.08).contains(&fog)
        );
    }
}
