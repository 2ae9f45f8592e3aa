//! Light rain, as in Rain100L.

use engine::Rng;

use super::Streaks;
use crate::image::{Image, Plane};

/// `clean` in the rain. Measured on Rain100L: gray additive streaks over 6 to 20 % of the pixels,
/// about two pixels wide and 15 to 100 long, up to 30 degrees off the vertical and 12 on average;
/// most are faint, and the brightest add 0.3 to 0.6. One in twelve is a downpour, which that set
/// has not.
pub(in super::super) fn rain(clean: &Image, rng: &mut Rng) -> Image {
    let layers = match rng.uniform() {
        u if u < 0.7 => 1,
        u if u < 0.92 => 2,
        _ => rng.int(3..6),
    };
    let angle = if rng.chance(0.4) { 6.0 * rng.normal() } else { rng.range(-32.0..32.0) };
    let mut light = Plane::new(clean.width, clean.height);
    for _ in 0..layers {
        // Layers are depths of one shower: the wind is the same, but for gusts.
        let angle = angle + rng.range(-6.0..6.0);
        // The more layers, the fainter each.
        let streaks = Streaks {
            angle: angle.to_radians(),
            length: rng.range(22.0..92.0),
            sigma: rng.range(0.5..0.85),
            brightness: (0.08 + 0.18 * rng.uniform().powi(2)) / (layers as f64).sqrt(),
            cover: 0.09 + 0.6 * rng.uniform().powf(1.5),
        };
        streaks.draw(&mut light, rng);
    }
    let mut image = clean.clone();
    for (pixel, &s) in image.data.chunks_exact_mut(3).zip(&light.data) {
        for value in pixel {
            *value = (*value + s).min(1.0);
        }
    }
    if layers > 2 && rng.chance(0.5) {
        let (keep, airlight) = (rng.range(0.75..1.0) as f32, rng.range(0.5..0.9) as f32);
        for value in &mut image.data {
            *value = keep * *value + (1.0 - keep) * airlight;
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaks_add_the_same_light_to_every_channel_and_some_downpours_a_veil() {
        let clean = Image::from_fn(64, 64, |x, _| [if x < 32 { 0.2 } else { 0.0 }, 0.1, 0.05]);
        let mut veils = 0;
        for index in 0..400 {
            let image = rain(&clean, &mut Rng::at(3, 0, index));
            let gains = || {
                image
                    .pixels()
                    .zip(clean.pixels())
                    .map(|(a, b)| [a[0] - b[0], a[1] - b[1], a[2] - b[2]])
            };
            if gains().all(|[r, _, _]| r > 1e-3) {
                veils += 1;
                continue;
            }
            assert!(gains().any(|[r, _, _]| r > 0.02), "{index}: no rain");
            // White is as bright as it gets.
            for [r, g, b] in gains().filter(|&[r, _, _]| r < 0.79) {
                assert!(
                    r > -1e-6 && (r - g).abs() < 1e-5 && (g - b).abs() < 1e-5,
                    "{index}: {r} {g} {b}"
                );
            }
        }
        // Half of the downpours, of which one picture in twelve is one.
        assert!((5..40).contains(&veils), "{veils}");
    }
}
