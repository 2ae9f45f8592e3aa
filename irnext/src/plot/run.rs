//! A training run, read from its log.

use super::curve::Point;
use crate::error::{Error, Result};
use crate::train::log::{
    METRICS,
    metrics::{self, LogRecord},
};
use std::path::{Path, PathBuf};

/// A run to show.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its label.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its log.
    pub records: Vec<LogRecord>,
}

impl Run {
    /// Reads the log of the run in the folder `path`, or the log `path` itself.
    ///
    /// # Errors
    /// If it is none, or has no steps yet.
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join(METRICS) } else { path.to_owned() };
        if path.is_dir() && !file.exists() {
            let reason = format!("is not the folder of a training run: it has no {METRICS}");
            return Err(Error::data(path, reason));
        }
        let records = metrics::read(&file)?;
        if records.is_empty() {
            return Err(Error::data(&file, "has no steps yet"));
        }
        // `runs/a/.` and `.` have names, too.
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = if path.is_dir() { Some(full.as_path()) } else { full.parent() };
        let name = folder
            .and_then(Path::file_name)
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        Ok(Self { name, folder, records })
    }

    /// A number of each record that has it, by step. Values that are not finite are left out.
    pub(super) fn points(&self, of: impl Fn(&LogRecord) -> Option<f64>) -> Vec<Point> {
        let step = |record: &LogRecord| match record {
            LogRecord::Step(record) => record.step as f64,
            LogRecord::Validation(record) => record.step as f64,
        };
        let point = |record: &LogRecord| {
            Some((step(record), of(record).filter(|value| value.is_finite())?))
        };
        self.records.iter().filter_map(point).collect()
    }

    /// The step and the PSNR of the best validation.
    pub(super) fn best(&self) -> Option<Point> {
        let psnr = |record: &LogRecord| match record {
            LogRecord::Validation(record) => Some(record.psnr),
            LogRecord::Step(_) => None,
        };
        self.points(psnr).into_iter().max_by(|a, b| a.1.total_cmp(&b.1))
    }
}
