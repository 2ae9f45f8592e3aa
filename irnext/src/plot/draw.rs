//! The picture: a heading with a legend, the loss across it, four smaller panels below.

use super::axis::{Axis, AxisScale};
use super::curve::{Point, smoothed, thinned};
use super::run::Run;
use crate::error::{Error, Result};
use crate::train::log::metrics::{LogRecord, StepRecord, ValidationRecord};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height of a picture, pixels.
pub const SIZE: (u32, u32) = (1600, 1200);

/// A color for each run: those of Okabe and Ito, which color-blind people can tell apart, and two
/// more.
pub const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(150, 75, 20),
];

const TEXT: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(120, 126, 136);
const GRID: RGBColor = RGBColor(228, 231, 236);

/// The typeface, by its name in an SVG, where the reader's own font is used.
const TYPEFACE: &str = "sans-serif";

/// The number of columns of a curve, each with two points.
const COLUMNS: usize = 800;

/// The contents of one panel.
pub struct Panel {
    pub title: &'static str,
    of: fn(&LogRecord) -> Option<f64>,
    scale: AxisScale,
    /// Whether steps differ enough that their mean is drawn over them.
    noisy: bool,
}

const LOSS: Panel =
    Panel { title: "Loss", of: |r| Some(step(r)?.loss), scale: AxisScale::Log, noisy: true };

const SMALL: [Panel; 4] = [
    Panel {
        title: "Validation PSNR, dB",
        of: |r| Some(validation(r)?.psnr),
        scale: AxisScale::Linear,
        noisy: false,
    },
    Panel {
        title: "Validation SSIM",
        of: |r| Some(validation(r)?.ssim),
        scale: AxisScale::Linear,
        noisy: false,
    },
    Panel {
        title: "Learning rate",
        of: |r| Some(step(r)?.learning_rate),
        scale: AxisScale::Linear,
        noisy: false,
    },
    Panel {
        title: "Gradient norm before clipping",
        of: |r| Some(step(r)?.gradient_norm),
        scale: AxisScale::Log,
        noisy: true,
    },
];

/// The panels of a page, each an area of its own.
pub const PAGE_PANELS: [Panel; 6] = {
    let [psnr, ssim, rate, norm] = SMALL;
    let speed = Panel {
        title: "Images per second",
        of: |r| Some(step(r)?.images_per_second),
        scale: AxisScale::Linear,
        noisy: true,
    };
    [LOSS, psnr, ssim, rate, norm, speed]
};

/// Width and height of a panel of a page, in its own units: where it is as small as a hand, its
/// text can still be read.
pub const PANEL_SIZE: (u32, u32) = (560, 340);

fn step(record: &LogRecord) -> Option<&StepRecord> {
    if let LogRecord::Step(record) = record { Some(record) } else { None }
}

fn validation(record: &LogRecord) -> Option<&ValidationRecord> {
    if let LogRecord::Validation(record) = record { Some(record) } else { None }
}

/// Draws `runs` on an area of [`SIZE`] times `zoom`.
pub fn figure<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    runs: &[Run],
    zoom: u32,
) -> Result<()> {
    Pen { zoom }.figure(area, runs).map_err(refused)
}

/// Draws one curve of `runs` on an area of [`PANEL_SIZE`], which has no place for more than the
/// curve's title.
pub fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    runs: &[Run],
) -> Result<()> {
    let pen = Pen { zoom: 1 };
    pen.typeface()
        .and_then(|()| pen.panel(area, panel, panel.title, runs, &steps(runs, 4)))
        .map_err(refused)
}

fn refused(reason: String) -> Error {
    Error::Config { reason: format!("cannot draw the plot: {reason}") }
}

/// The axis of the steps of the longest run.
fn steps(runs: &[Run], ticks: usize) -> Axis {
    Axis::around([0.0, longest(runs)], AxisScale::Linear, 0.0, ticks)
}

