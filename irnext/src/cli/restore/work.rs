//! Does the jobs, one or several at a time, until they are done or a signal stops them.

use super::arguments::Arguments;
use super::lines::Lines;
use crate::cli::output::complain;
use crate::cli::signals::Signals;
use crate::jobs::{Job, Summary};
use crate::restorer::Restorer;
use engine::interruptible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `jobs`, reports each, and counts it in `summary`.
pub(super) fn run(
    jobs: &[Job],
    arguments: &Arguments,
    restorer: &Restorer,
    signals: &Signals,
    lines: &Lines,
    summary: &mut Summary,
) {
    let (next, settings) = (AtomicUsize::new(0), arguments.settings());
    let summary = Mutex::new(summary);
    let work = || {
        while !signals.are_there()
            && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let progress = |part| lines.progress(job, part);
            let result = interruptible(&signals.stop, || job.run(restorer, &settings, &progress));
            if result.as_ref().is_err_and(|error| error.is_interruption()) {
                return;
            }
            lines.tell(job, &result);
            if let Ok(mut summary) = summary.lock() {
                summary.count(result.as_ref().ok());
            }
        }
    };
    let at_once = usize::from(arguments.jobs.unwrap_or(1)).min(jobs.len());
    if at_once < 2 {
        return work();
    }
    // Each with threads of its own: shared, one job would wait inside another.
    let threads = (rayon::current_num_threads() / at_once).max(1);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
                Ok(pool) => pool.install(work),
                Err(error) => complain!("--jobs {at_once}: {error}"),
            });
        }
    });
}
