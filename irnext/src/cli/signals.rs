//! The signals that ask the program to end: Ctrl-C, those of `kill` and system shutdowns, and that
//! of a terminal that is closed.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The signals that ask the program to end, which it does once nothing is half done.
pub(super) struct Signals {
    /// Whether there was one.
    pub stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// Watches from now on. A second signal ends the program at once.
    pub fn watch() -> Result<Self> {
        let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let hangup = (!outlives_its_terminal()).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
            // Registered first, so that the first signal does not find its own flag set.
            flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())
                .and_then(|_| flag::register_usize(signal, number.clone(), signal as usize))
                .and_then(|_| flag::register(signal, stop.clone()))
                .map_err(|error| Error::Config {
                    reason: format!("cannot install signal handlers: {error}"),
                })?;
        }
        Ok(Self { stop, number })
    }

    /// Whether there was one.
    pub fn are_there(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The last signal, if there was any.
    pub fn last(&self) -> Option<i32> {
        i32::try_from(self.number.load(Ordering::Relaxed)).ok().filter(|&number| number != 0)
    }
}

/// Whether the program was started so that it goes on when its terminal is closed: `nohup` starts
/// it with that signal ignored. Where the system does not tell, it is left as it is.
fn outlives_its_terminal() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return true };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}