/// The steps that noisy curves are smoothed over: a fiftieth of the longest run, which leaves its
/// slow changes.
pub fn span(runs: &[Run]) -> usize {
    (longest(runs) as usize / 50).max(1)
}

fn longest(runs: &[Run]) -> f64 {
    runs.iter().map(last_step).fold(0.0, f64::max)
}

/// Draws in units of `zoom` pixels.
struct Pen {
    zoom: u32,
}

/// The result of drawing, or the reason why it failed.
type Drawn = std::result::Result<(), String>;

impl Pen {
    fn typeface(&self) -> Drawn {
        let font = include_bytes!("dejavu-sans.ttf");
        register_font(TYPEFACE, FontStyle::Normal, font).map_err(|_| "no typeface".into())
    }

    fn figure<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, runs: &[Run]) -> Drawn {
        self.typeface()?;
        area.fill(&WHITE).map_err(said)?;
        let rows = runs.len().div_ceil(2) as u32;
        let (heading, panels) = area.split_vertically(self.length(28 + 36 * rows));
        self.legend(&heading, runs)?;

        let span = span(runs);
        let title = |panel: &Panel| match panel.noisy && span > 1 {
            true => format!("{}, with its mean over about {span} steps", panel.title),
            false => panel.title.to_string(),
        };
        let (top, below) = panels.split_vertically(self.length(430));
        self.panel(&top, &LOSS, &title(&LOSS), runs, &steps(runs, 8))?;
        for (part, panel) in below.split_evenly((2, 2)).iter().zip(&SMALL) {
            self.panel(part, panel, &title(panel), runs, &steps(runs, 5))?;
        }
        Ok(())
    }

    /// For each run its color, its name, its length and its best validation; two in a row.
    fn legend<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, runs: &[Run]) -> Drawn {
        let columns = runs.len().min(2) as i32;
        let (name, remark) = (self.text(28, &TEXT), self.text(22, &FAINT));
        for (i, (run, color)) in runs.iter().zip(COLORS).enumerate() {
            let (column, row) = (i as i32 % columns, i as i32 / columns);
            let place = |x: i32| self.at(x + 30 + column * 785, 40 + 36 * row);
            let bar = [
                self.at(30 + column * 785, 38 + 36 * row),
                self.at(66 + column * 785, 44 + 36 * row),
            ];
            area.draw(&Rectangle::new(bar, color.filled())).map_err(said)?;
            let shown = shortened(&run.name, 30);
            area.draw(&Text::new(shown.clone(), place(50), name.clone())).map_err(said)?;
            let (width, _) = area.estimate_text_size(&shown, &name).map_err(said)?;
            area.draw(&Text::new(
                summary(run),
                place(66 + (width / self.zoom) as i32),
                remark.clone(),
            ))
            .map_err(said)?;
        }
        Ok(())
    }

    /// Noisy curves are smoothed over [`span`] steps.
    fn panel<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        panel: &Panel,
        title: &str,
        runs: &[Run],
        x: &Axis,
    ) -> Drawn {
        let curves: Vec<Vec<Point>> = runs.iter().map(|run| run.points(panel.of)).collect();
        let span = span(runs);
        area.draw(&Text::new(title, self.at(30, 26), self.text(24, &TEXT))).map_err(said)?;
        if curves.iter().all(Vec::is_empty) {
            let (width, height) = area.dim_in_pixel();
            let center = (width as i32 / 2, height as i32 / 2);
            let style = self.text(22, &FAINT).pos(Pos::new(HPos::Center, VPos::Center));
            return area.draw(&Text::new("none in the log", center, style)).map_err(said);
        }
        let y = Axis::around(curves.iter().flatten().map(|point| point.1), panel.scale, 0.08, 5);
        let mut chart = ChartBuilder::on(area)
            .margin_top(self.length(54))
            .margin_right(self.length(30))
            .margin_left(self.length(14))
            .x_label_area_size(self.length(62))
            .y_label_area_size(self.length(86))
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(said)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(self.line(&GRID, 1))
            .axis_style(self.line(&GRID, 1))
            .set_all_tick_mark_size(self.length(7))
            .label_style(self.text(20, &FAINT))
            .x_desc("step")
            .axis_desc_style(self.text(20, &FAINT))
            .draw()
            .map_err(said)?;
        let seen = |points: Vec<Point>| points.into_iter().filter(|point| y.has(point.1));
        // Faint curves lie below strong ones.
        if panel.noisy && span > 1 {
            for (curve, color) in curves.iter().zip(COLORS) {
                let style = self.hair(color);
                chart
                    .draw_series(LineSeries::new(seen(thinned(curve, COLUMNS)), style))
                    .map_err(said)?;
            }
        }
        for (curve, color) in curves.iter().zip(COLORS) {
            let curve = smoothed(curve, if panel.noisy { span } else { 1 });
            let points: Vec<Point> = seen(thinned(&curve, COLUMNS)).collect();
            // Few points are marked one by one; a single one would be invisible otherwise.
            if points.len() <= 50 {
                let dots =
                    points.iter().map(|&point| Circle::new(point, self.length(4), color.filled()));
                chart.draw_series(dots).map_err(said)?;
            }
            let corners = |point: &Point| chart.backend_coord(point);
            for piece in without_sharp_turns(&points, corners) {
                chart
                    .draw_series(LineSeries::new(piece.iter().copied(), self.line(&color, 2)))
                    .map_err(said)?;
                let ends = piece.last().map(|&point| Circle::new(point, self.zoom, color.filled()));
                chart.draw_series(ends).map_err(said)?;
            }
        }
        Ok(())
    }

    fn length(&self, units: u32) -> u32 {
        units * self.zoom
    }

    fn at(&self, x: i32, y: i32) -> (i32, i32) {
        (x * self.zoom as i32, y * self.zoom as i32)
    }

    fn line(&self, color: &impl Color, width: u32) -> ShapeStyle {
        color.stroke_width(self.length(width))
    }

    /// The thinnest line, for curves that turn sharply.
    fn hair(&self, color: RGBColor) -> ShapeStyle {
        // At twice the size, such a line has half the ink.
        color.mix((0.3 * f64::from(self.zoom)).min(1.0)).stroke_width(1)
    }

    /// Text whose left end stands at a position, vertically centered.
    fn text(&self, size: u32, color: &'static RGBColor) -> TextStyle<'static> {
        let style = TextStyle::from((TYPEFACE, self.length(size)).into_font()).color(color);
        style.pos(Pos::new(HPos::Left, VPos::Center))
    }
}

