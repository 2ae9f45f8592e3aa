//! The scored pairs: real ones, and photographs degraded here.

use engine::Rng;
use irnext::data::{Paired, Pairing, PhotoCache, Source, image_files};
use irnext::degrade::{Task, degrade};
use irnext::image::{Image, Photo};
use irnext::protocol::Protocol;
use std::path::Path;

/// Real pairs, and how they are scored.
pub struct Set {
    pub task: Task,
    pub name: &'static str,
    pub protocol: Protocol,
    pub pairs: Paired,
}

/// The sets in `folder`, which must be there.
pub fn real(folder: &Path) -> Vec<Set> {
    let sets = [
        (Task::Dehaze, "SOTS-outdoor", Protocol::Sots, "sots_outdoor", ["hazy", "gt"]),
        (Task::Derain, "Rain100L", Protocol::RainY, "rain100l", ["input", "target"]),
        (Task::Deblur, "GoPro", Protocol::Gopro, "gopro_seq", ["input", "target"]),
    ];
    let open = |(task, name, protocol, set, sides): (_, _, _, &str, [&str; 2])| {
        let [input, target] = sides.map(|side| folder.join(set).join(side));
        let pairing = Pairing::of_folders(&input, &target).unwrap().or_complain(&input).unwrap();
        Set { task, name, protocol, pairs: Paired::new(pairing.pairs, PhotoCache::new(0)) }
    };
    sets.map(open).into()
}

/// Pairs in memory.
pub struct Made(Vec<(Image, Image)>);

impl Source for Made {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> String {
        index.to_string()
    }

    fn sample(
        &self,
        index: usize,
        _: &mut Rng,
        _: &irnext::data::CropSpec,
    ) -> irnext::Result<(Image, Image)> {
        self.full(index)
    }

    fn full(&self, index: usize) -> irnext::Result<(Image, Image)> {
        Ok(self.0[index].clone())
    }
}

/// Pixels along a side of a degraded picture.
const SIDE: usize = 160;

/// Each of the three photographs in `docs/samples/clean`, which no weights were trained on but
/// those for haze, degraded four times.
pub fn samples(task: Task) -> Made {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
    make(task, &folder, 3, 0..4)
}

/// Of twenty photographs in `folder`, evenly taken, two pairs each.
pub fn synthetic(task: Task, folder: &Path) -> Made {
    make(task, folder, 20, 100..102)
}

fn make(task: Task, folder: &Path, count: usize, seeds: std::ops::Range<u64>) -> Made {
    let files = image_files(folder).unwrap();
    let step = (files.len() / count).max(1);
    let chosen = files.iter().step_by(step).take(count).enumerate();
    let pairs = chosen.flat_map(|(index, file)| {
        let whole = Photo::read(file).unwrap().image();
        let (width, height) = (whole.width().min(SIDE), whole.height().min(SIDE));
        let (x, y) = ((whole.width() - width) / 2, (whole.height() - height) / 2);
        let clean = whole.crop(x, y, width, height).unwrap();
        seeds.clone().map(move |seed| {
            (degrade(task, &clean, &mut Rng::at(seed, 0, index as u64)), clean.clone())
        })
    });
    Made(pairs.collect())
}
