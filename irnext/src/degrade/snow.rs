//! Snow: K = J (1 - Z R) + C Z R, flakes with coverage Z and opacity R, then a thin veil I = K T +
//! A (1 - T) (Liu et al., "DesnowNet", 2018; Chen et al., "JSTASR", 2020).

use engine::Rng;

use super::stroke::stroke;
use crate::image::{Image, Plane};

/// Flakes of one size: those far away are small, sharp and many, those near the lens large, soft
/// and few.
struct Flakes {
    /// Pixels.
    radius: std::ops::Range<f64>,
    /// The most flakes per thousand pixels.
    density: f64,
    /// The part of the radius over which a flake fades out.
    softness: f64,
    /// The opacity: a flake near the lens is out of focus, and its light spread thin.
    opacity: std::ops::Range<f64>,
}

const SIZES: [Flakes; 3] = [
    Flakes { radius: 0.5..1.2, density: 12.0, softness: 0.8, opacity: 0.4..1.0 },
    Flakes { radius: 1.2..2.8, density: 3.0, softness: 1.0, opacity: 0.4..1.0 },
    Flakes { radius: 2.8..8.0, density: 0.3, softness: 1.4, opacity: 0.15..0.8 },
];

/// `clean` in falling snow.
pub(super) fn snow(clean: &Image, rng: &mut Rng) -> Image {
    // The visible part of the background: the product over all flakes of 1 - Z R, as flakes lie
    // over each other.
    let mut through = Plane::new(clean.width, clean.height).map(|_| 1.0);
    let fall = Fall { angle: rng.range(-40.0..40.0).to_radians(), speed: rng.range(0.0..3.0) };
    let heaviness = rng.range(0.15..1.0);
    for size in &SIZES {
        let per_pixel = size.density / 1000.0 * heaviness * rng.range(0.3..1.0);
        draw_flakes(&mut through, size, per_pixel, &fall, rng);
    }
    let white = rng.range(0.9..1.0) as f32;
    let clear = if rng.chance(0.5) { rng.range(0.7..1.0) as f32 } else { 1.0 };
    let airlight = rng.range(0.7..1.0) as f32;
    let mut image = clean.clone();
    for (pixel, &through) in image.data.chunks_exact_mut(3).zip(&through.data) {
        for value in pixel {
            let snowy = *value * through + white * (1.0 - through);
            *value = snowy * clear + airlight * (1.0 - clear);
        }
    }
    image
}

/// How the flakes move while the shutter is open.
struct Fall {
    /// Radians off the vertical.
    angle: f64,
    /// Flake radii travelled.
    speed: f64,
}

fn draw_flakes(through: &mut Plane, size: &Flakes, per_pixel: f64, fall: &Fall, rng: &mut Rng) {
    let (width, height) = (through.width, through.height);
    let margin = size.radius.end * 2.0;
    let area = (width as f64 + 2.0 * margin) * (height as f64 + 2.0 * margin);
    for _ in 0..(per_pixel * area).round() as usize {
        let radius = rng.range(size.radius.clone());
        let angle = fall.angle + 0.3 * rng.normal();
        let half = fall.speed * radius * rng.range(0.3..0.7);
        let [dx, dy] = [half * angle.sin(), half * angle.cos()];
        let x = rng.range(-margin..width as f64 + margin);
        let y = rng.range(-margin..height as f64 + margin);
        let opacity = rng.range(size.opacity.clone()) as f32;
        // A larger flake is a few crystals that stick together, each a stroke.
        let crystals = if radius > 1.2 { rng.int(1..4) } else { 1 };
        for _ in 0..crystals {
            let apart = if crystals > 1 { 0.7 * radius } else { 0.0 };
            let (x, y) = (x + rng.range(-1.0..1.0) * apart, y + rng.range(-1.0..1.0) * apart);
            let radius = radius * if crystals > 1 { rng.range(0.4..0.9) } else { 1.0 };
            let (radius, fade) = (radius as f32, (size.softness * radius).max(0.7) as f32);
            // The radius changes along the stroke.
            let lopsided = rng.range(-0.35..0.35) as f32;
            let from = [(x - dx) as f32, (y - dy) as f32];
            let to = [(x + dx) as f32, (y + dy) as f32];
            stroke(width, height, from, to, radius * 1.35 + fade, |pixel, distance, along| {
                let radius = radius * (1.0 + lopsided * (2.0 * along - 1.0));
                let inside = ((radius - distance) / fade + 0.5).clamp(0.0, 1.0);
                let coverage = inside * inside * (3.0 - 2.0 * inside);
                through.data[pixel] *= 1.0 - opacity * coverage;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flakes_only_lighten_and_some_are_nearly_white() {
        let clean = Image::from_fn(96, 96, |_, _| [0.1; 3]);
        for index in 0..20 {
            let image = snow(&clean, &mut Rng::at(3, 0, index));
            assert!(image.data.iter().all(|&v| v >= 0.1 - 1e-6));
            assert!(image.data.iter().any(|&v| v > 0.6));
        }
    }
}
