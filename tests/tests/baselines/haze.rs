//! The dark channel prior (He, Sun, Tang: "Single image haze removal using dark channel prior",
//! CVPR 2009), its transmission refined by their guided filter. Parameters as published.

use crate::plane::Plane;
use irnext::image::Image;

/// Half the side of the patches: 15 pixels.
const PATCH: usize = 7;
/// The share of haze that is removed.
const OMEGA: f32 = 0.95;
/// The least transmission.
const LEAST: f32 = 0.1;
/// The share of pixels that the airlight is looked for in.
const HAZIEST: f64 = 0.001;

/// `image` without its haze; `radius` and `epsilon` are the guided filter's.
pub fn dark_channel(image: &Image, [radius, epsilon]: [f32; 2]) -> Image {
    let air = airlight(image);
    let dark = Plane::of(image, |p| (0..3).map(|c| p[c] / air[c]).fold(f32::INFINITY, f32::min))
        .erode(PATCH);
    let rough = Plane { data: dark.data.iter().map(|d| 1.0 - OMEGA * d).collect(), ..dark };
    let guide = Plane::of(image, |p| (p[0] + p[1] + p[2]) / 3.0);
    let transmission = rough.guided(&guide, radius as usize, epsilon);
    let mut clear = image.clone();
    for (pixel, t) in clear.data_mut().chunks_exact_mut(3).zip(&transmission.data) {
        for (value, a) in pixel.iter_mut().zip(air) {
            *value = (*value - a) / t.clamp(LEAST, 1.0) + a;
        }
    }
    clear.clamp()
}

/// The mean color of the pixels whose dark channel is brightest.
fn airlight(image: &Image) -> [f32; 3] {
    let dark = Plane::of(image, |[r, g, b]| r.min(g).min(b)).erode(PATCH);
    let mut places: Vec<usize> = (0..dark.data.len()).collect();
    places.sort_by(|&a, &b| dark.data[b].total_cmp(&dark.data[a]));
    places.truncate(((places.len() as f64 * HAZIEST) as usize).max(1));
    let mean = |c: usize| {
        places.iter().map(|&i| image.data()[3 * i + c]).sum::<f32>() / places.len() as f32
    };
    [0, 1, 2].map(|c| mean(c).max(0.05))
}

#[test]
fn a_known_haze_is_taken_off() {
    // Black and colored checks below, a strip of nothing but haze on top, and one transmission
    // below it.
    let (t, air) = (0.5, [0.9, 0.92, 0.95]);
    let clean = Image::build(96, 96, |x, y| match ((x / 4 + y / 4) % 2, y < 24) {
        (_, true) => air,
        (0, _) => [0.02, 0.3, 0.6],
        _ => [0.7, 0.4, 0.0],
    })
    .unwrap();
    let hazy = Image::build(96, 96, |x, y| {
        [0, 1, 2].map(|c| clean.pixel(x, y).unwrap()[c] * t + air[c] * (1.0 - t))
    })
    .unwrap();
    let found = dark_channel(&hazy, [10.0, 1e-3]);
    let error = |image: &Image| {
        let below = 96 * 50 * 3;
        let sum: f32 = image.data()[below..]
            .iter()
            .zip(&clean.data()[below..])
            .map(|(a, b)| (a - b).abs())
            .sum();
        sum / (image.data().len() - below) as f32
    };
    assert!(error(&hazy) > 0.2 && error(&found) < 0.05, "{} {}", error(&hazy), error(&found));
    assert!(airlight(&hazy).iter().zip(air).all(|(found, a)| (found - a).abs() < 0.01));
}
