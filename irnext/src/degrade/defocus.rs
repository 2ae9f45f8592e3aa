//! Defocus blur: each depth is spread over a disk of radius a |1/d - 1/d_f| (the thin lens, focused
//! at d_f), in linear light, and nearer layers are laid over farther ones.

use engine::Rng;

use super::layer::{LIGHT, Opening, Overlay};
use crate::image::{Image, Plane};

/// `clean` through a wide, round aperture.
pub(super) fn defocus(clean: &Image, rng: &mut Rng) -> Image {
    through(Opening::Disk, clean, rng)
}

/// `clean` through one of the apertures that lenses have, of which many have six blades.
pub(super) fn through_any_lens(clean: &Image, rng: &mut Rng) -> Image {
    let opening = match rng.below(4) {
        0 => Opening::Hexagon,
        1 => Opening::FlatHexagon,
        _ => Opening::Disk,
    };
    through(opening, clean, rng)
}

fn through(opening: Opening, clean: &Image, rng: &mut Rng) -> Image {
    let nearness = nearness(clean, rng);
    let focus = rng.range(0.0..1.0) as f32;
    // Pixels of radius from the nearest to the farthest.
    let aperture = (3.0 + 12.0 * rng.uniform().powf(1.2)) as f32;
    let layers = 2 + (aperture / 3.0) as usize;

    let sharp = Overlay::of(clean, LIGHT);
    let mut picture = sharp.empty();
    for layer in 0..=layers {
        let here = layer as f32 / layers as f32;
        // A pixel between two layers belongs to both, in part.
        let coverage = nearness.clone().map(|n| (1.0 - (n - here).abs() * layers as f32).max(0.0));
        if coverage.mean() > 0.0 {
            let radius = aperture * (here - focus).abs();
            picture.cover_with(&sharp.cut(&coverage).defocus(opening, radius));
        }
    }
    picture.image()
}

/// The reciprocal of depth, 0 farthest and 1 nearest: the ground comes nearer downwards, and things
/// stand on it whose outlines follow the photograph's.
fn nearness(clean: &Image, rng: &mut Rng) -> Plane {
    let (width, height) = (clean.width, clean.height);
    let (top, bottom) = (rng.range(0.0..0.5) as f32, rng.range(0.2..1.0) as f32);
    let uneven = rng.range(0.0..1.2) as f32;
    let cells = rng.int(2..6) as usize;
    let steps = rng.range(2.0..6.0) as f32;
    let noise = Plane::noise(width, height, cells, rng);
    let things = noise.map(|n| ((n - 0.5) * steps).round() / steps);
    Plane::ramp(width, height, top, bottom)
        .zip(&things, |ramp, thing| ramp + uneven * thing)
        .guided(&Plane::gray(clean), width.max(height).div_ceil(24), 1e-3)
        .map(|n| n.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_differs_over_the_picture_and_keeps_its_light() {
        let clean = Image::from_fn(96, 96, |x, y| [if (x + y) % 2 == 0 { 0.2 } else { 0.8 }; 3]);
        let contrast = |image: &Image, y: usize| {
            let row: Vec<f32> = (8..88).map(|x| image.at(x, y)[0]).collect();
            row.windows(2).map(|w| (w[0] - w[1]).abs()).sum::<f32>() / 79.0
        };
        let mut uneven = 0;
        for index in 0..20 {
            let image = defocus(&clean, &mut Rng::at(3, 0, index));
            let rows: Vec<f32> = (8..88).step_by(8).map(|y| contrast(&image, y)).collect();
            let most = rows.iter().copied().fold(0.0, f32::max);
            let least = rows.iter().copied().fold(1.0, f32::min);
            assert!(most <= 0.61);
            uneven += usize::from(most - least > 0.05);
            // Where the pattern has vanished, its mean light remains.
            let light =
                image.data.iter().map(|v| v.powf(2.2)).sum::<f32>() / image.data.len() as f32;
            let expected = (0.2f32.powf(2.2) + 0.8f32.powf(2.2)) / 2.0;
            assert!((light / expected - 1.0).abs() < 0.03, "{light} {expected}");
        }
        assert!(uneven >= 10, "{uneven}");
    }
}
