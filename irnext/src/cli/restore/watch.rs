//! `--watch`: restores the photographs in a folder, and any added later, until a signal ends it.
//!
//! The folder is searched once a second. That works on every file system, network drives included,
//! and costs little next to restoring a photograph.

use super::arguments::Arguments;
use super::lines::ReportLines;
use super::work;
use crate::cli::output::complain;
use crate::cli::signals::Signals;
use crate::error::{Error, Result};
use crate::jobs::{FileContents, JobPlan, Search, Summary, contents};
use crate::restorer::Restorer;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The time between two searches.
const INTERVAL: Duration = Duration::from_secs(1);

/// The size of a file and its time of modification.
type Stamp = Option<(u64, SystemTime)>;

/// The state of a file.
struct Seen {
    stamp: Stamp,
    /// Its contents, once it has not changed from one search to the next.
    contents: Option<FileContents>,
    /// Whether it was given to the work, with whatever outcome.
    tried: bool,
}

/// Restores the photographs in `folder`; ends with the error that says which signal ended it.
pub(super) fn run(
    arguments: &Arguments,
    folder: &Path,
    restorer: &Restorer,
    signals: &Signals,
) -> Result<bool> {
    if !folder.is_dir() {
        let reason = format!("--watch {}: is not a folder", folder.display());
        return Err(Error::Config { reason });
    }
    let naming = arguments.naming(restorer, true);
    let (seen, mut total) = (RefCell::new(HashMap::new()), Summary::default());
    if !arguments.quiet {
        complain!("watching {}; Ctrl-C ends it", folder.display());
    }
    while !signals.are_there() {
        let look = |path: &Path| look(&seen, path);
        let mut search = Search::new(&[folder.to_owned()], naming.folder(), look);
        // Later searches may find more.
        search.errors.clear();
        let mut plan = JobPlan::new(&search.found, &naming)?;
        // Failed or left alone before: not again, unless it has changed.
        let is_new = |path: &PathBuf| match seen.borrow_mut().get_mut(path) {
            Some(seen) => !std::mem::replace(&mut seen.tried, true),
            None => false,
        };
        plan.jobs.retain(|job| is_new(&job.from));
        plan.refused.retain(|(photo, _)| is_new(photo));
        plan.done.clear();
        let mut summary =
            Summary { waiting: plan.jobs.len(), failed: plan.refused.len(), ..Summary::default() };
        let lines = ReportLines::new(arguments, &plan.jobs, true);
        lines.tell_plan(&search, &plan);
        work::run(&plan.jobs, arguments, restorer, signals, &lines, &mut summary);
        lines.end();
        total.add(&summary);
        wait(signals);
    }
    if !arguments.quiet {
        complain!("{total}");
    }
    signals.last().map_or(Ok(total.failed == 0), |signal| Err(Error::Signal(signal)))
}

/// The contents of a file that is whole: it is as it was one search ago.
fn look(seen: &RefCell<HashMap<PathBuf, Seen>>, path: &Path) -> Result<FileContents> {
    let stamp = path.metadata().ok().and_then(|file| Some((file.len(), file.modified().ok()?)));
    let mut seen = seen.borrow_mut();
    match seen.get_mut(path) {
        Some(Seen { stamp: before, contents: Some(contents), .. }) if *before == stamp => {
            Ok(contents.clone())
        }
        Some(file) if file.stamp == stamp => {
            let found = contents(path)?;
            Ok(file.contents.insert(found).clone())
        }
        _ => {
            seen.insert(path.into(), Seen { stamp, contents: None, tried: false });
            Ok(FileContents::Other)
        }
    }
}

/// Waits for the next search, or for a signal.
fn wait(signals: &Signals) {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..INTERVAL.as_millis() / STEP.as_millis() {
        if signals.are_there() {
            return;
        }
        std::thread::sleep(STEP);
    }
}