/// The curve in pieces, cut where it turns by more than a right angle; neighbors share the point.
/// Where a thick line turns sharply, the corner of its outline would stand far out.
fn without_sharp_turns(points: &[Point], pixel: impl Fn(&Point) -> (i32, i32)) -> Vec<&[Point]> {
    let (mut pieces, mut first) = (Vec::new(), 0);
    for (i, corner) in points.windows(3).enumerate() {
        let [before, at, after] = [0, 1, 2].map(|i| pixel(&corner[i]));
        let (x, y) = ((at.0 - before.0) * (after.0 - at.0), (at.1 - before.1) * (after.1 - at.1));
        if x + y < 0 {
            pieces.push(&points[first..=i + 1]);
            first = i + 1;
        }
    }
    pieces.push(&points[first..]);
    pieces
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn last_step(run: &Run) -> f64 {
    run.points(|_| Some(0.0)).last().map_or(0.0, |point| point.0)
}

/// The length of a run, and the best of its validations.
fn summary(run: &Run) -> String {
    let last = last_step(run);
    match run.best() {
        Some((step, psnr)) => format!("{last} steps, best validation {psnr:.2} dB at step {step}"),
        None => format!("{last} steps"),
    }
}

/// The end of a text that is longer than `most` characters: in a path, it tells more than the
/// beginning.
fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    match count > most {
        true => std::iter::once('…').chain(text.chars().skip(count - most + 1)).collect(),
        false => text.into(),
    }
}
