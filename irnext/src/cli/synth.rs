//! `irnext synth`: pairs from clean photographs.

use super::say;
use crate::data::image_files;
use crate::degrade::{Task, degrade};
use crate::error::{Error, Result};
use crate::image::Photo;
use engine::Rng;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What restoration is to remove
    #[arg(long)]
    task: Task,
    /// A folder of clean photographs
    clean: PathBuf,
    /// A folder to write to: `input/` and `target/` inside it
    output: PathBuf,
    /// Seed of the degradations
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only the first so many photographs
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let files = image_files(&arguments.clean)?;
    let [input, target] = ["input", "target"].map(|name| arguments.output.join(name));
    for folder in [&input, &target] {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let mut written = 0;
    for (index, file) in files.iter().take(arguments.limit).enumerate() {
        let photo = Photo::read(file)?;
        let mut rng = Rng::at(arguments.seed, 0, index as u64);
        let degraded = degrade(arguments.task, &photo.rgb, &mut rng);
        let name = PathBuf::from(file.file_stem().unwrap_or_default()).with_extension("png");
        for (folder, image) in [(&input, degraded), (&target, photo.rgb)] {
            let path = folder.join(&name);
            if path.exists() && !arguments.overwrite {
                return Err(Error::image(&path, "is there already; --overwrite replaces it"));
            }
            Photo::new(image).write(&path)?;
        }
        written += 1;
    }
    say!("{written} pairs in {}, {}, seed {}", arguments.output.display(), arguments.task, arguments.seed);
    Ok(())
}
