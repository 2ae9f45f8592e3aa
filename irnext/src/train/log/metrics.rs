//! `metrics.jsonl`: a JSON object per line, one for each step and each validation.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LogRecord {
    /// A step was taken.
    Step(StepRecord),
    /// The validation pairs were scored.
    Validation(ValidationRecord),
}

/// A step. Numbers that are not finite are written as `null` and read as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its number, from 1.
    pub step: u64,
    /// When it was done, seconds since 1970.
    pub time: f64,
    /// Equation 10.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Equation 8.
    #[serde(deserialize_with = "number")]
    pub spatial: f64,
    /// Equation 9, before it is multiplied with λ.
    #[serde(deserialize_with = "number")]
    pub frequency: f64,
    /// The learning rate.
    #[serde(deserialize_with = "number")]
    pub learning_rate: f64,
    /// The gradients' global norm before clipping.
    #[serde(deserialize_with = "number")]
    pub gradient_norm: f64,
    /// Training images per second, including the time waiting for data but not validation.
    #[serde(deserialize_with = "number")]
    pub images_per_second: f64,
    /// Whether the parameters were left alone because the loss was not finite.
    pub skipped: bool,
}

/// A validation: mean scores of the pairs, restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Steps taken before it.
    pub step: u64,
    /// When it was done, seconds since 1970.
    pub time: f64,
    /// Decibels.
    #[serde(deserialize_with = "number")]
    pub psnr: f64,
    /// At most 1.
    #[serde(deserialize_with = "number")]
    pub ssim: f64,
}

/// JSON has no NaN.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The file, at its end.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens or begins the file of a run that has taken `step` steps, and cuts off what belongs to
    /// later ones, or was not written to its end.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let kept = if path.exists() { length_until(path, step)? } else { 0 };
        let open = || -> std::io::Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            file.set_len(kept)?;
            Ok(file)
        };
        Ok(Self { path: path.into(), file: open().map_err(Error::io(path))? })
    }

    /// Writes a line.
    pub fn write(&mut self, record: &LogRecord) -> Result<()> {
        // In one piece, so that a process that dies leaves whole lines.
        let line = serde_json::to_string(record)
            .map_err(|error| Error::data(&self.path, error.to_string()))?
            + "\n";
        self.file.write_all(line.as_bytes()).map_err(Error::io(&self.path))
    }
}

/// The length in bytes of the lines of the first `step` steps.
fn length_until(path: &Path, step: u64) -> Result<u64> {
    #[derive(Deserialize)]
    struct StepOnly {
        step: u64,
    }
    let mut kept = 0;
    for_each_line(path, |line| {
        let of: StepOnly = serde_json::from_slice(line)?;
        let keep = of.step <= step;
        kept += if keep { line.len() as u64 } else { 0 };
        Ok(keep)
    })?;
    Ok(kept)
}

/// Reads a file, even while it is being written.
pub fn read(path: &Path) -> Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    for_each_line(path, |line| {
        records.push(serde_json::from_slice(line)?);
        Ok(true)
    })?;
    Ok(records)
}

/// Calls `see` with each line, until it returns false. A last line without a line end is incomplete
/// and is left out.
fn for_each_line(
    path: &Path,
    mut see: impl FnMut(&[u8]) -> serde_json::Result<bool>,
) -> Result<()> {
    let mut reader = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(Error::io(path))?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        number += 1;
        let refuse = |error| {
            Error::data(path, format!("line {number} is not a record of a training run: {error}"))
        };
        if !see(&line).map_err(refuse)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> StepRecord {
        StepRecord {
            step,
            time: 1e9 + 0.25,
            loss: 1.0 / step as f64,
            spatial: 0.5,
            frequency: 0.1,
            learning_rate: 1e-4,
            gradient_norm: 0.3,
            images_per_second: 3.0,
            skipped: false,
        }
    }

    fn validation(step: u64) -> ValidationRecord {
        ValidationRecord { step, time: 1e9, psnr: 20.0, ssim: 0.5 }
    }

    /// A file with five steps, and a validation after the third.
    fn five(path: &Path) -> Vec<LogRecord> {
        let mut records: Vec<LogRecord> = (1..=5).map(|i| LogRecord::Step(step(i))).collect();
        records.insert(3, LogRecord::Validation(validation(3)));
        let mut metrics = Metrics::open(path, 0).unwrap();
        records.iter().for_each(|record| metrics.write(record).unwrap());
        records
    }

    #[test]
    fn written_files_read_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        assert_eq!(five(&path), read(&path).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let line = r#"{"kind":"validation","step":3,"time":1000000000.0,"psnr":20.0,"ssim":0.5}"#;
        assert_eq!(text.lines().nth(3), Some(line));
        // A number that is not finite is null.
        let mut metrics = Metrics::open(&path, 5).unwrap();
        metrics
            .write(&LogRecord::Step(StepRecord {
                loss: f64::NAN,
                gradient_norm: f64::INFINITY,
                ..step(6)
            }))
            .unwrap();
        let Some(LogRecord::Step(last)) = read(&path).unwrap().pop() else {
            panic!("the last line is not a step")
        };
        assert!(last.loss.is_nan() && last.gradient_norm.is_nan() && last.spatial == 0.5);
    }

    #[test]
    fn a_resumed_run_has_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let records = five(&path);
        // Stopped in the middle of a line; the checkpoint is that of step 3.
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(&br#"{"kind":"step","step":6,"ti"#[..]);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let mut metrics = Metrics::open(&path, 3).unwrap();
        assert_eq!(read(&path).unwrap(), records[..4]);
        metrics.write(&records[4]).unwrap();
        assert_eq!(read(&path).unwrap(), records[..5]);
        // The half line alone goes, if the checkpoint is newer than all of it.
        std::fs::write(&path, &text).unwrap();
        Metrics::open(&path, 9).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text[..text.len() - 27]);
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"kind\":\"step\"}\nshopping list\n").unwrap();
        let error = Metrics::open(&path, 9).err().unwrap().to_string();
        assert!(
            error.contains(
                "metrics.jsonl: line 1 is not a record of a training run: missing field `step`"
            ),
            "{error}"
        );
        assert!(read(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap().len(), 30);
    }

    /// Linux has a device that is always full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_with_the_path() {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let error =
            Metrics { path, file }.write(&LogRecord::Validation(validation(1))).unwrap_err();
        assert!(error.to_string().starts_with("/dev/full: the disk is full"), "{error}");
    }
}
