//! `irnext restore`: photographs in, photographs out.

use super::{ComputeArguments, WeightArguments, keep, say};
use crate::data::image_files;
use crate::distributed::{Team, launch};
use crate::error::{Error, Result};
use crate::image::Photo;
use crate::model::FrozenModel;
use crate::restore::restore;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Photographs, or folders of them
    #[arg(required = true, value_name = "PHOTO")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    weights: WeightArguments,
    #[command(flatten)]
    compute: ComputeArguments,
    /// A file (for one photograph) or a folder to write to; otherwise beside each photograph, as NAME.TASK.EXT
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
}

/// Restores what can be restored and says what cannot; true if all could.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    launch::together(|team| run_in(team, arguments))
}

fn run_in(team: &Team, arguments: &Arguments) -> Result<bool> {
    let (model, task) = arguments.weights.load()?;
    let compute = arguments.compute.compute();
    let model = model.on(compute)?;
    let model = model.freeze().computing_in(compute.precision);
    let jobs = part(team, jobs(arguments, &task))?;
    let mut complete = true;
    for job in jobs {
        let done = job.and_then(|job| {
            let start = Instant::now();
            let (width, height) = job.run(&model, arguments.overwrite)?;
            let (from, to, seconds) = (job.from.display(), job.to.display(), start.elapsed().as_secs_f64());
            say!("{from} → {to}: {task}, {width}×{height}, {seconds:.2} s");
            Ok(())
        });
        if let Err(error) = done {
            eprintln!("irnext: {error}");
            complete = false;
        }
    }
    team.every(complete)
}

/// Those of `jobs` that are this rank's. Their list is looked at together, before one of the ranks writes into a folder that another still
/// lists; and those that would be written to one place are one rank's, which refuses all but the first.
fn part(team: &Team, jobs: Vec<Result<Job>>) -> Result<Vec<Result<Job>>> {
    let place = |job: &Result<Job>| match job {
        Ok(job) => job.to.display().to_string(),
        Err(error) => error.to_string(),
    };
    let places: Vec<String> = jobs.iter().map(place).collect();
    let sum = crc32c::crc32c(places.join("\n").as_bytes());
    team.same(&[("the list of photographs".into(), format!("{} files (checksum {sum:08x})", places.len()))])?;
    let mut ranks = HashMap::new();
    for (i, place) in places.iter().enumerate() {
        ranks.entry(place).or_insert(i % team.size());
    }
    let mine = |place: &String| ranks.get(place) == Some(&team.rank());
    Ok(jobs.into_iter().zip(&places).filter(|(_, place)| mine(place)).map(|(job, _)| job).collect())
}

/// One photograph.
struct Job {
    from: PathBuf,
    to: PathBuf,
}

impl Job {
    /// Reads, restores, writes; returns the size.
    fn run(&self, model: &FrozenModel<'_>, overwrite: bool) -> Result<(usize, usize)> {
        // What would fail after the work is looked at before it.
        Photo::check_writable(&self.to)?;
        keep(&self.to, overwrite)?;
        let photo = Photo::read(&self.from)?;
        let mut rgb = restore(model, &photo.rgb)?;
        if photo.grey {
            // A grey photograph stays grey, whatever the network made of its three equal channels.
            rgb.data.chunks_exact_mut(3).for_each(|pixel| pixel.fill((pixel[0] + pixel[1] + pixel[2]) / 3.0));
        }
        let size = (rgb.width, rgb.height);
        Photo { rgb, ..photo }.write(&self.to)?;
        Ok(size)
    }
}

/// All photographs to restore; a folder that cannot be listed is an error among them.
fn jobs(arguments: &Arguments, task: &str) -> Vec<Result<Job>> {
    let into_folder = arguments.output.as_deref().filter(|output| {
        output.is_dir() || arguments.paths.len() > 1 || arguments.paths.iter().any(|path| path.is_dir())
    });
    if let Some(folder) = into_folder
        && let Err(source) = std::fs::create_dir_all(folder)
    {
        return vec![Err(Error::Io { path: folder.into(), source })];
    }
    let mut jobs = Vec::new();
    for path in &arguments.paths {
        let files = match path.is_dir() {
            true => image_files(path),
            false => Ok(vec![path.clone()]),
        };
        match files {
            Ok(files) if files.is_empty() => jobs.push(Err(Error::data(path, "holds no images"))),
            Ok(files) => jobs.extend(files.into_iter().map(|from| {
                let to = match (into_folder, &arguments.output) {
                    (Some(folder), _) => folder.join(from.file_name().unwrap_or_default()),
                    (None, Some(file)) => file.clone(),
                    (None, None) => beside(&from, task),
                };
                Ok(Job { from, to })
            })),
            Err(error) => jobs.push(Err(error)),
        }
    }
    jobs
}

/// `photo.jpg` → `photo.dehaze.jpg`.
fn beside(from: &Path, task: &str) -> PathBuf {
    let extension = from.extension().unwrap_or_default().to_string_lossy();
    from.with_extension(format!("{task}.{extension}"))
}
