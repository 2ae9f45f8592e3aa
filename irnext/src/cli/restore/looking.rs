//! The time before the first photograph: a line of progress, and an end at once if it is asked for.

use crate::cli::output::complain;
use crate::cli::signals::Signals;
use crate::error::Error;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The time between two looks at the signals and the count.
const STEP: Duration = Duration::from_millis(50);

/// The looks before the line appears.
const SOON: u32 = 6;

/// Runs `search`, which counts the photographs that it finds. On a terminal, if `wanted`, a line
/// shows their number. A signal ends the program at once: nothing is written yet.
pub(super) fn looking<T>(
    signals: &Signals,
    wanted: bool,
    search: impl FnOnce(&AtomicUsize) -> T,
) -> T {
    let count = AtomicUsize::new(0);
    let (running, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let count = &count;
        scope.spawn(move || {
            let bar = line();
            let mut steps = 0;
            while ended.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
                if let Some(signal) = signals.last().filter(|_| signals.are_there()) {
                    bar.finish_and_clear();
                    complain!("{}", Error::Signal(signal));
                    std::process::exit(128 + signal);
                }
                steps += 1;
                if wanted && steps > SOON {
                    let count = count.load(Ordering::Relaxed);
                    bar.set_message(format!("Looking for photos: {count} found"));
                }
            }
            bar.finish_and_clear();
        });
        let found = search(count);
        drop(running);
        found
    })
}

/// A line of text, hidden unless standard error is a terminal.
fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
