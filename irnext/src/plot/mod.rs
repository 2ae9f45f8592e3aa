//! Plots the curves of training runs from their logs ([`crate::train::log`]).
//!
//! One picture shows loss, validation scores, learning rate and gradient norm over steps, for one
//! run or for several in one plot. The typeface is built in. A page ([`page()`]) has samples of the
//! pairs over time, too.

mod axis;
mod curve;
mod draw;
mod page;
mod run;

pub use page::{PAGE, page, write_page};
pub use run::Run;

use crate::error::{Error, Result};
use crate::image::{Image, Photo};
use draw::{COLORS, SIZE, figure};
use nn::shown;
use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};
use std::path::Path;

/// The factor by which a picture is drawn larger than it is written, so that its lines are smooth.
const OVERSAMPLING: u32 = 2;

/// Reads runs to show together. Runs of the same name are labeled by their whole paths.
pub fn read(paths: &[impl AsRef<Path>]) -> Result<Vec<Run>> {
    if paths.len() > COLORS.len() {
        let reason = format!(
            "{} runs are too many for one plot; the limit is {}",
            paths.len(),
            COLORS.len()
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

/// Checks that `path` names a file that [`write()`] can make: an .html, an .svg, or an image format
/// that can be written.
pub fn check_writable(path: &Path) -> Result<()> {
    if is(path, "svg") || is(path, "html") || Photo::check_writable(path).is_ok() {
        return Ok(());
    }
    let reason = "is no file that curves can be written to: its name should end in .html, .svg, or \
                  the extension of an image such as .png or .jpg";
    Err(Error::Config { reason: format!("{} {reason}", shown(&path)) })
}

/// Writes the picture or the page of `runs` to `path`, in the format that its extension names.
pub fn write(runs: &[Run], path: &Path) -> Result<()> {
    let text = match path {
        path if is(path, "svg") => svg(runs)?.into_bytes(),
        path if is(path, "html") => page(runs)?,
        path => return Photo::new(image(runs)?).write(path).map(|_| ()),
    };
    nn::write_atomically(path, &text).map_err(Error::io(path))
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
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
    large.resize(width as usize, height as usize)
}

/// The picture of `runs` as SVG.
pub fn svg(runs: &[Run]) -> Result<String> {
    let mut text = String::new();
    figure(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), runs, 1)?;
    Ok(text)
}
