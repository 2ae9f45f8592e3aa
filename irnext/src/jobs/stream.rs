//! The work on a photograph in memory.

use super::work::{JobOutcome, JobReport, Settings, apply, passes, to_bytes};
use crate::error::{Error, Result};
use crate::image::{Format, Photo};
use crate::restorer::{Decision, Restorer};
use std::path::Path;
use std::time::Instant;

/// Restores the photograph in `bytes`, the contents of an image file, or leaves it alone. Returns
/// the bytes of a file in the format of the extension `format`, or in that of the photograph.
/// Errors call the photograph `name`.
///
/// # Errors
/// If it cannot be read, restored or written in this format.
pub fn restore_bytes(
    name: &Path,
    bytes: Vec<u8>,
    format: Option<&str>,
    restorer: &Restorer,
    settings: &Settings,
) -> Result<(Vec<u8>, JobReport)> {
    let start = Instant::now();
    let unreadable = |reason| Error::image(name, reason);
    let photo = Photo::from_bytes(&bytes, &settings.limits()).map_err(unreadable)?;
    let result = name.with_extension(format.unwrap_or_else(|| photo.output_extension()));
    let mut lost = Vec::new();
    let mut report = JobReport {
        outcome: JobOutcome::Restored,
        to: None,
        task: None,
        classification: None,
        size: (photo.rgb.width, photo.rgb.height),
        time: start.elapsed(),
        notes: Vec::new(),
    };
    let bytes = match restorer.decide(&photo.visible())? {
        Decision::Restore(restoration) => {
            let restored = apply(&restoration, &photo, settings, &|_| ())?;
            let (bytes, left_out) = to_bytes(&restored, &result, settings)?;
            lost.extend(restored.notes.into_iter().chain(left_out));
            report.task = Some(restoration.task.into());
            report.classification = restoration.classification;
            bytes
        }
        Decision::LeaveAlone(classification) => {
            report.classification = Some(classification);
            lost.clone_from(&photo.notes);
            if passes(&photo, Format::of(&result)?, settings) {
                report.outcome = JobOutcome::Copied;
                bytes
            } else {
                report.outcome = JobOutcome::Converted;
                let (bytes, left_out) = to_bytes(&photo, &result, settings)?;
                lost.extend(left_out);
                bytes
            }
        }
    };
    report.notes = lost.iter().map(ToString::to_string).collect();
    report.time = start.elapsed();
    Ok((bytes, report))
}
