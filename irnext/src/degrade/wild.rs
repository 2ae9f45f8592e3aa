//! Pictures as people take them, for all tasks: more kinds of haze, rain and blur than the
//! benchmarks have, on the degraded side a camera's noise and a file's losses, and pictures that
//! are to be left as they are.

use engine::Rng;

use super::{camera, defocus, haze, motion, rain, snow, task::Task};
use crate::image::Image;

/// How many pictures are left as they are, and how many are of one color.
const CLEAR: f64 = 0.06;
const FLAT: f64 = 0.03;
/// How many blurred pictures have lights that are brighter than white.
const LIT: f64 = 0.4;

/// (degraded, clean): what `photograph` gives to learn from.
pub(super) fn pair(task: Task, photograph: &Image, rng: &mut Rng) -> (Image, Image) {
    let (degraded, clean) = scene(task, photograph, rng);
    (camera::photographed(degraded.clamp(), rng), clean)
}

/// The pair before a camera sees its degraded side.
fn scene(task: Task, photograph: &Image, rng: &mut Rng) -> (Image, Image) {
    let place = rng.uniform();
    if place < CLEAR {
        return (photograph.clone(), photograph.clone());
    }
    if place < CLEAR + FLAT {
        let flat = flat(photograph.width, photograph.height, rng);
        return (flat.clone(), flat);
    }
    match task {
        Task::Dehaze => haze::pair(photograph, rng),
        Task::Derain => rain::pair(photograph, rng),
        Task::Desnow => (snow::snow(photograph, rng), photograph.clone()),
        Task::Deblur => (motion::motion(&lit(photograph, rng), rng), photograph.clone()),
        Task::Defocus => {
            (defocus::through_any_lens(&lit(photograph, rng), rng), photograph.clone())
        }
    }
}

/// `photograph`, in some cases with its lights as bright as they were: a file holds no more than
/// white of a lamp or of the sun on water, but what blur spreads is all of its light.
fn lit(photograph: &Image, rng: &mut Rng) -> Image {
    let mut image = photograph.clone();
    if !rng.chance(LIT) {
        return image;
    }
    let brightest = rng.range(1.0..3.0) as f32;
    for pixel in image.data.chunks_exact_mut(3) {
        let white = (pixel.iter().copied().fold(0.0, f32::max) - 0.9).max(0.0) / 0.1;
        pixel.iter_mut().for_each(|value| *value *= 1.0 + (brightest - 1.0) * white * white);
    }
    image
}

/// White, gray or of a color, in half of the cases changing a little from one side to the other.
fn flat(width: usize, height: usize, rng: &mut Rng) -> Image {
    let color = match rng.below(4) {
        0 => [rng.range(0.9..1.1).min(1.0); 3],
        1 | 2 => [rng.uniform(); 3],
        _ => [rng.uniform(), rng.uniform(), rng.uniform()],
    };
    let steps = [0, 1].map(|_| rng.range(-0.15..0.15));
    let [across, down] = if rng.chance(0.5) { steps } else { [0.0; 2] };
    Image::from_fn(width, height, |x, y| {
        let step =
            across * (x as f64 / width as f64 - 0.5) + down * (y as f64 / height as f64 - 0.5);
        color.map(|v| (v + step).clamp(0.0, 1.0) as f32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::degrade::statistics::photographs;

    #[test]
    fn one_picture_in_eleven_is_not_degraded() {
        let photograph = photographs()[0].resampled(48, 32);
        for task in Task::ALL {
            let (mut clear, mut flat) = (0, 0);
            for index in 0..1000 {
                let (degraded, clean) = scene(task, &photograph, &mut Rng::at(2, 0, index));
                if degraded == clean {
                    *(if clean == photograph { &mut clear } else { &mut flat }) += 1;
                }
            }
            assert!((40..80).contains(&clear) && (15..48).contains(&flat), "{clear} {flat}");
        }
    }

    #[test]
    fn lights_are_brighter_than_white_before_they_are_spread() {
        let lamp = |x: usize, y: usize| x.abs_diff(24) < 2 && y.abs_diff(16) < 2;
        let night = Image::from_fn(48, 32, |x, y| [if lamp(x, y) { 1.0 } else { 0.1 }; 3]);
        let mut bright = 0;
        for index in 0..200 {
            let image = lit(&night, &mut Rng::at(2, 0, index));
            assert_eq!((image.at(0, 0), image.at(40, 20)), ([0.1; 3], [0.1; 3]));
            assert!((1.0..=3.0).contains(&image.at(24, 16)[0]));
            bright += usize::from(image != night);
        }
        assert!((55..105).contains(&bright), "{bright}");
    }

    #[test]
    fn what_a_camera_adds_stays_out_of_the_clean_picture() {
        let photograph = photographs()[0].resampled(48, 32);
        let mut changed = 0;
        for index in 0..100 {
            let (input, clean) = pair(Task::Derain, &photograph, &mut Rng::at(7, 1, index));
            let (without, same) = scene(Task::Derain, &photograph, &mut Rng::at(7, 1, index));
            assert!(same == clean);
            changed += usize::from(input != without.clamp());
        }
        assert!((40..85).contains(&changed), "{changed}");
    }
}
