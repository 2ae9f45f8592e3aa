//! The work on one photograph: reading, restoring, writing.

use super::naming::compared;
use super::picture::{mix, side_by_side};
use super::place::Place;
use super::plan::Job;
use super::whole::check_whole;
use crate::classify::Classification;
use crate::error::{Error, Result};
use crate::gallery::Pictures;
use crate::image::{Format, Limits, Note, Photo, WriteOptions};
use crate::restore::Effect;
use crate::restorer::{Decision, Restoration, Restorer};
use std::fs::{self, Metadata};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The strengths of a restoration.
pub const STRENGTHS: RangeInclusive<f32> = 0.0..=1.5;

/// How photographs are restored and written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much of the restoration is applied: 0 nothing, 1 all, up to 1.5 more than that
    /// ([`STRENGTHS`]).
    pub strength: f32,
    /// Whether to write a picture with the photograph and its restored version side by side.
    pub compare: bool,
    /// Whether the report on a photograph has pictures of it.
    pub pictures: bool,
    /// Whether the effect has NIQE before and after.
    pub niqe: bool,
    /// Whether existing files are replaced.
    pub overwrite: bool,
    /// Whether to restore the readable part of a truncated photograph.
    pub keep_going: bool,
    /// Whether a photograph that is not whole is an error of its own kind,
    /// [`Unfinished`](Error::Unfinished): it may still be arriving.
    pub only_whole: bool,
    /// How files are written.
    pub write: WriteOptions,
}

impl Settings {
    /// The file to read.
    pub(super) fn limits(&self) -> Limits {
        let keep_going = self.keep_going && !self.only_whole;
        Limits { keep_going, keep_going_option: Some("--keep-going"), ..Limits::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let write = WriteOptions::default();
        Self {
            strength: 1.0,
            compare: false,
            pictures: false,
            niqe: false,
            overwrite: false,
            keep_going: false,
            only_whole: false,
            write,
        }
    }
}

/// The outcome for a photograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It was restored.
    Restored,
    /// It was left alone, and nothing was written.
    LeftAlone,
    /// It was left alone, and its file copied.
    Copied,
    /// It was left alone, and written in another format or without metadata.
    Converted,
    /// It had been restored before, and the picture that compares it with its result was made.
    Compared,
}

/// What became of a photograph.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The outcome.
    pub outcome: JobOutcome,
    /// The file that was written.
    pub to: Option<PathBuf>,
    /// The task that restored it.
    pub task: Option<String>,
    /// The degradation that was detected; none if the task was given.
    pub classification: Option<Classification>,
    /// Width and height, in pixels.
    pub size: (usize, usize),
    /// The measured effect of the restoration.
    pub effect: Option<Effect>,
    /// Pictures of it before and after, if [`Settings::pictures`] asks for them.
    pub pictures: Option<Pictures>,
    /// How long it took.
    pub time: Duration,
    /// Further remarks.
    pub notes: Vec<String>,
}

impl Job {
    /// Restores the photograph, or leaves it alone. `progress` hears what part of the work on a
    /// large one is done, from 0 to 1.
    ///
    /// # Errors
    /// If it cannot be read or restored, or the result cannot be written. Then nothing is left of
    /// the result.
    pub fn run(
        &self,
        restorer: &Restorer,
        settings: &Settings,
        progress: &dyn Fn(f64),
    ) -> Result<JobReport> {
        let start = Instant::now();
        if let Some(result) = &self.compare_with {
            return self.compare(result, settings, start);
        }
        let metadata = fs::metadata(&self.from).map_err(cannot_read(&self.from))?;
        // What does not fit is refused before memory is taken for it.
        if let Ok(size) = Photo::size(&self.from) {
            restorer.check_memory(size)?;
        }
        let photo = read(&self.from, settings)?;
        if settings.only_whole {
            check_whole(&self.from, &metadata, &photo)?;
        }
        let size = photo.sides();
        let decision = restorer.decide(&photo.visible())?;
        let mut effect = None;
        let pictures;
        let pictured = |after: Option<&Photo>| match settings.pictures {
            true => Pictures::of(&photo.pixels, after.map(|after| &after.pixels), None).map(Some),
            false => Ok(None),
        };
        let (outcome, to, task, classification, notes) = match decision {
            Decision::Restore(restoration) => {
                let file = self.to.file(restoration.task);
                let take = |path: &Path| {
                    let place = Place::take(path, &metadata, settings.overwrite)?;
                    place.hold(least(&photo, &metadata, Format::of(path)?))
                };
                let (place, beside) = (take(&file)?, compared(&file));
                let comparison = settings.compare.then(|| take(&beside)).transpose()?;
                let (restored, measured) = apply(&restoration, &photo, settings, progress)?;
                effect = Some(measured);
                pictures = pictured(Some(&restored))?;
                let both = comparison.map(|comparison| {
                    let both = side_by_side(&photo, &restored);
                    Ok::<_, Error>((comparison, to_bytes(&both, &beside, settings)?.0))
                });
                let both = both.transpose()?;
                // A large one takes much memory.
                drop(photo);
                let (bytes, lost) = to_bytes(&restored, &file, settings)?;
                // All that can fail was done before.
                place.fill(&bytes, &metadata)?;
                if let Some((comparison, bytes)) = both {
                    comparison.fill(&bytes, &metadata)?;
                }
                let (task, seen) = (restoration.task.to_string(), restoration.classification);
                (JobOutcome::Restored, Some(file), Some(task), seen, [restored.notes, lost])
            }
            Decision::LeaveAlone(seen) => {
                pictures = pictured(None)?;
                let (outcome, to, lost) = self.leave_alone(&photo, &metadata, settings)?;
                let mut notes = photo.notes;
                // A copy of the file has all that is in it.
                let is_kept = |note: &Note| matches!(note, Note::FirstOf(_) | Note::VideoLeftOut);
                notes.retain(|note| outcome != JobOutcome::Copied || !is_kept(note));
                (outcome, to, None, Some(seen), [notes, lost])
            }
        };
        let notes = notes.iter().flatten().map(ToString::to_string).collect();
        let time = start.elapsed();
        Ok(JobReport { outcome, to, task, classification, size, effect, pictures, time, notes })
    }

