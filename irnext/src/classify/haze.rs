//! Features of haze, which lifts the dark parts and reduces contrast and color (He, Sun,
//! Tang: "Single image haze removal using dark channel prior", 2009: of three channels one is dark
//! somewhere in nearly every patch of a clear picture).

use super::lines::darkest;
use super::tiles::quantile;
use crate::image::{Image, Plane};

/// The longer side of the picture that is examined, pixels; haze has no details.
const SIDE: usize = 256;

/// Half the side of the patches of the dark channel, pixels: a fifteenth of the picture.
const PATCH: usize = 7;

/// The darkest channel of each pixel.
fn least(image: &Image) -> Plane {
    let data = image.pixels().map(|[r, g, b]| r.min(g).min(b)).collect();
    Plane { width: image.width, height: image.height, data }
}

/// The least value in the square patch around each pixel, whose half side is `radius`.
fn darkest_patches(plane: &Plane, radius: usize) -> Plane {
    darkest(&darkest(plane, [1, 0], radius), [0, 1], radius)
}

/// The dark channel: the darkest channel of the patch around each pixel.
pub(super) fn dark_channel(image: &Image, radius: usize) -> Plane {
    darkest_patches(&least(image), radius)
}

pub(super) fn features(image: &Image) -> [f64; 8] {
    let small = image.shrink(image.width.max(image.height).div_ceil(SIDE));
    // A picture of a few rows would vanish when shrunk.
    let small = if small.data.is_empty() { image } else { &small };
    let least = least(small);
    let dark = darkest_patches(&least, PATCH);
    let half = dark.data.len() / 2;
    let mean =
        |part: &[f32]| part.iter().map(|&v| f64::from(v)).sum::<f64>() / part.len().max(1) as f64;
    let share =
        |plane: &Plane, part| quantile(plane.data.iter().map(|&v| f64::from(v)).collect(), part);
    let color = small.pixels().map(|[r, g, b]| {
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        (most - least) / (most + 0.05)
    });
    let light = Plane::gray(small);
    // The contrast inside a patch, beside its light.
    let local =
        light.clone().zip(&light.box_blur(PATCH), |v, mean| (v - mean).abs() / (mean + 0.05));
    [
        mean(&dark.data),
        mean(&dark.data[half..]),
        share(&dark, 0.05),
        share(&least, 0.01),
        mean(&color.collect::<Vec<_>>()),
        f64::from(light.deviation()),
        f64::from(local.mean()),
        share(&light, 0.99),
    ]
}
