//! The progress bar, on a terminal.

use crate::cli::signals::Signals;
use crate::image::Photo;
use crate::jobs::Job;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use std::collections::HashMap;
use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// Photographs smaller than this need no bar, unless there are several: 2 megapixels.
const LARGE: u64 = 2 << 20;

/// The time left, once there is something to judge it by.
fn left(state: &ProgressState, out: &mut dyn Write) {
    let _ = match state.pos() {
        0 => out.write_str("begun"),
        _ => write!(out, "{:#} left", HumanDuration(state.eta())),
    };
}

/// A bar over the pixels of all photographs.
pub(super) struct PhotoProgress {
    bar: ProgressBar,
    photos: HashMap<PathBuf, u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The photographs that are done, and their pixels.
    count: usize,
    pixels: u64,
    /// The pixels that are done of those that are being restored.
    parts: HashMap<PathBuf, u64>,
}

impl PhotoProgress {
    /// A bar for `jobs`, hidden unless `wanted` and standard error is a terminal. Once there is a
    /// signal, the size of no further photograph is read.
    pub fn new(jobs: &[Job], wanted: bool, signals: &Signals) -> Self {
        let mut photos = HashMap::new();
        let mut bar = ProgressBar::hidden();
        if wanted && stderr().is_terminal() {
            let pixels = |job: &Job| {
                if signals.are_there() {
                    return 1;
                }
                Photo::size(&job.from).map_or(1, |(width, height)| (width * height).max(1) as u64)
            };
            photos = jobs.iter().map(|job| (job.from.clone(), pixels(job))).collect();
            let all = photos.values().sum();
            if jobs.len() > 1 || all > LARGE {
                bar = ProgressBar::new(all);
                // As wide as the terminal: the rest of a wider bar would stay on lines of its own.
                let style = "{wide_bar} {percent:>3} %  {msg}{left}";
                bar.set_style(
                    ProgressStyle::with_template(style)
                        .unwrap_or_else(|_| ProgressStyle::default_bar())
                        .with_key("left", left)
                        .progress_chars("=> "),
                );
                bar.enable_steady_tick(Duration::from_millis(500));
            }
        }
        let progress = Self { bar, photos, state: Mutex::default() };
        progress.show(|_| ());
        progress
    }

    /// A part of the work on a photograph is done, from 0 to 1.
    pub fn part(&self, job: &Job, part: f64) {
        let pixels = self.photos.get(&job.from).copied().unwrap_or(0);
        self.show(|state| {
            state.parts.insert(job.from.clone(), (pixels as f64 * part) as u64);
        });
    }

    /// A photograph is done.
    pub fn done(&self, job: &Job) {
        let pixels = self.photos.get(&job.from).copied().unwrap_or(0);
        self.show(|state| {
            state.parts.remove(&job.from);
            state.count += 1;
            state.pixels += pixels;
        });
    }

    /// Prints without disturbing the bar.
    pub fn print(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, change: impl FnOnce(&mut State)) {
        let Ok(mut state) = self.state.lock() else { return };
        change(&mut state);
        self.bar.set_position(state.pixels + state.parts.values().sum::<u64>());
        if self.photos.len() > 1 {
            self.bar.set_message(format!("{} of {}, ", state.count, self.photos.len()));
        }
    }
}
