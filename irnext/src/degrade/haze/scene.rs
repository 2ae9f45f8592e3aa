//! A plausible depth for each pixel of a photograph.

use engine::Rng;

use super::segments::Segments;
use super::sky::sky;
use crate::image::{Image, Plane};

/// The longer side of the picture that segments and sky are found in.
const SKETCH: usize = 64;

/// A photograph's depth, as it could be.
pub(super) struct Scene {
    /// From 0, the nearest thing, to 1, the farthest; the sky is far as well.
    pub depth: Plane,
    /// How much of each pixel is sky.
    pub sky: Plane,
}

impl Scene {
    /// Draws a plausible depth of `clean`. Mostly the ground recedes towards a horizon, which is
    /// where the sky ends, if there is any, or anywhere; or there is a slope, or things at any
    /// distance. Parts of the picture that look like one thing each stand upright on it, as far
    /// away as the ground at their foot, or lie on it, each a little nearer or farther than that.
    /// Outlines follow those of the photograph.
    pub fn draw(clean: &Image, rng: &mut Rng) -> Self {
        let (width, height) = (clean.width, clean.height);
        let longer = width.max(height);
        let side = |side: usize| (side * SKETCH.min(longer)).div_ceil(longer);
        let sketch = clean.resampled(side(width), side(height));
        let sky = sky(&sketch).unwrap_or_else(|| Plane::new(sketch.width, sketch.height));
        let depth = depth(&sketch, &sky, rng);

        let gray = Plane::gray(clean);
        let radius = longer.div_ceil(24);
        let epsilon = 10f64.powf(rng.range(-4.0..-2.7)) as f32;
        let refined = |plane: &Plane| plane.enlarged(width, height).guided(&gray, radius, epsilon);
        let sky = refined(&sky).map(|share| (1.4 * share - 0.2).clamp(0.0, 1.0));
        Self { depth: stretched(refined(&depth), &sky), sky }
    }
}

/// Shifted and scaled so that, without the sky, the nearest twentieth is at 0 and the farthest
/// tenth at 1. Of a depth with hardly any differences, 1 everywhere.
fn stretched(depth: Plane, sky: &Plane) -> Plane {
    const BINS: usize = 256;
    let mut counts = [0usize; BINS];
    for (d, _) in depth.data.iter().zip(&sky.data).filter(|(_, sky)| **sky < 0.5) {
        counts[((d * BINS as f32) as usize).min(BINS - 1)] += 1;
    }
    let solid: usize = counts.iter().sum();
    let below = |percent: usize| {
        let mut sum = 0;
        let reached = counts.iter().position(|count| {
            sum += count;
            100 * sum >= percent * solid
        });
        reached.unwrap_or(0) as f32 / BINS as f32
    };
    let (near, far) = (below(5), below(90));
    if far - near < 0.02 {
        return depth.map(|_| 1.0);
    }
    depth.map(|d| ((d - near) / (far - near)).clamp(0.0, 1.0))
}

/// The depth of the sketch.
fn depth(sketch: &Image, sky: &Plane, rng: &mut Rng) -> Plane {
    let (width, height) = (sketch.width, sketch.height);
    let ground = Ground::draw(sky, rng);
    let segments = Segments::new(sketch, 10f64.powf(rng.range(-0.5..0.5)) as f32, 6);
    let feet = feet(&segments, width, height);
    let standing = rng.range(0.3..1.0);
    let scatter = rng.range(0.0..0.4);
    let things: Vec<(Option<f32>, f32)> = feet
        .iter()
        .map(|&Foot { x, y, width: across }| {
            // A segment that wide is ground itself.
            let stands = rng.chance(standing) && (2 * across <= width || ground.is_room);
            let away = if ground.is_room { rng.range(0.0..2.0) } else { 1.0 };
            // A segment whose foot is above the horizon is behind something nearer.
            let behind = rng.range(0.5..1.0) as f32;
            let foot = if ground.reaches(y) { ground.at(x, y) } else { behind };
            let factor = away * (scatter * rng.normal()).exp();
            (stands.then_some(foot), factor as f32)
        })
        .collect();
    let bumps = rng.range(0.0..0.25) as f32;
    let noise = Plane::noise(width, height, rng.int(2..7) as usize, rng);
    let mut depth = Plane::new(width, height);
    for (at, value) in depth.data.iter_mut().enumerate() {
        let (foot, factor) = things[segments.of[at]];
        let here = ground.at(at % width, at / width);
        // Upright things lean back a little, as crowns and roofs do.
        let distance = foot.map_or(here, |foot| 0.85 * foot + 0.15 * here);
        let distance = factor * distance + bumps * (noise.data[at] - 0.5);
        *value = distance.clamp(0.0, 1.0).max(sky.data[at]);
    }
    depth
}

/// Where a segment meets the ground: its last row.
#[derive(Clone, Default)]
struct Foot {
    /// The middle of the segment's pixels there.
    x: usize,
    y: usize,
    /// How many pixels it has there.
    width: usize,
}

fn feet(segments: &Segments, width: usize, height: usize) -> Vec<Foot> {
    // `x` is the sum of the columns at first.
    let mut feet = vec![Foot::default(); segments.count];
    for y in 0..height {
        for x in 0..width {
            let foot = &mut feet[segments.of[y * width + x]];
            if foot.y != y {
                *foot = Foot { y, ..Foot::default() };
            }
            (foot.x, foot.width) = (foot.x + x, foot.width + 1);
        }
    }
    feet.iter_mut().for_each(|foot| foot.x /= foot.width.max(1));
    feet
}

