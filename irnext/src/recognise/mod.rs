//! Classifies the degradation of a photograph: haze, rain, snow, motion blur, defocus, or none that
//! this program removes.
//!
//! Thirty-nine features of the picture ([`Features`]), each of which one could check by eye, go
//! into a linear classifier whose numbers are a table in a text file. It says how sure it is, and
//! which features led to its answer. The book's page `docs/src/auto.md` describes its fit and its
//! failures.
//!
//! ```
//! use irnext::image::Image;
//! let flat = Image::from_fn(80, 60, |_, _| [0.5; 3]);
//! let verdict = irnext::recognise::recognise(&flat)?;
//! println!("{verdict}");
//! # Ok::<(), irnext::Error>(())
//! ```
//!
//! Reading order: this file → `features` (`air`, `thin`, `sharp`) → `classifier` → `fit`.

mod air;
mod classifier;
mod features;
pub mod fit;
mod lines;
mod sharp;
mod thin;
mod tiles;

pub use classifier::Classifier;
pub use features::Features;

use crate::degrade::Task;
use crate::error::Result;
use crate::image::Image;
use std::fmt;

/// The classes, in the order of the classifier's columns; `None` is a clear photograph.
pub const CLASSES: [Option<Task>; 6] = [
    None,
    Some(Task::Dehaze),
    Some(Task::Derain),
    Some(Task::Desnow),
    Some(Task::Deblur),
    Some(Task::Defocus),
];

/// The probability at which the program acts on an answer.
pub const SURE: f64 = 0.6;

/// The classification of a photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How likely each of [`CLASSES`] is; the sum is 1.
    pub probabilities: [f64; CLASSES.len()],
    /// What spoke most for the likeliest against being clear, in words; the strongest first.
    pub reasons: Vec<&'static str>,
}

/// Classifies the degradation of `image` with the built-in classifier.
pub fn recognise(image: &Image) -> Result<Verdict> {
    Ok(Classifier::shipped()?.judge(&Features::of(image)))
}

impl Verdict {
    /// The likeliest of [`CLASSES`].
    pub fn likeliest(&self) -> Option<Task> {
        CLASSES[self.place()]
    }

    /// How likely that is.
    pub fn probability(&self) -> f64 {
        self.probabilities[self.place()]
    }

    /// The task that should be done, if one is likely enough.
    pub fn task(&self) -> Option<Task> {
        self.likeliest().filter(|_| self.probability() >= SURE)
    }

    fn place(&self) -> usize {
        self.likelier(0..CLASSES.len())
    }

    /// The likeliest of these places, the first of equals.
    fn likelier(&self, places: std::ops::Range<usize>) -> usize {
        let better =
            |a: usize, b: usize| if self.probabilities[b] > self.probabilities[a] { b } else { a };
        places.reduce(better).unwrap_or(0)
    }
}

/// `haze, 93 % (washed out: hardly any dark patches; details are faint)`, or
/// `clear, 85 % (snow, 9 %)`: what else it may be.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cut, not rounded: 99.6 % is not certain.
        let of = |place: usize| {
            format!("{}, {} %", name(CLASSES[place]), (100.0 * self.probabilities[place]).floor())
        };
        f.write_str(&of(self.place()))?;
        match (self.likeliest(), self.reasons.is_empty()) {
            (None, _) => write!(f, " ({})", of(self.likelier(1..CLASSES.len()))),
            (_, true) => Ok(()),
            (_, false) => write!(f, " ({})", self.reasons.join("; ")),
        }
    }
}

/// The name of a class, in a word or two.
pub fn name(class: Option<Task>) -> &'static str {
    match class {
        None => "clear",
        Some(Task::Dehaze) => "haze",
        Some(Task::Derain) => "rain",
        Some(Task::Desnow) => "snow",
        Some(Task::Deblur) => "motion blur",
        Some(Task::Defocus) => "out of focus",
    }
}

#[cfg(test)]
mod tests;
