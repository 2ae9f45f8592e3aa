//! The work on a photograph in memory.

use super::work::{JobOutcome, JobReport, Settings, apply, passes, to_bytes};
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::image::{Format, Photo};
use crate::restorer::{Decision, Restorer};
use std::path::Path;
use std::time::Instant;

/// The result for a photograph in memory.
#[derive(Clone, Debug)]
pub struct RestoredBytes {
    /// The contents of its file.
    pub bytes: Vec<u8>,
    /// The format of the file.
    pub format: Format,
    /// What became of the photograph.
    pub report: JobReport,
    /// The photograph as it was read.
    pub photo: Photo,
    /// The restored photograph; none if it was left alone.
    pub restored: Option<Photo>,
}

/// Restores the photograph in `bytes`, the contents of an image file, or leaves it alone; for
/// `task`, if there is one, it is not left alone. The result is a file in the format of the
/// extension `format`, or in that of the photograph. Errors call the photograph `name`. `progress`
/// gets the finished part of the work on a large photograph,
/// from 0 to 1.
///
/// # Errors
/// If it cannot be read, restored or written in this format.
pub fn restore_bytes(
    name: &Path,
    bytes: Vec<u8>,
    format: Option<&str>,
    restorer: &Restorer,
    task: Option<Task>,
    settings: &Settings,
    progress: &dyn Fn(f64),
) -> Result<RestoredBytes> {
    let start = Instant::now();
    let unreadable = |reason| Error::image(name, reason);
    if let Ok(size) = Photo::size_of_bytes(&bytes) {
        restorer.check_memory(size)?;
    }
    let photo = Photo::from_bytes(&bytes, &settings.limits()).map_err(unreadable)?;
    let result = name.with_extension(format.unwrap_or_else(|| photo.output_extension()));
    let format = Format::of(&result)?;
    let decision = match task {
        Some(task) => Decision::Restore(restorer.restoration_for(task)?),
        None => restorer.decide(&photo.visible())?,
    };
    let (bytes, outcome, task, classification, notes, restored) = match decision {
        Decision::Restore(restoration) => {
            let (after, effect) = apply(&restoration, &photo, settings, progress)?;
            let (bytes, lost) = to_bytes(&after, &result, settings)?;
            let (task, seen) = (Some(restoration.task.into()), restoration.classification);
            let notes = [after.notes.clone(), lost];
            (bytes, JobOutcome::Restored, task, seen, notes, Some((after, effect)))
        }
        Decision::LeaveAlone(seen) => {
            let (outcome, (bytes, lost)) = match passes(&photo, format, settings) {
                true => (JobOutcome::Copied, (bytes, Vec::new())),
                false => (JobOutcome::Converted, to_bytes(&photo, &result, settings)?),
            };
            (bytes, outcome, None, Some(seen), [photo.notes.clone(), lost], None)
        }
    };
    let report = JobReport {
        outcome,
        to: None,
        task,
        classification,
        size: photo.sides(),
        effect: restored.as_ref().map(|(_, effect)| *effect),
        pictures: None,
        time: start.elapsed(),
        notes: notes.iter().flatten().map(ToString::to_string).collect(),
    };
    let restored = restored.map(|(photo, _)| photo);
    Ok(RestoredBytes { bytes, format, report, photo, restored })
}
