//! `irnext restore`: removes haze, rain, snow or blur from photographs.
//!
//! This file has the options and the plan; `work` does the jobs, `lines` tells about them, with a
//! bar by `progress`; `stream` and `watch` are the other ways to pass photographs in.

mod lines;
mod progress;
mod stream;
mod watch;
mod work;

use super::arguments::{COMPUTE, ComputeArguments, OUTPUT};
use super::restorer::RestorerArguments;
use super::signals::Signals;
use crate::distributed::launch::Launch;
use crate::distributed::{Team, file_list_fingerprint};
use crate::error::{Error, Result};
use crate::image::WriteOptions;
use crate::jobs::{Naming, Output, Plan, Search, Settings, Summary, contents};
use crate::restorer::Restorer;
use lines::Lines;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext foggy.jpg
      Detect what is wrong and write, say, foggy.dehaze.jpg beside the photo
  irnext restore photos/ -o restored/
      Restore a folder and the folders in it into another one
  irnext restore --task derain --strength 0.7 wet.jpg -o dry.jpg
      Remove rain, a little less than fully

The photograph itself is never changed. One that seems clear is left alone: nothing is written for \
it beside it, and it is copied to an output that you name. What was restored before is skipped.")]
pub(super) struct Arguments {
    /// Photographs, or folders of them; - is standard input
    #[arg(required_unless_present = "watch", value_name = "PHOTO")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    restorer: RestorerArguments,
    /// How much of it to remove, 0 to 1.5: 0.5 for half, 1.2 for more than usual
    #[arg(long, value_name = "AMOUNT", default_value_t = 1.0, value_parser = strength)]
    strength: f32,
    /// Also write NAME.compare.EXT, with before and after side by side
    #[arg(long)]
    compare: bool,
    /// Restore photographs that are cut short, too, as far as they can be read
    #[arg(long)]
    keep_going: bool,
    /// Restore the photographs in this folder, and those that arrive, until Ctrl-C
    #[arg(long, value_name = "DIR", conflicts_with = "paths")]
    watch: Option<PathBuf>,

    /// Output file (for one photograph) or folder; - is standard output [default: beside each
    /// photograph, as NAME.TASK.EXT]
    #[arg(short, long, value_name = "PATH", help_heading = OUTPUT)]
    output: Option<PathBuf>,
    /// Name results NAME + SUFFIX + .EXT
    #[arg(long, value_name = "SUFFIX", value_parser = suffix, help_heading = OUTPUT)]
    suffix: Option<String>,
    /// File format of results [default: that of the photograph]
    #[arg(long, value_name = "FORMAT", value_parser = FORMATS, help_heading = OUTPUT)]
    format: Option<String>,
    /// Quality of JPEG results, 1 to 100 [default: that of the photo, at least 90]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=100),
        help_heading = OUTPUT
    )]
    quality: Option<u8>,
    /// Leave out what the photo's file says about it: date, place, camera
    #[arg(long, help_heading = OUTPUT)]
    strip: bool,
    /// Replace existing results
    #[arg(long, help_heading = OUTPUT)]
    overwrite: bool,
    /// Print one line of JSON for each file
    #[arg(long, help_heading = OUTPUT)]
    json: bool,
    /// Print errors only
    #[arg(short, long, help_heading = OUTPUT)]
    quiet: bool,

    #[command(flatten)]
    compute: ComputeArguments,
    /// Photographs to restore at once; they share the threads [default: 1]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64),
        help_heading = COMPUTE
    )]
    jobs: Option<u16>,
}

/// The formats of results, by their extensions.
const FORMATS: [&str; 6] = ["jpg", "png", "webp", "tif", "bmp", "ppm"];

fn strength(given: &str) -> Result<f32, String> {
    match given.parse() {
        Ok(strength) if (0.0..=1.5).contains(&strength) => Ok(strength),
        _ => Err("the strength is a number from 0 to 1.5".into()),
    }
}

