//! Pictures as those of the benchmarks: one model for each task.

use engine::Rng;

use super::{defocus, haze, motion, rain, snow, task::Task};
use crate::image::Image;

/// `clean`, degraded; values may leave [0, 1].
pub(super) fn degrade(task: Task, clean: &Image, rng: &mut Rng) -> Image {
    match task {
        Task::Dehaze => haze::haze(clean, rng),
        Task::Derain => rain::rain(clean, rng),
        Task::Desnow => snow::snow(clean, rng),
        Task::Deblur => motion::motion(clean, rng),
        Task::Defocus => defocus::defocus(clean, rng),
    }
}
