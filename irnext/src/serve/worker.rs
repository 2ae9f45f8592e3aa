//! The thread that restores.

use super::queue::{QueuedPhoto, Update};
use super::restorers::Restorers;
use crate::error::{Error, Result};
use crate::jobs::{JobReport, RestoredBytes, restore_bytes};
use engine::interruptible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

/// Errors call each photograph so: its name is not sent.
const NAME: &str = "the photo";

/// Restores the photographs of `jobs` until no more can come. Once `stop` is set, those that wait
/// are refused.
pub(super) fn work(
    jobs: Receiver<QueuedPhoto>,
    restorers: &Restorers,
    stop: &AtomicBool,
    report: &dyn Fn(Result<&JobReport, &Error>),
) {
    for mut job in jobs {
        if job.is_abandoned() {
            continue;
        }
        if stop.load(Ordering::Relaxed) {
            job.end(Update::Refused);
            continue;
        }
        job.tell(Update::Progress(0.0));
        let restored = restore(&mut job, restorers);
        match &restored {
            Ok(restored) => report(Ok(&restored.report)),
            // The client left.
            Err(error) if error.is_interruption() => {}
            Err(error) => report(Err(error)),
        }
        job.end(Update::Done(Box::new(restored)));
    }
}

/// The restored photograph of a job. If its client leaves, the next operation ends the work.
fn restore(job: &mut QueuedPhoto, restorers: &Restorers) -> Result<RestoredBytes> {
    let photo = std::mem::take(&mut job.photo);
    let (parameters, job) = (&job.parameters, &*job);
    let work = || {
        let restorer = restorers.get(parameters.task)?;
        let progress = |part| job.tell(Update::Progress(part));
        let (name, format) = (Path::new(NAME), parameters.format.as_deref());
        restore_bytes(name, photo, format, restorer, &parameters.settings, &progress)
    };
    // A fault in one photograph must not end the server.
    let caught = catch_unwind(AssertUnwindSafe(|| interruptible(&job.abandoned, work)));
    caught.unwrap_or_else(|_| Err(Error::image(Path::new(NAME), "cannot be restored")))
}
