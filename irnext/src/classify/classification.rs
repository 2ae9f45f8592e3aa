//! The classes of photographs, and the classification of one photograph.

use super::trial::probability;
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

/// For each of [`CLASSES`], the least probability at which the program acts on it, and that from
/// which it restores at full strength. Haze and snow ask for more than the rest: to remove them
/// does a clear photograph most harm.
const ACTED_ON: [[f64; 2]; 6] =
    [[1.0, 1.0], [0.65, 0.9], [0.6, 0.85], [0.75, 0.9], [0.6, 0.8], [0.6, 0.8]];

/// The strength of the restoration at the least of these probabilities: a mild one, as it may be
/// wrong.
const MILD: f64 = 0.5;

/// The least side of a photograph that is acted on, pixels. A smaller one shows too little: a piece
/// of a brick wall looks like rain.
pub const LEAST_SIDE: usize = 300;

/// The classification of a photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The probability of each of [`CLASSES`]; the sum is 1.
    pub probabilities: [f64; CLASSES.len()],
    /// The strongest reasons for the likeliest class and against a clear photograph, in words; the
    /// strongest first.
    pub reasons: Vec<&'static str>,
    /// Whether the photograph has a side of less than [`LEAST_SIDE`].
    pub small: bool,
}

impl Classification {
    /// The classification of a photograph whose haze was tried to be removed, which took away this
    /// [`veil`](super::veil). The trial knows better than the features whether there is haze, and
    /// nothing of rain, snow and blur. Where one of these is likely enough to be acted on, haze
    /// takes only from clear; otherwise from all.
    pub(crate) fn after_trial(self, veil: f64) -> Self {
        const HAZE: usize = 1;
        let haze = probability(veil);
        let is_likely = self.task().is_some_and(|task| task != Task::Dehaze);
        let mut probabilities = self.probabilities;
        // What the features took for haze, and is none, is clear.
        let shared = probabilities[0] + probabilities[HAZE];
        let kept = if is_likely { 1.0 } else { 1.0 - haze };
        probabilities[2..].iter_mut().for_each(|probability| *probability *= kept);
        probabilities[0] = shared * (1.0 - haze);
        probabilities[HAZE] = if is_likely { shared * haze } else { haze };
        let was_haze = self.likeliest() == Some(Task::Dehaze);
        let mut judged = Self { probabilities, ..self };
        if judged.likeliest() == Some(Task::Dehaze) {
            // The other reasons are for another class, if there was one.
            judged.reasons.retain(|_| was_haze);
            judged.reasons.insert(0, "a trial took a veil off its dark parts");
        }
        judged
    }

    /// The likeliest of [`CLASSES`].
    pub fn likeliest(&self) -> Option<Task> {
        CLASSES[self.place()]
    }

    /// The probability of the likeliest class.
    pub fn probability(&self) -> f64 {
        self.probabilities[self.place()]
    }

    /// The task that restores the photograph; none if no class is likely enough, or the photograph
    /// is too small to tell.
    pub fn task(&self) -> Option<Task> {
        let [least, _] = ACTED_ON[self.place()];
        self.likeliest().filter(|_| self.probability() >= least && !self.small)
    }

    /// How much of the restoration by [`Classification::task`] is applied: from a half to 1, the
    /// surer the more; 0 if there is none.
    pub fn strength(&self) -> f64 {
        if self.task().is_none() {
            return 0.0;
        }
        let [least, sure] = ACTED_ON[self.place()];
        MILD + (1.0 - MILD) * ((self.probability() - least) / (sure - least)).min(1.0)
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
            likeliest if self.small => format!(
                "perhaps {}, but less than {LEAST_SIDE} pixels a side are too few to tell",
                class_name(likeliest)
            ),
            likeliest => format!(
                "perhaps {}, but only {percent} % sure; less than {} % changes nothing",
                class_name(likeliest),
                100.0 * ACTED_ON[self.place()][0]
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

/// `haze, 70 % (washed out: hardly any dark patches; details are faint), so at 60 % of its
/// strength`, or `clear, 85 % (snow, 9 %)` with the second likeliest class.
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
            (None, _) => write!(f, " ({})", of(self.likelier(1..CLASSES.len())))?,
            (_, true) => {}
            (_, false) => write!(f, " ({})", self.reasons.join("; "))?,
        }
        match self.strength() {
            strength if strength > 0.0 && strength < 1.0 => {
                write!(f, ", so at {} % of its strength", (100.0 * strength).round())
            }
            _ => Ok(()),
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
