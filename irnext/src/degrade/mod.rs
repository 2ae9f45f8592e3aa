//! Synthetic degradations: haze, rain, snow, motion blur and defocus for clean photographs.
//!
//! Each of the five modules below models one degradation, with the ranges that its task's data sets
//! show. All draws depend on the state of the generator alone, so a training run can be repeated or
//! resumed.

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

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use engine::Rng;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::image::Image;

/// A restoration task, named by the degradation that it removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Task {
    /// Haze and fog.
    Dehaze,
    /// Rain streaks.
    Derain,
    /// Falling snow.
    Desnow,
    /// Blur from a moving camera or a moving subject.
    Deblur,
    /// Blur from a lens focused elsewhere.
    Defocus,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] =
        [Self::Dehaze, Self::Derain, Self::Desnow, Self::Deblur, Self::Defocus];

    /// The name in commands and files: `dehaze`, `derain`, `desnow`, `deblur-motion`,
    /// `deblur-defocus`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dehaze => "dehaze",
            Self::Derain => "derain",
            Self::Desnow => "desnow",
            Self::Deblur => "deblur-motion",
            Self::Defocus => "deblur-defocus",
        }
    }
}

/// Which haze synthetic pairs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Haze {
    /// Nearly as thick everywhere, as in RESIDE's outdoor sets: what [`degrade`] draws.
    Even,
    /// Half of the pictures as above; the others with clear foregrounds and hidden distances, in
    /// air of other colors, a few of them in fog, and under a sky of the air's color. One in eleven
    /// is left as it is: a photograph without haze, or a flat field. Some have a camera's noise
    /// and a JPEG file's losses.
    Deep,
}

impl Haze {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Even, Self::Deep];

    /// The name in commands and files: `even`, `deep`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::Deep => "deep",
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
    twin(clean, |clean| match task {
        Task::Dehaze => haze::haze(clean, rng),
        Task::Derain => rain::rain(clean, rng),
        Task::Desnow => snow::snow(clean, rng),
        Task::Deblur => motion::motion(clean, rng),
        Task::Defocus => defocus::defocus(clean, rng),
    })
}

/// Like [`degrade`], but with the simplest form of [`Task::Deblur`], as an easy beginning: only the
/// camera moves, evenly and straight, by a number of pixels in `lengths`.
pub fn blur_linear_motion(clean: &Image, lengths: Range<f64>, rng: &mut Rng) -> Image {
    twin(clean, |clean| motion::linear(clean, lengths, rng))
}

/// A pair (hazy, clean) of this haze, both of the size of `photograph` and in [0, 1]. The clean one
/// is the photograph, but for [`Haze::Deep`], which may change its sky and has flat fields too.
pub fn hazy_pair(photograph: &Image, haze: Haze, rng: &mut Rng) -> (Image, Image) {
    if haze == Haze::Even || photograph.data.is_empty() {
        return (degrade(Task::Dehaze, photograph, rng), photograph.clone());
    }
    let (hazy, clean) = haze::pair(photograph, rng);
    (camera::photographed(hazy.clamp(), rng), clean)
}

/// Degrades `clean`, with values in [0, 1]; an empty image stays empty.
fn twin(clean: &Image, degrade: impl FnOnce(&Image) -> Image) -> Image {
    if clean.data.is_empty() { clean.clone() } else { degrade(clean).clamp() }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| Error::Config {
            reason: format!(
                "unknown task \"{name}\"; the tasks are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        })
    }
}

impl TryFrom<String> for Task {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Task> for &'static str {
    fn from(task: Task) -> Self {
        task.name()
    }
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
    fn names_are_read_as_they_are_written() {
        for task in Task::ALL {
            assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(json, format!("\"{task}\""));
            assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
        }
        let error = "de-hail".parse::<Task>().unwrap_err().to_string();
        assert!(error.contains("de-hail") && error.contains("deblur-motion"), "{error}");
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
    fn a_hazy_pair_depends_on_its_place_alone_and_has_the_photographs_size() {
        for (width, height) in [(1, 1), (1, 40), (40, 1), (3, 2), (65, 33), (0, 0)] {
            let clean = scene(width, height);
            for index in 0..40 {
                let draw = |haze, index| hazy_pair(&clean, haze, &mut Rng::at(7, 0, index));
                let pair = draw(Haze::Deep, index);
                assert!(pair == draw(Haze::Deep, index));
                for image in [&pair.0, &pair.1] {
                    assert_eq!((image.width, image.height), (width, height));
                    assert_eq!(image.data.len(), clean.data.len());
                    assert!(image.data.iter().all(|v| (0.0..=1.0).contains(v)));
                }
                let even = degrade(Task::Dehaze, &clean, &mut Rng::at(7, 0, index));
                assert!(draw(Haze::Even, index) == (even, clean.clone()));
            }
        }
        let clean = scene(96, 64);
        let input = |index| hazy_pair(&clean, Haze::Deep, &mut Rng::at(7, 0, index)).0;
        assert_ne!(input(1), input(2));
    }

    #[test]
    fn what_a_camera_adds_stays_out_of_the_clean_picture() {
        let clean = scene(96, 64);
        for index in 0..100 {
            let (_, same) = hazy_pair(&clean, Haze::Deep, &mut Rng::at(7, 1, index));
            let (_, without) = haze::pair(&clean, &mut Rng::at(7, 1, index));
            assert!(same == without);
        }
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