fn suffix(given: &str) -> Result<String, String> {
    match given.is_empty() || given.contains(std::path::is_separator) {
        true => Err("a suffix is part of a file's name, such as -clear".into()),
        false => Ok(given.into()),
    }
}

/// Restores the photographs and reports errors; true if there were none.
pub(super) fn run(arguments: &Arguments, launch: Launch) -> Result<bool> {
    let team = launch.connect()?;
    team.finish(run_in(&team, arguments))
}

fn run_in(team: &Team, arguments: &Arguments) -> Result<bool> {
    let restorer = arguments.restorer.restorer(arguments.compute.compute(team))?;
    let one_process = arguments.streams() || arguments.watch.is_some();
    if one_process && !team.is_alone() {
        let reason = "standard input and output, and --watch, need a single process";
        return Err(Error::Config { reason: reason.into() });
    }
    if arguments.streams() {
        return stream::run(arguments, &restorer);
    }
    let signals = Signals::watch()?;
    if let Some(folder) = &arguments.watch {
        return watch::run(arguments, folder, &restorer, &signals);
    }
    // All ranks plan before any of them writes, since one could write into a folder that another
    // still searches.
    let (search, mut plan) = team.barrier(arguments.plan(&restorer))?;
    let files: Vec<_> = plan.jobs.iter().map(|job| job.from.display().to_string()).collect();
    team.require_equal(&[("the list of photographs".into(), file_list_fingerprint(&files))])?;
    let (size, rank) = (team.size(), team.rank());
    let is_mine = |index: usize| index % size == rank;
    let jobs = std::mem::take(&mut plan.jobs).into_iter().enumerate();
    plan.jobs = jobs.filter(|(index, _)| is_mine(*index)).map(|(_, job)| job).collect();

    let lines = Lines::new(arguments, &plan.jobs, team.is_alone());
    // What needs no work is for one rank to tell.
    let mut summary = Summary { waiting: plan.jobs.len(), ..Summary::default() };
    if team.is_first() {
        summary = Summary::new(&search, &plan);
        lines.tell_plan(&search, &plan);
    }
    work::run(&plan.jobs, arguments, &restorer, &signals, &lines, &mut summary);
    lines.end();
    let mut all = Summary::default();
    team.all_gather(Ok(summary))?.iter().for_each(|summary| all.add(summary));
    if team.is_first() {
        lines.tell_summary(&all, arguments);
    }
    match signals.last() {
        Some(signal) if all.waiting > 0 => Err(Error::Signal(signal)),
        _ => Ok(all.failed == 0),
    }
}

impl Arguments {
    /// Whether a photograph comes from standard input or goes to standard output.
    fn streams(&self) -> bool {
        let is_dash = |path: &PathBuf| path == Path::new("-");
        self.paths.iter().any(is_dash) || self.output.as_ref().is_some_and(is_dash)
    }

    fn settings(&self) -> Settings {
        let write =
            WriteOptions { quality: self.quality, strip: self.strip, ..WriteOptions::default() };
        let Self { strength, compare, overwrite, keep_going, .. } = *self;
        Settings { strength, compare, overwrite, keep_going, write }
    }

    /// What is to be done about the photographs that were named.
    fn plan(&self, restorer: &Restorer) -> Result<(Search, Plan)> {
        let several = self.paths.len() > 1 || self.paths.iter().any(|path| path.is_dir());
        let naming = self.naming(restorer, several);
        let search = Search::new(&self.paths, naming.folder(), contents);
        let plan = Plan::new(&search.found, &naming)?;
        Ok((search, plan))
    }

    fn naming(&self, restorer: &Restorer, several: bool) -> Naming {
        Naming {
            tasks: restorer.tasks().into_iter().map(String::from).collect(),
            output: self.output.clone().map(|output| Output::new(output, several)),
            suffix: self.suffix.clone(),
            extension: self.format.clone(),
            overwrite: self.overwrite,
            compare: self.compare,
        }
    }
}
