//! The log of a run, to be watched from outside.
//!
//! `metrics.jsonl` holds every step and validation as a line of JSON ([`metrics`], which
//! `irnext::plot` draws). `events/` holds the same in the files that TensorBoard reads
//! ([`events`]), with a few validation pairs as pictures ([`ValidationPicture`]). Every line and
//! every record is passed to the operating system at once, so a run that is killed has lost none of
//! them. `samples/` holds pictures of the same few pairs over time ([`samples`]).
//!
//! A run that resumes from a checkpoint repeats steps that it had logged before it was stopped. The
//! earlier records are cut off from the metrics, and TensorBoard is told to forget them, so each
//! step appears once in either.

pub mod events;
pub mod metrics;
mod sample;
pub mod samples;

pub use sample::{SHOWN, ValidationPicture};

use super::{Step, Validation};
use crate::error::Result;
use events::EventFile;
use metrics::{LogRecord, Metrics, StepRecord, ValidationRecord};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The metrics' name in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// The folder of TensorBoard's files in a run's folder.
pub const EVENTS: &str = "events";

/// Writes a run's log.
pub struct RunLog {
    metrics: Metrics,
    folder: PathBuf,
    /// The step after those that the run had taken.
    first: u64,
    /// Begun with the first record, so that a run that is complete leaves no empty ones.
    events: Option<EventFile>,
}

impl RunLog {
    /// The log of the run in the folder `out`, which has taken `step` steps; records of later steps
    /// are dropped.
    pub fn open(out: &Path, step: u64) -> Result<Self> {
        let metrics = Metrics::open(&out.join(METRICS), step)?;
        Ok(Self { metrics, folder: out.join(EVENTS), first: step + 1, events: None })
    }

    fn events(&mut self) -> Result<&mut EventFile> {
        match &mut self.events {
            Some(events) => Ok(events),
            none => Ok(none.insert(EventFile::create(&self.folder, now(), self.first)?)),
        }
    }

    /// Writes a step. `throughput` is in images per second.
    pub fn step(&mut self, step: &Step, throughput: f64) -> Result<()> {
        let &Step { step, loss, spatial, frequency, rate, gradient_norm, skipped } = step;
        let time = now();
        self.events()?.scalars(
            step,
            time,
            &[
                ("loss/total", loss),
                ("loss/spatial", spatial),
                ("loss/frequency", frequency),
                ("train/learning_rate", rate),
                ("train/gradient_norm", gradient_norm),
                ("train/images_per_second", throughput),
            ],
        )?;
        self.metrics.write(&LogRecord::Step(StepRecord {
            step,
            time,
            loss,
            spatial,
            frequency,
            learning_rate: rate,
            gradient_norm,
            images_per_second: throughput,
            skipped,
        }))
    }

    /// Writes a validation, and the pictures of some of its pairs.
    pub fn validation(
        &mut self,
        validation: &Validation,
        samples: &[ValidationPicture],
    ) -> Result<()> {
        let &Validation { step, psnr, ssim, .. } = validation;
        let time = now();
        self.events()?.scalars(
            step,
            time,
            &[("validation/psnr", psnr), ("validation/ssim", ssim)],
        )?;
        for ValidationPicture { name, image } in samples {
            self.events()?.image(step, time, &format!("samples/{name}"), image)?;
        }
        self.metrics.write(&LogRecord::Validation(ValidationRecord { step, time, psnr, ssim }))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