/// The ground.
struct Ground {
    depth: Plane,
    /// The row above which there is no ground.
    horizon: f32,
    /// Whether it says nothing of where things are.
    is_room: bool,
}

impl Ground {
    fn draw(sky: &Plane, rng: &mut Rng) -> Self {
        let (width, height) = (sky.width, sky.height);
        let kind = rng.uniform();
        let horizon = match lowest_sky(sky) {
            // Houses, trees and hills hide the horizon itself.
            Some(row) => row + (1.0 - row) * rng.range(0.0..0.5) as f32,
            None => rng.range(-0.6..0.6) as f32,
        }
        .min(0.9);
        let last = |side: usize| (side - 1).max(1) as f32;
        let of_places = |f: &dyn Fn(f32, f32) -> f32| {
            let mut plane = Plane::new(width, height);
            for (at, value) in plane.data.iter_mut().enumerate() {
                *value = f((at % width) as f32 / last(width), (at / width) as f32 / last(height));
            }
            plane
        };
        if kind < 0.15 {
            return Self { depth: of_places(&|_, _| 0.5), horizon: -1.0, is_room: true };
        }
        if kind < 0.3 {
            // A slope, a wall seen from the side: farther towards the top, more or less.
            let (sin, cos) = (rng.range(-1.3..1.3) as f32).sin_cos();
            let slope =
                |x: f32, y: f32| 0.5 + 0.35 * (sin * (2.0 * x - 1.0) + cos * (1.0 - 2.0 * y));
            return Self { depth: of_places(&slope), horizon: -1.0, is_room: false };
        }
        let tilt = (0.04 * rng.normal()) as f32;
        let below =
            |x: f32, y: f32| ((y - horizon + tilt * (x - 0.5)) / (1.0 - horizon)).clamp(0.0, 1.0);
        let depth = if rng.chance(0.6) {
            // Level ground: distance is the inverse of how far below the horizon it is seen.
            let near = rng.range(1.5..9.0) as f32;
            of_places(&|x, y| (1.0 / (1.0 + near * below(x, y)) * (1.0 + near) - 1.0) / near)
        } else {
            let power = rng.range(0.5..2.0) as f32;
            of_places(&|x, y| (1.0 - below(x, y)).powf(power))
        };
        Self { depth, horizon: horizon * last(height), is_room: false }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        self.depth.data[y * self.depth.width + x]
    }

    /// Whether there is ground in row `y`.
    fn reaches(&self, y: usize) -> bool {
        y as f32 > self.horizon
    }
}

/// How far down the sky reaches, from 0 to 1, in the middle one of the columns that have any.
fn lowest_sky(sky: &Plane) -> Option<f32> {
    let lowest = |x: usize| (0..sky.height).rev().find(|y| sky.data[y * sky.width + x] > 0.0);
    let mut rows: Vec<usize> = (0..sky.width).filter_map(lowest).collect();
    rows.sort_unstable();
    rows.get(rows.len() / 2).map(|&row| (row + 1) as f32 / sky.height as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sky, a ground that is lighter far away, and a house on it.
    fn street() -> Image {
        Image::from_fn(96, 72, |x, y| match (x, y) {
            (30..50, 20..56) => [0.5, 0.2, 0.15],
            (_, 0..30) => [0.55, 0.65, 0.85],
            _ => [0.2, 0.3 - y as f32 / 720.0, 0.15],
        })
    }

    fn scenes() -> Vec<Scene> {
        (0..200).map(|index| Scene::draw(&street(), &mut Rng::at(9, 0, index))).collect()
    }

    fn mean(plane: &Plane, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> f32 {
        let row = |y: usize| &plane.data[y * plane.width..][columns.clone()];
        let count = columns.len() * rows.len();
        rows.flat_map(row).sum::<f32>() / count as f32
    }

    #[test]
    fn the_sky_is_far_and_the_ground_recedes() {
        let scenes = scenes();
        let receding = scenes
            .iter()
            .filter(|scene| mean(&scene.depth, 60..90, 33..37) > mean(&scene.depth, 60..90, 66..71))
            .count();
        assert!(receding > 150, "{receding}");
        for scene in &scenes {
            assert!(mean(&scene.sky, 0..96, 0..16) > 0.9 && mean(&scene.sky, 0..96, 40..72) < 0.1);
            assert!(mean(&scene.depth, 0..96, 0..16) > 0.9);
            assert!(scene.depth.data.iter().all(|d| (0.0..=1.0).contains(d)));
        }
    }

    #[test]
    fn a_house_stands_where_its_foot_is() {
        let (mut flat, mut nearer) = (0, 0);
        for scene in scenes() {
            let [top, bottom] = [24..28, 46..50].map(|rows| mean(&scene.depth, 34..46, rows));
            let beside = mean(&scene.depth, 60..90, 33..37);
            flat += usize::from((top - bottom).abs() < 0.25);
            nearer += usize::from(top < beside);
        }
        println!("of 200 houses {flat} upright, {nearer} nearer than the horizon beside them");
        // The top of the house is above the horizon; by its row alone it would be as far as can be.
        assert!(flat > 120 && nearer > 110, "{flat} {nearer}");
    }

    #[test]
    fn any_size_has_a_scene() {
        for (width, height) in [(1, 1), (1, 40), (40, 1), (3, 2), (65, 33), (200, 130)] {
            let image = street().resampled(width, height);
            for index in 0..20 {
                let scene = Scene::draw(&image, &mut Rng::at(1, 0, index));
                for plane in [&scene.depth, &scene.sky] {
                    assert_eq!((plane.width, plane.height), (width, height));
                    assert!(plane.data.iter().all(|v| (0.0..=1.0).contains(v)));
                }
            }
        }
    }
}
