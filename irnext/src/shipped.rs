//! The built-in weights, so that the program needs no other files.
//!
//! Each is the `tiny` network in bf16; `irnext/weights/README.md` is their model card. The build
//! compresses them (`build.rs`).

use crate::degrade::Task;
use crate::error::Result;
use crate::model::Model;
use miniz_oxide::inflate::decompress_to_vec;
use std::collections::HashMap;

macro_rules! compressed {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

/// The weight file for `task`.
fn file(task: Task) -> Vec<u8> {
    let compressed: &[u8] = match task {
        Task::Dehaze => compressed!("dehaze"),
        Task::Derain => compressed!("derain"),
        Task::Desnow => compressed!("desnow"),
        Task::Deblur => compressed!("deblur-motion"),
        Task::Defocus => compressed!("deblur-defocus"),
    };
    let planes = decompress_to_vec(compressed).expect("the build compressed it");
    interleave(&planes)
}

/// A file of which every first byte of two comes before every second, and each two are turned left
/// by a bit.
fn interleave(planes: &[u8]) -> Vec<u8> {
    let (first, second) = planes.split_at(planes.len().div_ceil(2));
    let mut bytes = vec![0; planes.len()];
    for (pair, place) in bytes.chunks_mut(2).zip(0..) {
        pair[0] = first[place];
        if let [low, high] = pair {
            *high = second[place];
            [*low, *high] = u16::from_le_bytes([*low, *high]).rotate_right(1).to_le_bytes();
        }
    }
    bytes
}

/// The model for `task`, and its file's metadata.
///
/// ```
/// let (model, metadata) = irnext::shipped::load(irnext::degrade::Task::Dehaze)?;
/// assert_eq!(metadata[irnext::model::TASK], "dehaze");
/// assert_eq!(model.config.width, 16);
/// # Ok::<(), irnext::Error>(())
/// ```
pub fn load(task: Task) -> Result<(Model, HashMap<String, String>)> {
    Model::from_bytes(&format!("the built-in weights for {task}"), &file(task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::image_files;
    use crate::degrade::degrade;
    use crate::image::{Image, Photo};
    use crate::metrics::{View, psnr};
    use crate::restore::restore;
    use engine::Rng;
    use std::path::{Path, PathBuf};

    #[test]
    fn what_the_build_compresses_comes_back() {
        let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/dehaze.safetensors");
        assert!(file(Task::Dehaze) == std::fs::read(weights).unwrap());
        assert_eq!(interleave(&[2, 6, 5, 4, 8]), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn every_shipped_model_loads_and_helps() {
        // Photographs that no training saw.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
        let clean = |file: &PathBuf| Photo::read(file).unwrap().image().part(192, 128, 128, 128);
        let photographs: Vec<Image> = image_files(&folder).unwrap().iter().map(clean).collect();
        for task in Task::ALL {
            assert!(file(task).len() < 2_500_000, "{task}: {} bytes", file(task).len());
            let (model, metadata) = load(task).unwrap();
            assert_eq!(metadata[crate::model::TASK], task.to_string());
            let model = model.freeze();
            let gain = |(place, clean): (usize, &Image)| {
                let degraded = degrade(task, clean, &mut Rng::at(4, 0, place as u64));
                let score = |image: &Image| psnr(image, clean, View::Rgb).unwrap();
                score(&restore(&model, &degraded).unwrap()) - score(&degraded)
            };
            let gains: Vec<f64> =
                photographs.iter().cycle().take(12).enumerate().map(gain).collect();
            let mean = gains.iter().sum::<f64>() / gains.len() as f64;
            println!("{task}: {mean:.2} dB");
            // Of motion by more than a dozen pixels a network this small undoes little.
            let least = if task == Task::Deblur { 0.4 } else { 1.0 };
            assert!(mean > least, "{task}: the mean gain is {mean:.2} dB: {gains:.2?}");
        }
    }
}
