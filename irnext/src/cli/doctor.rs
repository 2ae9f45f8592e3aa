//! `irnext doctor`: what is wrong with a data set.

use super::say;
use crate::doctor::{Checkup, SplitCheckup, examine};
use crate::error::Result;
use crate::protocol::sets::Set;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A data set as published, or a part of it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Read headers only: fast, but damaged pixels and repeated scenes go unnoticed
    #[arg(long)]
    quick: bool,
}

/// Whether the set is sound.
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

/// How many of a kind are listed.
const LISTED: usize = 10;

fn print(split: &SplitCheckup) {
    let set = split.set.map_or("a set that is not known", |set| set.name);
    say!("{}: {:?} split of {set}", split.name, split.role);
    let published: Vec<String> = match split.set {
        Some(set) => set.counts(split.role).iter().map(usize::to_string).collect(),
        None => Vec::new(),
    };
    let verdict = match split.complete() {
        Some(true) => "as published".to_string(),
        Some(false) => format!("PUBLISHED: {}", published.join(" or ")),
        None => match Set::with_count(split.role, split.pairs).map(|set| set.name).collect::<Vec<_>>()[..] {
            [] => "no published number to compare with".to_string(),
            ref names => format!("as many as published for {}", names.join(", ")),
        },
    };
    say!("  pairs     {} ({verdict})", split.pairs);
    for ((width, height), count) in split.sizes.iter().take(LISTED) {
        say!("  size      {width}x{height}: {count}");
    }
    more(split.sizes.len(), "sizes");
    for file in split.unpaired.iter().take(LISTED) {
        say!("  UNPAIRED  {}", file.display());
    }
    more(split.unpaired.len(), "without a partner");
    for problem in split.problems.iter().take(LISTED) {
        say!("  PROBLEM   {problem}");
    }
    more(split.problems.len(), "problems");
}

fn print_leaks(checkup: &Checkup) {
    for leak in checkup.leaks.iter().take(LISTED) {
        let how = if leak.identical { "is" } else { "looks like" };
        say!("LEAK  {} {how} {}, which is trained on", leak.test.display(), leak.train.display());
    }
    more(checkup.leaks.len(), "leaks");
    if checkup.is_sound() {
        say!("nothing to complain of");
    }
}

fn more(count: usize, what: &str) {
    if count > LISTED {
        say!("  … and {} more {what}", count - LISTED);
    }
}