    /// Makes the picture that compares the photograph with its existing `result`.
    fn compare(&self, result: &Path, settings: &Settings, start: Instant) -> Result<JobReport> {
        let metadata = fs::metadata(&self.from).map_err(cannot_read(&self.from))?;
        let (photo, restored) = (read(&self.from, settings)?, read(result, settings)?);
        let size = photo.sides();
        if size != restored.sides() {
            let from = nn::shown(&self.from);
            let reason = format!(
                "cannot be compared with {from}, which has another size; --overwrite replaces it"
            );
            return Err(Error::image(result, reason));
        }
        let beside = compared(result);
        let place = Place::take(&beside, &metadata, settings.overwrite)?;
        let both = side_by_side(&photo, &restored);
        let (bytes, lost) = to_bytes(&both, &beside, settings)?;
        place.fill(&bytes, &metadata)?;
        Ok(JobReport {
            outcome: JobOutcome::Compared,
            to: Some(beside),
            task: None,
            classification: None,
            size,
            effect: None,
            pictures: match settings.pictures {
                true => Some(Pictures::of(&photo.pixels, Some(&restored.pixels), None)?),
                false => None,
            },
            time: start.elapsed(),
            notes: lost.iter().map(ToString::to_string).collect(),
        })
    }

    /// Puts a photograph that needs no restoration where its result was expected, if anywhere.
    fn leave_alone(
        &self,
        photo: &Photo,
        metadata: &Metadata,
        settings: &Settings,
    ) -> Result<(JobOutcome, Option<PathBuf>, Vec<Note>)> {
        if !self.copy {
            return Ok((JobOutcome::LeftAlone, None, Vec::new()));
        }
        let to = self.to.file("");
        let place = Place::take(&to, metadata, settings.overwrite)?;
        if passes(photo, Format::of(&to)?, settings) {
            place.fill(&fs::read(&self.from).map_err(cannot_read(&self.from))?, metadata)?;
            return Ok((JobOutcome::Copied, Some(to), Vec::new()));
        }
        let (bytes, lost) = to_bytes(photo, &to, settings)?;
        place.fill(&bytes, metadata)?;
        Ok((JobOutcome::Converted, Some(to), lost))
    }
}

/// The bytes that the result in `format` will have at least, about: half as many as the photograph,
/// or one for eight pixels, which is a JPEG of no great quality.
fn least(photo: &Photo, metadata: &Metadata, format: Format) -> u64 {
    let of_pixels = (photo.pixels.width * photo.pixels.height / 8) as u64;
    match photo.source {
        Some(source) if source.kind == format.kind() => metadata.len() / 2,
        _ => of_pixels.min(metadata.len()),
    }
}

/// Whether the file of a photograph that is left alone can stand for the result in `format`.
pub(super) fn passes(photo: &Photo, format: Format, settings: &Settings) -> bool {
    !settings.write.strip && photo.source.is_some_and(|source| source.kind == format.kind())
}

/// The restored photograph, at the strength of `settings`, and the effect. Signs of harm are among
/// its notes.
pub(super) fn apply(
    restoration: &Restoration<'_>,
    photo: &Photo,
    settings: &Settings,
    progress: &dyn Fn(f64),
) -> Result<(Photo, Effect)> {
    let mut restored = restoration.apply_reporting(photo, progress)?;
    mix(&photo.pixels, &mut restored.pixels, settings.strength);
    let mut effect = Effect::of(&photo.pixels, &restored.pixels);
    if settings.niqe {
        effect = effect.with_niqe(&photo.pixels, &restored.pixels);
    }
    restored.notes.extend(effect.harm());
    Ok((restored, effect))
}

/// The bytes of the file `path`, in the format of its extension, and the losses of that format.
pub(super) fn to_bytes(
    photo: &Photo,
    path: &Path,
    settings: &Settings,
) -> Result<(Vec<u8>, Vec<Note>)> {
    let format = Format::of(path)?;
    photo.to_bytes(format, &settings.write).map_err(|reason| Error::image(path, reason))
}

fn read(path: &Path, settings: &Settings) -> Result<Photo> {
    let photo = Photo::read_within(path, &settings.limits());
    let photo = photo.map_err(|error| match error {
        Error::Io { path, source } => cannot_read(&path)(source),
        error => error,
    });
    // Some systems lock a file while it is written.
    photo.map_err(|error| match error {
        Error::Image { path, reason } if settings.only_whole => Error::Unfinished { path, reason },
        error => error,
    })
}

fn cannot_read(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::image(path, format!("cannot be read: {}", Error::words(&error)))
}
