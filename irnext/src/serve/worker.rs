//! The thread that restores.

use super::parameters::Parameters;
use super::queue::{Finished, QueuedPhoto, Update};
use crate::error::{Error, Result};
use crate::image::{Format, Photo, WriteOptions};
use crate::jobs::{JobReport, RestoredBytes, restore_bytes};
use crate::restorer::Restorer;
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
    restorer: &Restorer,
    stop: &AtomicBool,
    report: &dyn Fn(Result<&JobReport, &Error>),
) {
    for job in jobs {
        // Otherwise its client left.
        let Some((photo, slot)) = job.take() else { continue };
        if stop.load(Ordering::Relaxed) {
            job.tell(Update::Refused);
            continue;
        }
        job.tell(Update::Progress(0.0));
        // A fault in one photograph must not end the server. If its client leaves, the next
        // operation ends the work.
        let work = || interruptible(&job.abandoned, || restore(&job, photo, restorer));
        let finished = catch_unwind(AssertUnwindSafe(work));
        let finished =
            finished.unwrap_or_else(|_| Err(Error::image(Path::new(NAME), "cannot be restored")));
        match &finished {
            Ok(finished) => report(Ok(&finished.report)),
            Err(error) if error.is_interruption() => {}
            Err(error) => report(Err(error)),
        }
        // Whoever gets the last news finds the slot free.
        drop(slot);
        job.tell(Update::Done(Box::new(finished)));
    }
}

fn restore(job: &QueuedPhoto, photo: Vec<u8>, restorer: &Restorer) -> Result<Finished> {
    let parameters = &job.parameters;
    let progress = |part| job.tell(Update::Progress(part));
    let Parameters { task, format, settings, .. } = parameters;
    let (name, format) = (Path::new(NAME), format.as_deref());
    let restored = restore_bytes(name, photo, format, restorer, *task, settings, &progress)?;
    let RestoredBytes { bytes, format, report, photo, restored } = restored;
    let pictures = [("before", Some(&photo)), ("after", restored.as_ref())];
    let pictures = pictures.into_iter().filter(|_| parameters.preview);
    let previews = pictures.filter_map(|(which, photo)| {
        let (format, bytes) = picture(photo?)?;
        Some((which, format, bytes))
    });
    Ok(Finished { bytes, format, report, previews: previews.collect() })
}

/// A photograph in a format that every browser shows; none if it cannot be made.
fn picture(photo: &Photo) -> Option<(Format, Vec<u8>)> {
    let format = if photo.is_transparent() { Format::Png } else { Format::Jpeg };
    let options = WriteOptions { strip: true, ..WriteOptions::default() };
    let (bytes, _) = photo.to_bytes(format, &options).ok()?;
    Some((format, bytes))
}
