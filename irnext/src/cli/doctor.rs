//! `irnext doctor`: checks a data set.

use super::output::say;
use crate::doctor::{Checkup, Leak, SplitCheckup, examine};
use crate::error::Result;
use crate::protocol::sets::Set;
use indicatif::{ProgressBar, ProgressStyle};
use nn::shown;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext doctor GOPRO_Large
      Read every image of a data set, and report each fault
  irnext doctor RESIDE/SOTS --quick
      Check names, counts and sizes in seconds")]
pub(super) struct Arguments {
    /// Data set in its original layout, or a part of it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Read image headers only: fast, but finds no damaged pixels and no repeated scenes
    #[arg(long)]
    quick: bool,
}

/// True if the data set is sound.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{pos} images read, {per_sec}") {
        progress.set_style(style);
    }
    let checkup = examine(&arguments.folder, arguments.quick, || progress.inc(1))?;
    progress.finish_and_clear();
    checkup.splits.iter().for_each(print);
    print_leaks(&checkup);
    Ok(checkup.is_sound())
}

fn print(split: &SplitCheckup) {
    let set = split.set.map_or("an unknown data set", |set| set.name);
    say!("{}: {:?} split of {set}", shown(&split.name), split.role);
    let published: Vec<String> = match split.set {
        Some(set) => set.counts(split.role).iter().map(usize::to_string).collect(),
        None => Vec::new(),
    };
    let verdict = match split.complete() {
        Some(true) => "as published".to_string(),
        Some(false) => format!("EXPECTED {} as published", published.join(" or ")),
        None => {
            let names = Set::with_count(split.role, split.pairs).map(|set| set.name);
            match names.collect::<Vec<_>>()[..] {
                [] => "no published count to compare with".to_string(),
                ref names => format!("the published count of {}", names.join(", ")),
            }
        }
    };
    say!("  pairs     {} ({verdict})", split.pairs);
    let sizes = split
        .sizes
        .iter()
        .map(|((width, height), count)| format!("  size      {width}x{height}: {count}"));
    list(sizes, "sizes");
    list(
        split.unpaired.iter().map(|file| format!("  UNPAIRED  {}", shown(&file))),
        "unpaired images",
    );
    list(split.problems.iter().map(|problem| format!("  PROBLEM   {problem}")), "problems");
}

fn print_leaks(checkup: &Checkup) {
    let line = |leak: &Leak| {
        let how = if leak.identical { "equals" } else { "resembles" };
        let (test, train) = (shown(&leak.test), shown(&leak.train));
        format!("LEAK: test image {test} {how} training image {train}")
    };
    list(checkup.leaks.iter().map(line), "leaks");
    if checkup.is_sound() {
        say!("no problems found");
    }
}

/// Prints the first few lines, and the number of the others.
fn list(lines: impl ExactSizeIterator<Item = String>, what: &str) {
    const LISTED: usize = 10;
    let count = lines.len();
    lines.take(LISTED).for_each(|line| say!("{line}"));
    if count > LISTED {
        say!("  … and {} more {what}", count - LISTED);
    }
}
