//! Statistics of the degradations, compared with the real data sets that they imitate.
//!
//! `cargo test -p irnext --lib degrade -- --nocapture` prints the figures; the book's page on
//! degradations shows them. Real degradations were measured on pairs that the project may not
//! redistribute; `IRNEXT_RAIN100L` names a folder of 24 of them.

use std::path::{Path, PathBuf};

use engine::Rng;

use super::rain::rain;
use super::{Task, degrade};
use crate::data::image_files;
use crate::image::{Image, Photo, Plane};
use crate::metrics::{View, psnr};

/// The CC0 photographs of the figure.
pub(super) fn photographs() -> Vec<Image> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
    let files = image_files(&folder).unwrap();
    assert!(!files.is_empty());
    files.iter().map(|file| Photo::read(file).unwrap().image()).collect()
}

#[test]
fn each_task_harms_about_as_much_as_its_real_set() {
    let photographs = photographs();
    for task in Task::ALL {
        // dB. The degraded images of SOTS-outdoor score 15.9, those of Rain100L 26.9 on Y, five of
        // GoPro's 24.2.
        let (view, band) = match task {
            Task::Dehaze => (View::Rgb, 14.0..18.0),
            Task::Derain => (View::Luma, 25.0..29.0),
            Task::Desnow => (View::Rgb, 18.0..23.0),
            Task::Deblur => (View::Rgb, 22.0..27.0),
            Task::Defocus => (View::Rgb, 24.0..29.0),
        };
        let score = |place: usize| {
            let clean = &photographs[place % photographs.len()];
            psnr(&degrade(task, clean, &mut Rng::at(5, 0, place as u64)), clean, view).unwrap()
        };
        let scores: Vec<f64> = (0..36).map(score).collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let spread =
            (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len() as f64).sqrt();
        println!("{task}: {mean:.2} dB, standard deviation {spread:.2}");
        assert!(band.contains(&mean) && (1.0..8.0).contains(&spread), "{task}: {mean} {spread}");
    }
}

/// The light that rain adds to a gray wall; none where a downpour adds a veil as well, which
/// Rain100L has not.
fn streaks(index: u64) -> Option<Plane> {
    let wall = Image::from_fn(320, 240, |_, _| [0.2; 3]);
    let light = Plane::gray(&rain(&wall, &mut Rng::at(6, 0, index))).map(|v| v - 0.2);
    light.data.iter().any(|&v| v < 1e-3).then_some(light)
}

/// The light that rain added to the targets of Rain100L.
fn real_streaks(folder: &Path) -> Vec<Plane> {
    let gray = |file: &Path| Plane::gray(&Photo::read(file).unwrap().image());
    let pair = |input: &PathBuf| {
        let target = folder.join("target").join(input.file_name().unwrap());
        gray(input).zip(&gray(&target), |rain, clean| rain - clean)
    };
    image_files(&folder.join("input")).unwrap().iter().map(pair).collect()
}

/// Each measure, its value on Rain100L, and the tolerance for the generated rain.
const STREAKS: [(&str, f64, f64); 8] = [
    ("share of pixels that gain 0.04 or more", 0.147, 0.04),
    ("their median gain", 0.094, 0.015),
    ("nine tenths gain less than", 0.227, 0.04),
    ("99 in 100 gain less than", 0.383, 0.07),
    ("degrees off the vertical", 15.05, 3.0),
    ("likeness along a streak, 4 pixels on", 0.784, 0.08),
    ("16 pixels on", 0.372, 0.1),
    ("32 pixels on", 0.156, 0.06),
];

fn measure(light: &Plane) -> [f64; STREAKS.len()] {
    let slope = slope(light);
    let mut lit: Vec<f32> = light.data.iter().copied().filter(|&v| v > 0.04).collect();
    lit.sort_by(f32::total_cmp);
    let share = |part: f64| f64::from(lit[((lit.len() - 1) as f64 * part) as usize]);
    let steps = [4.0, 16.0, 32.0].map(|length: f64| (length * slope.atan().cos()).round() as usize);
    let [near, middle, far] = steps.map(|down| correlation(light, slope, down));
    let cover = lit.len() as f64 / light.data.len() as f64;
    [cover, share(0.5), share(0.9), share(0.99), slope.atan().to_degrees().abs(), near, middle, far]
}

/// The tangent of the angle between the vertical and the direction of least variation.
fn slope(light: &Plane) -> f64 {
    let [mut xx, mut xy, mut yy] = [0.0; 3];
    let width = light.width;
    for y in 1..light.height - 1 {
        for x in 1..width - 1 {
            let at = y * width + x;
            let dx = f64::from(light.data[at + 1] - light.data[at - 1]);
            let dy = f64::from(light.data[at + width] - light.data[at - width]);
            (xx, xy, yy) = (xx + dx * dx, xy + dx * dy, yy + dy * dy);
        }
    }
    -(0.5 * (2.0 * xy).atan2(xx - yy)).tan()
}

/// How much the light `down` rows below, along `slope`, is like the light here: 1, the same, 0,
/// unrelated.
fn correlation(light: &Plane, slope: f64, down: usize) -> f64 {
    let mean = f64::from(light.mean());
    let value = |x: usize, y: usize| f64::from(light.data[y * light.width + x]) - mean;
    let (mut sum, mut count) = (0.0, 0.0);
    for y in 0..light.height - down {
        for x in 0..light.width {
            let there = x as f64 + slope * down as f64;
            if (0.0..(light.width - 1) as f64).contains(&there) {
                let (left, part) = (there as usize, there.fract());
                let below = value(left, y + down) * (1.0 - part) + value(left + 1, y + down) * part;
                sum += value(x, y) * below;
                count += 1.0;
            }
        }
    }
    sum / count / f64::from(light.deviation()).powi(2)
}

/// The mean of each figure over all pictures.
fn means(pictures: &[Plane]) -> [f64; STREAKS.len()] {
    let mut means = [0.0; STREAKS.len()];
    for found in pictures.iter().map(measure) {
        means
            .iter_mut()
            .zip(found)
            .for_each(|(mean, value)| *mean += value / pictures.len() as f64);
    }
    means
}

#[test]
fn streaks_are_as_long_as_bright_and_as_steep_as_in_rain100l() {
    let drawn: Vec<Plane> = (0..40).filter_map(streaks).collect();
    assert!(drawn.len() > 30);
    for (found, (name, real, tolerance)) in means(&drawn).into_iter().zip(STREAKS) {
        println!("rain, {name}: {found:.3}; Rain100L {real}");
        assert!((found - real).abs() < tolerance, "{name}: {found}, not {real}");
    }
}

/// `IRNEXT_RAIN100L` names a folder with `input` and `target`.
#[test]
fn rain100l_is_what_the_figures_say() {
    let Some(folder) = std::env::var_os("IRNEXT_RAIN100L") else {
        println!("skipped: IRNEXT_RAIN100L names no folder with the pairs");
        return;
    };
    for (found, (name, real, _)) in
        means(&real_streaks(Path::new(&folder))).into_iter().zip(STREAKS)
    {
        println!("Rain100L, {name}: {found:.3}");
        assert!((found - real).abs() < 0.02 * real, "{name}: {found}, not {real}");
    }
}
