//! `irnext restore`: removes haze, rain, snow or blur from photographs.

use super::arguments::{ComputeArguments, OUTPUT};
use super::output::{check_overwrite, say};
use super::restorer::RestorerArguments;
use crate::data::image_files;
use crate::distributed::launch::Launch;
use crate::distributed::{Team, file_list_fingerprint};
use crate::error::{Error, Result};
use crate::image::Photo;
use crate::restorer::{Decision, Restorer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext restore foggy.jpg
      Detect the degradation and write, say, foggy.dehaze.jpg beside the photo
  irnext restore --task dehaze foggy.jpg -o clear.jpg
      Remove haze, without detection
  irnext restore photos/ -o restored/
      Restore every image in a folder
  irnext restore --weights ITS.pkl --device cuda foggy.jpg
      Use your own weights, on a GPU

An image that looks clean is left alone, and nothing is written for it.")]
pub(super) struct Arguments {
    /// Photographs, or folders of them
    #[arg(required = true, value_name = "PHOTO")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    restorer: RestorerArguments,
    #[command(flatten)]
    compute: ComputeArguments,
    /// Output file (for one photograph) or folder [default: beside each photograph, as
    /// NAME.TASK.EXT]
    #[arg(short, long, value_name = "PATH", help_heading = OUTPUT)]
    output: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long, help_heading = OUTPUT)]
    overwrite: bool,
}

/// Restores the photographs and reports errors; true if there were none.
pub(super) fn run(arguments: &Arguments, launch: Launch) -> Result<bool> {
    let team = launch.connect()?;
    team.finish(run_in(&team, arguments))
}

fn run_in(team: &Team, arguments: &Arguments) -> Result<bool> {
    let restorer = arguments.restorer.restorer(arguments.compute.compute(team))?;
    let jobs = jobs_of_this_rank(team, jobs(arguments))?;
    let mut complete = true;
    for job in jobs {
        match job.and_then(|job| job.run(&restorer, arguments.overwrite)) {
            Ok(done) => say!("{done}"),
            Err(error) => {
                eprintln!("irnext: {error}");
                complete = false;
            }
        }
    }
    team.all_true(complete)
}

/// The jobs of this rank. All ranks list the photographs before any of them writes, since one could
/// write into a folder that another still lists. Jobs with the same output belong to one rank,
/// which refuses all but the first.
fn jobs_of_this_rank(team: &Team, jobs: Vec<Result<Job>>) -> Result<Vec<Result<Job>>> {
    let place = |job: &Result<Job>| match job {
        // Outputs beside their photographs are all different.
        Ok(job) => job.to.as_ref().unwrap_or(&job.from).display().to_string(),
        Err(error) => error.to_string(),
    };
    let places: Vec<String> = jobs.iter().map(place).collect();
    team.require_equal(&[("the list of photographs".into(), file_list_fingerprint(&places))])?;
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
    /// The output; if none, beside the photograph, under a name with the task.
    to: Option<PathBuf>,
}

impl Job {
    /// Reads, restores and writes the photograph, unless it is left alone. Returns the line to
    /// print.
    fn run(&self, restorer: &Restorer, overwrite: bool) -> Result<String> {
        let start = Instant::now();
        let (from, photo) = (self.from.display(), Photo::read(&self.from)?);
        let restoration = match restorer.decide(&photo.visible())? {
            Decision::Restore(restoration) => restoration,
            Decision::LeaveAlone(reason) => return Ok(format!("{from}: {reason}")),
        };
        // Anything that would fail after the work is checked before it.
        let task = restoration.task;
        let to = self.to.clone().unwrap_or_else(|| beside(&self.from, task));
        Photo::check_writable(&to)?;
        check_overwrite(&to, overwrite)?;
        let restored = restoration.apply(&photo)?;
        let written = restored.write(&to)?;
        let notes: String =
            restored.notes.iter().chain(&written).map(|note| format!("; {note}")).collect();
        let (width, height) = (restored.rgb.width, restored.rgb.height);
        let seconds = start.elapsed().as_secs_f64();
        let why = match &restoration.classification {
            Some(classification) => format!("{classification}; "),
            None => String::new(),
        };
        Ok(format!(
            "{from} → {}: {why}{task}, {width}×{height}, {seconds:.2} s{notes}",
            to.display()
        ))
    }
}

/// All photographs to restore; a folder that cannot be listed is an error among them.
fn jobs(arguments: &Arguments) -> Vec<Result<Job>> {
    let into_folder = arguments.output.as_deref().filter(|output| {
        output.is_dir()
            || arguments.paths.len() > 1
            || arguments.paths.iter().any(|path| path.is_dir())
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
            Ok(files) if files.is_empty() => {
                jobs.push(Err(Error::data(path, "contains no images")))
            }
            Ok(files) => jobs.extend(files.into_iter().map(|from| {
                let to = match into_folder {
                    Some(folder) => Some(folder.join(from.file_name().unwrap_or_default())),
                    None => arguments.output.clone(),
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
