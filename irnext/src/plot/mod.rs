//! Plots the curves of training runs from their logs ([`crate::train::log`]).
//!
//! One picture shows loss, validation scores, learning rate and gradient norm over steps, for one
//! run or for several in one plot. The typeface is built in.

mod axis;
mod curve;
mod draw;

use crate::error::{Error, Result};
use crate::image::{Image, Photo};
use crate::train::log::{
    METRICS,
    metrics::{self, Record},
};
use curve::Point;
use draw::{COLOURS, SIZE, figure};
use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};
use std::path::Path;

/// How much larger a picture is drawn than it is written, so that its lines are smooth.
const OVERSAMPLING: u32 = 2;

/// A run to show.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// Its log.
    pub records: Vec<Record>,
}

impl Run {
    /// Reads the log of the run in the folder `path`, or the log `path` itself.
    ///
    /// # Errors
    /// If it is none, or holds no step yet.
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
        Ok(Self { name, records })
    }

    /// One number of each record that has it, over its step. What is not finite is left out.
    fn points(&self, of: impl Fn(&Record) -> Option<f64>) -> Vec<Point> {
        let step = |record: &Record| match record {
            Record::Step(record) => record.step as f64,
            Record::Validation(record) => record.step as f64,
        };
        let point =
            |record: &Record| Some((step(record), of(record).filter(|value| value.is_finite())?));
        self.records.iter().filter_map(point).collect()
    }
}

/// Reads runs to show together; those of one name are called by their whole paths.
pub fn read(paths: &[impl AsRef<Path>]) -> Result<Vec<Run>> {
    if paths.len() > COLOURS.len() {
        let reason = format!(
            "{} runs are too many for one plot; the limit is {}",
            paths.len(),
            COLOURS.len()
        );
        return Err(Error::Config { reason });
    }
    let mut runs: Vec<Run> =
        paths.iter().map(|path| Run::read(path.as_ref())).collect::<Result<_>>()?;
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, path) in runs.iter_mut().zip(paths) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = path.as_ref().display().to_string();
        }
    }
    Ok(runs)
}

/// Whether `path` names a picture that [`write()`] can make: an .svg, or one that a photograph can
/// be written to.
pub fn check_writable(path: &Path) -> Result<()> {
    if is_svg(path) { Ok(()) } else { Photo::check_writable(path) }
}

/// Writes the picture of `runs` to `path`, in the format that its extension names.
pub fn write(runs: &[Run], path: &Path) -> Result<()> {
    if is_svg(path) {
        return nn::write_atomically(path, svg(runs)?.as_bytes()).map_err(Error::io(path));
    }
    Photo::new(image(runs)?).write(path)
}

fn is_svg(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"))
}

/// The picture of `runs` as pixels.
pub fn image(runs: &[Run]) -> Result<Image> {
    let (width, height) = SIZE;
    let large = (width * OVERSAMPLING, height * OVERSAMPLING);
    let mut pixels = vec![0u8; 3 * large.0 as usize * large.1 as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
    figure(&area, runs, OVERSAMPLING)?;
    drop(area);
    let data = pixels.iter().map(|&value| f32::from(value) / 255.0).collect();
    let large = Image { width: large.0 as usize, height: large.1 as usize, data };
    Ok(large.resize(width as usize, height as usize))
}

/// The picture of `runs` as SVG.
pub fn svg(runs: &[Run]) -> Result<String> {
    let mut text = String::new();
    figure(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), runs, 1)?;
    Ok(text)
}
