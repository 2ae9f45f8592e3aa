//! Synthetic degradations: haze, rain, snow, motion blur and defocus for clean photographs.
//!
//! Each of the five modules below models one degradation, with the ranges that its task's data sets
//! show. All draws depend on the state of the generator alone, so a training run can be repeated or
//! resumed.

mod benchmark;
mod camera;
mod defocus;
mod haze;
mod layer;
mod motion;
mod rain;
mod snow;
#[cfg(test)]
mod statistics;
mod stroke;
mod task;
mod wild;

pub use task::Task;

use std::ops::Range;

use engine::Rng;
use serde::{Deserialize, Serialize};

use crate::image::Image;

/// Which pictures synthetic pairs show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// As those of the benchmarks: RESIDE's outdoor sets, Rain100L, Snow100K, GoPro. What
    /// [`degrade`] draws.
    Benchmark,
    /// As people take them. Haze has depth, rain may be heavy and have a veil, lights beyond white
    /// are blurred. Some pictures have a camera's noise and a JPEG file's losses. One in eleven is
    /// left as it is: a photograph, or a flat field.
    Wild,
}

impl Look {
    /// All looks.
    pub const ALL: [Self; 2] = [Self::Benchmark, Self::Wild];

    /// The name in commands and files: `benchmark`, `wild`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Benchmark => "benchmark",
            Self::Wild => "wild",
        }
    }
}

/// A degraded version of `clean`, of the same size, in [0, 1]. Pixels stay registered: `clean` is
/// its ground truth.
///
/// ```
/// use engine::Rng;
/// use irnext::degrade::{Task, degrade};
/// use irnext::image::Image;
///
/// let clean = Image::build(64, 48, |x, y| [x as f32 / 64.0, y as f32 / 48.0, 0.3])?;
/// let rainy = degrade(Task::Derain, &clean, &mut Rng::new(1));
/// assert!(rainy != clean && (rainy.width(), rainy.height()) == (64, 48));
/// # Ok::<(), irnext::Error>(())
/// ```
pub fn degrade(task: Task, clean: &Image, rng: &mut Rng) -> Image {
    twin(clean, |clean| benchmark::degrade(task, clean, rng))
}

/// Like [`degrade`], but with the simplest form of [`Task::Deblur`], as an easy beginning: only the
/// camera moves, evenly and straight, by a number of pixels in `lengths`.
pub fn blur_linear_motion(clean: &Image, lengths: Range<f64>, rng: &mut Rng) -> Image {
    twin(clean, |clean| motion::linear(clean, lengths, rng))
}

/// A pair (degraded, clean), both of the size of `photograph` and in [0, 1]. The clean one is the
/// photograph, but for [`Look::Wild`], which has flat fields too, and may change a sky or make it
/// night.
pub fn pair(task: Task, photograph: &Image, look: Look, rng: &mut Rng) -> (Image, Image) {
    if look == Look::Benchmark || photograph.data.is_empty() {
        return (degrade(task, photograph, rng), photograph.clone());
    }
    wild::pair(task, photograph, rng)
}

/// Degrades `clean`, with values in [0, 1]; an empty image stays empty.
fn twin(clean: &Image, degrade: impl FnOnce(&Image) -> Image) -> Image {
    if clean.data.is_empty() { clean.clone() } else { degrade(clean).clamp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something like a photograph: a sky, a ground with texture, some edges.
    fn scene(width: usize, height: usize) -> Image {
        let mut rng = Rng::new(11);
        Image::from_fn(width, height, |x, y| {
            let noise = 0.1 * rng.uniform() as f32;
            if 2 * y < height {
                [0.5 + noise, 0.6, 0.8]
            } else {
                let edge = if (x / 8 + y / 8) % 2 == 0 { 0.25 } else { 0.0 };
                [0.2 + noise + edge, 0.3 + noise, 0.15 + edge]
            }
        })
    }

    #[test]
    fn a_place_gives_the_same_image_and_another_place_another() {
        let clean = scene(96, 64);
        for task in Task::ALL {
            let draw = |index| degrade(task, &clean, &mut Rng::at(1, 2, index));
            assert_eq!(draw(3), draw(3), "{task}");
            assert_ne!(draw(3), draw(4), "{task}");
        }
    }

    #[test]
    fn the_result_has_the_size_of_the_input_and_its_range() {
        for (width, height) in [(1, 1), (1, 40), (40, 1), (3, 2), (65, 33), (0, 0)] {
            let clean = scene(width, height);
            for task in Task::ALL {
                for index in 0..20 {
                    let image = degrade(task, &clean, &mut Rng::at(7, 0, index));
                    assert_eq!((image.width, image.height), (width, height), "{task}");
                    assert_eq!(image.data.len(), clean.data.len(), "{task}");
                    assert!(image.data.iter().all(|v| (0.0..=1.0).contains(v)), "{task}");
                }
            }
        }
    }

    #[test]
    fn a_pair_depends_on_its_place_alone_and_has_the_photographs_size() {
        for (width, height) in [(1, 1), (1, 40), (40, 1), (3, 2), (65, 33), (0, 0)] {
            let clean = scene(width, height);
            for (task, index) in Task::ALL.into_iter().flat_map(|t| (0..30).map(move |i| (t, i))) {
                let draw = |look, index| pair(task, &clean, look, &mut Rng::at(7, 0, index));
                let wild = draw(Look::Wild, index);
                assert!(wild == draw(Look::Wild, index), "{task}");
                for image in [&wild.0, &wild.1] {
                    assert_eq!((image.width, image.height), (width, height), "{task}");
                    assert_eq!(image.data.len(), clean.data.len());
                    assert!(image.data.iter().all(|v| (0.0..=1.0).contains(v)), "{task}");
                }
                let plain = degrade(task, &clean, &mut Rng::at(7, 0, index));
                assert!(draw(Look::Benchmark, index) == (plain, clean.clone()), "{task}");
            }
        }
        let clean = scene(96, 64);
        let input = |index| pair(Task::Derain, &clean, Look::Wild, &mut Rng::at(7, 0, index)).0;
        assert_ne!(input(1), input(2));
    }

    #[test]
    fn every_task_does_visible_harm() {
        let clean = scene(96, 96);
        for task in Task::ALL {
            let mut sum = 0.0;
            for index in 0..10 {
                let image = degrade(task, &clean, &mut Rng::at(7, 0, index));
                let pairs = image.data.iter().zip(&clean.data);
                sum += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            }
            let rms = (sum / (10 * clean.data.len()) as f64).sqrt();
            assert!((0.01..0.4).contains(&rms), "{task}: {rms}");
        }
    }
}
