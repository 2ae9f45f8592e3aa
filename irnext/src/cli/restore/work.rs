//! Does the jobs, one or several at a time, until they are done or a signal stops them.

use super::arguments::Arguments;
use super::lines::ReportLines;
use crate::cli::output::complain;
use crate::cli::signals::Signals;
use crate::error::Result;
use crate::image::Photo;
use crate::jobs::{Job, JobReport, Settings};
use crate::restorer::Restorer;
use engine::interruptible;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The pixels that are restored at once, unless it is said how many photographs are.
const TOGETHER: usize = 1 << 19;

/// What the sides of small photographs are padded to, about.
const SMALLEST: usize = 64;

/// The work on photographs.
pub(super) struct Work<'a> {
    pub arguments: &'a Arguments,
    pub settings: &'a Settings,
    pub restorer: &'a Restorer,
}

impl Work<'_> {
    /// Does `jobs`, and calls `done` with the outcome of each. Unless it is said how many are done
    /// at once, small photographs come first, one on each thread, and then the others one by one.
    pub fn run(
        &self,
        jobs: &[Job],
        signals: &Signals,
        lines: &ReportLines,
        done: &(dyn Fn(&Job, &Result<JobReport>) + Sync),
    ) {
        let Self { arguments, settings, restorer } = *self;
        let work = |jobs: &[&Job], next: &AtomicUsize| {
            while !signals.are_there()
                && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let progress = |part| lines.progress(job, part);
                let result =
                    interruptible(&signals.stop, || job.run(restorer, settings, &progress));
                if result.as_ref().is_err_and(|error| error.is_interruption()) {
                    return;
                }
                done(job, &result);
            }
        };
        let threads = rayon::current_num_threads();
        let groups = match arguments.jobs {
            Some(at_once) => vec![(jobs.iter().collect(), usize::from(at_once))],
            None if arguments.compute.is_cpu() && threads > 1 && jobs.len() > 1 => {
                let (small, large): (Vec<_>, Vec<_>) =
                    jobs.iter().partition(|job| !signals.are_there() && is_small(job, threads));
                vec![(small, threads), (large, 1)]
            }
            None => vec![(jobs.iter().collect(), 1)],
        };
        for (jobs, at_once) in groups {
            let (next, at_once) = (AtomicUsize::new(0), at_once.min(jobs.len()));
            if at_once < 2 {
                work(&jobs, &next);
                continue;
            }
            // Each with threads of its own: shared, one job would wait inside another.
            let threads = (threads / at_once).max(1);
            std::thread::scope(|scope| {
                for _ in 0..at_once {
                    scope.spawn(|| {
                        match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
                            Ok(pool) => pool.install(|| work(&jobs, &next)),
                            Err(error) => complain!("--jobs {at_once}: {error}"),
                        }
                    });
                }
            });
        }
    }
}

/// Whether a photograph is so small that as many like it as there are threads take no more memory
/// than one large one. Such a photograph does not keep several threads busy.
fn is_small(job: &Job, threads: usize) -> bool {
    let side = |side: usize| side.max(SMALLEST);
    let size = Photo::size(&job.from);
    size.is_ok_and(|(width, height)| side(width) * side(height) * threads <= TOGETHER)
}
