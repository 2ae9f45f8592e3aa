//! The work on a photograph in memory.

use super::contents::{extension_of_bytes, same_format};
use super::work::{Outcome, Report, Settings, apply, to_bytes};
use crate::error::{Error, Result};
use crate::image::{Limits, Photo};
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
) -> Result<(Vec<u8>, Report)> {
    let start = Instant::now();
    let photo = Photo::from_bytes(&bytes, &Limits::default())
        .map_err(|reason| Error::image(name, reason))?;
    let own = extension_of_bytes(&bytes);
    let format = format.or(own).unwrap_or("png");
    let write = |photo: &Photo| to_bytes(photo, &name.with_extension(format), settings);
    let mut report = Report {
        outcome: Outcome::Restored,
        to: None,
        task: None,
        classification: None,
        size: (photo.rgb.width, photo.rgb.height),
        time: start.elapsed(),
        notes: Vec::new(),
    };
    let bytes = match restorer.decide(&photo.rgb)? {
        Decision::Restore(restoration) => {
            let restored = apply(&restoration, &photo, settings, &|_| ())?;
            report.task = Some(restoration.task.into());
            report.classification = restoration.classification;
            let (bytes, lost) = write(&restored)?;
            report.notes = restored.notes.iter().chain(&lost).map(ToString::to_string).collect();
            bytes
        }
        Decision::LeaveAlone(classification) => {
            report.classification = Some(classification);
            let same = own.is_some_and(|own| same_format(own, format));
            report.outcome = if same { Outcome::Copied } else { Outcome::Converted };
            if same { bytes } else { write(&photo)?.0 }
        }
    };
    report.time = start.elapsed();
    Ok((bytes, report))
}
