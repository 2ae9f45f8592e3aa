//! `--watch`: restores the photographs in a folder, and any added later, until a signal ends it.
//!
//! The folder is searched once a second. That works on every file system, network drives included,
//! and costs little next to restoring a photograph.
//!
//! A file is whole if it stays as it is from one search to the next two, and has its end. Without
//! the end it may still be arriving: it is tried again once it has changed, or has not for a while.

use super::arguments::Arguments;
use super::lines::ReportLines;
use super::work::Work;
use crate::cli::output::complain;
use crate::cli::signals::Signals;
use crate::error::{Error, Result};
use crate::jobs::{FileContents, Job, JobPlan, JobReport, Search, Settings, Summary, contents};
use crate::restorer::Restorer;
use nn::shown;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The time between two searches.
const INTERVAL: Duration = Duration::from_secs(1);

/// The searches that find a file unchanged before it is first tried.
const SEARCHES: usize = 2;

/// How long a file that is not whole must be unchanged before it counts as a damaged one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The size of a file and its time of modification.
type Stamp = Option<(u64, SystemTime)>;

/// The state of a file.
struct Seen {
    stamp: Stamp,
    /// Since when it is so, and how many searches found it unchanged.
    since: Instant,
    searches: usize,
    /// Its contents, once it has not changed for some searches.
    contents: Option<FileContents>,
    state: State,
}

/// The attempts at a file.
#[derive(PartialEq)]
enum State {
    /// Nothing yet.
    New,
    /// It was tried, and was not whole.
    Unfinished,
    /// It was tried, with whatever outcome.
    Tried,
}

/// The files in the folder.
#[derive(Default)]
struct Files {
    seen: Mutex<HashMap<PathBuf, Seen>>,
    /// Those that could not be restored.
    failed: Mutex<HashSet<PathBuf>>,
}

/// Restores the photographs in `folder`; ends with the error that says which signal ended it.
pub(super) fn run(
    arguments: &Arguments,
    folder: &Path,
    restorer: &Restorer,
    signals: &Signals,
) -> Result<bool> {
    if !folder.is_dir() {
        let reason = format!("--watch {}: is not a folder", shown(folder));
        return Err(Error::Config { reason });
    }
    let naming = arguments.naming(restorer, true);
    let (files, mut total) = (Files::default(), Summary::default());
    if !arguments.quiet {
        complain!("watching {}; Ctrl-C ends it", shown(folder));
    }
    let settings = arguments.settings();
    let careful = Settings { only_whole: true, ..settings.clone() };
    while !signals.are_there() {
        let look = |path: &Path| match signals.are_there() {
            // The search ends soon.
            true => Ok(FileContents::Other),
            false => files.look(path),
        };
        let mut search = Search::new(&[folder.to_owned()], naming.folder(), look);
        if signals.are_there() {
            break;
        }
        // Later searches may find more.
        search.errors.clear();
        let mut plan = JobPlan::new(&search.found, &naming)?;
        plan.by_time = 0;
        plan.done.clear();
        plan.results.clear();
        // Failed or left alone before: not again, unless it has changed.
        plan.refused.retain(|(photo, _)| files.is_due(photo, State::New));
        plan.refused.iter().for_each(|(photo, _)| files.note(photo, false));
        let jobs = std::mem::take(&mut plan.jobs);
        let (new, others): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| files.is_due(&job.from, State::New));
        let late = others.into_iter().filter(|job| files.is_due(&job.from, State::Unfinished));
        for (jobs, settings) in [(new, &careful), (late.collect(), &settings)] {
            plan.jobs = jobs;
            let mut summary = Summary { waiting: plan.jobs.len(), ..Summary::default() };
            let lines = ReportLines::new(arguments, &plan.jobs, true, signals);
            lines.tell_plan(&search, &plan);
            plan.refused.clear();
            let counted = Mutex::new(&mut summary);
            let done = |job: &Job, result: &Result<JobReport>| {
                if matches!(result, Err(Error::Unfinished { .. })) {
                    files.put_off(&job.from);
                    return lines.pass_over(job);
                }
                lines.tell(job, result);
                files.note(&job.from, result.is_ok());
                lock(&counted).count(result.as_ref().ok());
            };
            Work { arguments, settings, restorer }.run(&plan.jobs, signals, &lines, &done);
            lines.end();
            // Those that were not whole wait for another search, and are not waiting for a run.
            if !signals.are_there() {
                summary.waiting = 0;
            }
            total.add(&summary);
        }
        wait(signals);
    }
    // A file that failed and arrived later, maybe under another name, did not fail in the end.
    total.failed = lock(&files.failed).iter().filter(|path| path.exists()).count();
    if !arguments.quiet {
        complain!("{total}");
    }
    signals.last().map_or(Ok(total.failed == 0), |signal| Err(Error::Signal(signal)))
}

impl Files {
    /// The contents of a file that has not changed for some searches.
    fn look(&self, path: &Path) -> Result<FileContents> {
        let stamp = path.metadata().ok().and_then(|file| Some((file.len(), file.modified().ok()?)));
        let mut seen = lock(&self.seen);
        let Some(file) = seen.get_mut(path).filter(|file| file.stamp == stamp) else {
            let (since, state) = (Instant::now(), State::New);
            let file = Seen { stamp, since, searches: 0, contents: None, state };
            seen.insert(path.into(), file);
            return Ok(FileContents::Other);
        };
        file.searches += 1;
        match &file.contents {
            _ if file.searches < SEARCHES => Ok(FileContents::Other),
            Some(contents) => Ok(contents.clone()),
            None => Ok(file.contents.insert(contents(path)?).clone()),
        }
    }

    /// Whether a file in this `state` is to be tried now; if so, it counts as tried.
    fn is_due(&self, path: &Path, state: State) -> bool {
        let mut seen = lock(&self.seen);
        let Some(file) = seen.get_mut(path).filter(|file| file.state == state) else {
            return false;
        };
        let is_due = state == State::New || file.since.elapsed() >= PATIENCE;
        if is_due {
            file.state = State::Tried;
        }
        is_due
    }

    /// The file was not whole.
    fn put_off(&self, path: &Path) {
        if let Some(file) = lock(&self.seen).get_mut(path) {
            file.state = State::Unfinished;
            // What it is may be known only when there is more of it.
            file.contents = None;
        }
    }

    /// Whether a file could be restored.
    fn note(&self, path: &Path, restored: bool) {
        let mut failed = lock(&self.failed);
        match restored {
            true => failed.remove(path),
            false => failed.insert(path.into()),
        };
    }
}

/// What a panic of another thread left is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
