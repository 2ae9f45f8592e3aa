//! The weights inside the program, so that it restores photographs with nothing else on the machine.
//!
//! Each is the `tiny` network in f16; `irnext/weights/README.md` is their model card.

use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::model::Model;
use std::collections::HashMap;

/// The tasks with weights inside, and the weights.
const SHIPPED: &[(Task, &[u8])] = &[
    (Task::Dehaze, include_bytes!("../weights/dehaze.safetensors")),
    (Task::Derain, include_bytes!("../weights/derain.safetensors")),
];

/// The tasks with weights inside.
pub fn tasks() -> impl Iterator<Item = Task> {
    SHIPPED.iter().map(|(task, _)| *task)
}

/// The model for `task`, and its file's metadata.
pub fn load(task: Task) -> Result<(Model, HashMap<String, String>)> {
    match SHIPPED.iter().find(|(shipped, _)| *shipped == task) {
        Some((task, bytes)) => Model::from_bytes(&format!("the weights inside the program for {task}"), bytes),
        None => {
            let tasks: Vec<&str> = tasks().map(Task::name).collect();
            Err(Error::Config {
                reason: format!(
                    "no weights for {task} are inside the program (there are {}); give a weight file with --weights",
                    tasks.join(", ")
                ),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;
    use crate::metrics::{View, psnr};
    use crate::restore::restore;
    use engine::Rng;

    #[test]
    fn every_shipped_model_loads_and_helps() {
        // A picture that no training saw: smooth shades, edges and stripes.
        let clean = Image::from_fn(128, 128, |x, y| {
            let (u, v) = (x as f32 / 128.0, y as f32 / 128.0);
            let house = if (0.3..0.7).contains(&u) && v > 0.5 { 0.35 } else { 0.0 };
            let stripes = 0.1 * ((x / 6) % 2) as f32 * v;
            [0.15 + 0.3 * v + house, 0.3 + 0.2 * v + stripes, 0.7 - 0.6 * v + stripes]
        });
        for &(task, bytes) in SHIPPED {
            assert!(bytes.len() < 2_500_000, "{task}: {} bytes", bytes.len());
            let (model, metadata) = load(task).unwrap();
            assert_eq!(metadata[crate::model::TASK], task.to_string());
            let mut gain = 0.0;
            for seed in 0..4 {
                let degraded = crate::degrade::degrade(task, &clean, &mut Rng::new(seed));
                let score = |image: &Image| psnr(image, &clean, View::Rgb).unwrap();
                gain += (score(&restore(&model.freeze(), &degraded).unwrap()) - score(&degraded)) / 4.0;
            }
            assert!(gain > 1.0, "{task}: the mean gain is {gain:.2} dB");
        }
    }

    #[test]
    fn a_task_without_weights_says_which_there_are() {
        let message = load(Task::Desnow).err().unwrap().to_string();
        assert!(message.contains("desnow") && message.contains("dehaze, derain"), "{message}");
    }
}
