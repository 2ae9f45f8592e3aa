//! The classes of photographs, and the classification of one photograph.

use crate::degrade::Task;
use std::fmt;

/// The degradations that a photograph can have, in the order of the classifier's columns; `None` is
/// a clear photograph.
pub const CLASSES: [Option<Task>; 6] = [
    None,
    Some(Task::Dehaze),
    Some(Task::Derain),
    Some(Task::Desnow),
    Some(Task::Deblur),
    Some(Task::Defocus),
];

/// The least probability at which the program acts on a classification.
pub const SURE: f64 = 0.6;

/// The classification of a photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The probability of each of [`CLASSES`]; the sum is 1.
    pub probabilities: [f64; CLASSES.len()],
    /// The strongest reasons for the likeliest class and against a clear photograph, in words; the
    /// strongest first.
    pub reasons: Vec<&'static str>,
}

impl Classification {
    /// The likeliest of [`CLASSES`].
    pub fn likeliest(&self) -> Option<Task> {
        CLASSES[self.place()]
    }

    /// The probability of the likeliest class.
    pub fn probability(&self) -> f64 {
        self.probabilities[self.place()]
    }

    /// The task that restores the photograph; none if no class is likely enough.
    pub fn task(&self) -> Option<Task> {
        self.likeliest().filter(|_| self.probability() >= SURE)
    }

    /// The task for the degradation that is likeliest, whether or not it is likely.
    pub fn likeliest_task(&self) -> Option<Task> {
        CLASSES[self.likelier(1..CLASSES.len())]
    }

    /// The classification in words, for a photograph that is left alone because of it. A clear one
    /// may be a bad photograph all the same: dark, or full of noise.
    pub fn verdict(&self) -> String {
        // Truncated, not rounded: 99.6 % is not certain.
        let percent = (100.0 * self.probability()).floor();
        match self.likeliest() {
            None => format!("no haze, rain, snow or blur found ({percent} % sure)"),
            likeliest => format!(
                "perhaps {}, but only {percent} % sure; less than {} % changes nothing",
                class_name(likeliest),
                100.0 * SURE
            ),
        }
    }

    pub(super) fn place(&self) -> usize {
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
/// `clear, 85 % (snow, 9 %)` with the second likeliest class.
impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Truncated, not rounded: 99.6 % is not certain.
        let of = |place: usize| {
            format!(
                "{}, {} %",
                class_name(CLASSES[place]),
                (100.0 * self.probabilities[place]).floor()
            )
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
pub fn class_name(class: Option<Task>) -> &'static str {
    match class {
        None => "clear",
        Some(Task::Dehaze) => "haze",
        Some(Task::Derain) => "rain",
        Some(Task::Desnow) => "snow",
        Some(Task::Deblur) => "motion blur",
        Some(Task::Defocus) => "out of focus",
    }
}
