//! Motion blur: B = g(mean of g^-1(S_i)), a run of sharp pictures averaged while the shutter is
//! open (Nah et al., "Deep multi-scale CNN for dynamic scene deblurring", 2017). Here the pictures
//! are one photograph, moved and turned along a random path; the sharp one is that of the middle of
//! the exposure.
//!
//! A camera averages light: g^-1 is x^2.2. The GoPro pictures that are commonly scored, `blur`, are
//! averages of sRGB values: g is the identity. Each is used for half of the pictures.

use std::ops::Range;

use engine::Rng;

use super::layer::{LIGHT, Overlay, Pose, VALUES};
use crate::image::{Image, Plane};

/// `clean` taken by an unsteady hand; in some pictures an object also moves by itself.
pub(super) fn motion(clean: &Image, rng: &mut Rng) -> Image {
    let still = still(clean, rng);
    // Pixels from one end of the path to the other.
    let length = |rng: &mut Rng, power: f64| 1.0 + 39.0 * rng.uniform().powf(power);
    let mut picture;
    if rng.chance(0.5) {
        let camera = length(rng, 2.0);
        picture = still.expose(&path(camera, rng));
        let shape = shape(clean, rng);
        let subject = length(rng, 1.2);
        picture.cover_with(&still.cut(&shape).expose(&path(subject, rng)));
    } else {
        let camera = length(rng, 1.4);
        picture = still.expose(&path(camera, rng));
    }
    let mut image = picture.image();
    if rng.chance(0.3) {
        let sigma = rng.range(0.0..0.01);
        for value in &mut image.data {
            *value += (sigma * rng.normal()) as f32;
        }
    }
    image
}

/// `clean` taken by a camera that moves evenly along a straight line, by a number of pixels in
/// `lengths`.
pub(super) fn linear(clean: &Image, lengths: Range<f64>, rng: &mut Rng) -> Image {
    let still = still(clean, rng);
    let length = rng.range(lengths);
    let (sin, cos) = rng.range(0.0..std::f64::consts::TAU).sin_cos();
    let count = samples(length);
    let poses = (0..count).map(|i| {
        let along = length * ((i as f64 + 0.5) / count as f64 - 0.5);
        Pose { x: (along * cos) as f32, y: (along * sin) as f32, angle: 0.0 }
    });
    still.expose(&poses.collect::<Vec<_>>()).image()
}

/// The quantity that the camera averages: light or values.
fn still(clean: &Image, rng: &mut Rng) -> Overlay {
    Overlay::of(clean, if rng.chance(0.5) { LIGHT } else { VALUES })
}

/// The number of pictures, odd, for a path of `length` pixels. At steps below two pixels the
/// samples, each two pixels wide, leave no gaps.
fn samples(length: f64) -> usize {
    ((length / 1.6).ceil() as usize).max(5) | 1
}

/// Where the camera is while the shutter is open, the place in the middle of the exposure being the
/// origin: about `length` pixels from one end to the other.
fn path(length: f64, rng: &mut Rng) -> Vec<Pose> {
    let count = samples(length);
    // A hand has inertia: the direction drifts a little, and now and then it jerks.
    let drift = rng.range(0.0..0.12);
    let jerk = if rng.chance(0.2) { 1.5 / count as f64 } else { 0.0 };
    let turn = rng.normal() * 0.01;
    let mut direction = rng.range(0.0..std::f64::consts::TAU);
    let (mut x, mut y, mut angle) = (0.0, 0.0, 0.0);
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        places.push([x, y, angle]);
        let step = length / count as f64 * rng.range(0.7..1.3);
        direction += drift * rng.normal();
        if rng.chance(jerk) {
            direction += rng.range(1.0..4.0);
        }
        x += step * direction.cos();
        y += step * direction.sin();
        angle += turn / count as f64 * rng.range(0.0..2.0);
    }
    let middle = places[count / 2];
    let relative = places.iter().map(|place| Pose {
        x: (place[0] - middle[0]) as f32,
        y: (place[1] - middle[1]) as f32,
        angle: (place[2] - middle[2]) as f32,
    });
    relative.collect()
}

/// The coverage of an object in the picture: a blob whose outline follows edges of the photograph
/// where possible.
fn shape(clean: &Image, rng: &mut Rng) -> Plane {
    let (width, height) = (clean.width, clean.height);
    let cells = rng.int(2..5) as usize;
    let level = rng.range(0.35..0.7) as f32;
    Plane::noise(width, height, cells, rng)
        .map(|n| if n > level { 1.0 } else { 0.0 })
        .guided(&Plane::gray(clean), width.max(height).div_ceil(32), 1e-3)
        .map(|c| ((c - 0.5) * 4.0 + 0.5).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_passes_the_origin_in_the_middle_and_stays_within_its_length() {
        for index in 0..200 {
            let path = path(40.0, &mut Rng::at(3, 0, index));
            let middle = path[path.len() / 2];
            assert_eq!([middle.x, middle.y, middle.angle], [0.0; 3]);
            assert!(path.iter().all(|pose| pose.x.hypot(pose.y) < 40.0 * 0.5 * 1.3 + 1.0));
        }
    }

    #[test]
    fn linear_motion_spreads_a_point_along_one_line() {
        let clean = Image::from_fn(41, 41, |x, y| [if (x, y) == (20, 20) { 1.0 } else { 0.0 }; 3]);
        for index in 0..100 {
            let image = linear(&clean, 6.0..16.0, &mut Rng::at(3, 0, index));
            let bright: Vec<[f32; 2]> = (0..41 * 41)
                .filter(|i| image.data[3 * i] > 0.02)
                .map(|i| [(i % 41) as f32 - 20.0, (i / 41) as f32 - 20.0])
                .collect();
            let far = bright.iter().map(|[x, y]| x.hypot(*y)).fold(0.0, f32::max);
            let [x, y] = *bright.iter().find(|[x, y]| x.hypot(*y) == far).unwrap();
            assert!((2.0..9.5).contains(&far), "{far}");
            for point in &bright {
                let off = (point[0] * y - point[1] * x).abs() / far;
                assert!(off < 2.5, "{point:?} is {off} off the line through {x}, {y}");
            }
        }
    }

    #[test]
    fn light_is_averaged_or_values_are() {
        // Across the edge between black and white the mean light 1/2 shows as 2^(-1/2.2), the mean
        // value as 1/2.
        let clean = Image::from_fn(40, 5, |x, _| [if x < 20 { 0.0 } else { 1.0 }; 3]);
        let poses = [-10.0, 10.0].map(|x| Pose { x, y: 0.0, angle: 0.0 });
        for (gamma, expected) in [(LIGHT, 0.5f32.powf(1.0 / 2.2)), (VALUES, 0.5)] {
            let value = Overlay::of(&clean, gamma).expose(&poses).image().at(20, 2)[0];
            assert!((value - expected).abs() < 1e-4, "{value}");
        }
    }
}
