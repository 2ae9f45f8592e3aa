//! Multinomial logistic regression: p(k) is proportional to exp(b_k + Σ w_kj z_j), where z_j is the
//! distance of feature j from its mean in clear photographs, in standard deviations.

use super::classification::{CLASSES, Classification, class_name};
use super::features::{FIGURES, Features};
use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::sync::OnceLock;

const N: usize = FIGURES.len();
const K: usize = CLASSES.len();

/// The classifier's numbers, as `examples/classifier.rs` wrote them.
const SHIPPED: &str = include_str!("classifier.tsv");

/// The largest z_j that counts, so that no picture is classified by one feature alone.
const MOST: f64 = 4.0;

/// A linear classifier of [`Features`].
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// The mean of each feature in clear photographs.
    pub(super) means: [f64; N],
    /// The standard deviation of each feature over all photographs.
    pub(super) deviations: [f64; N],
    /// For each class, the weight of each feature.
    pub(super) weights: [[f64; N]; K],
    /// For each class, its bias.
    pub(super) biases: [f64; K],
}

impl Classifier {
    /// The built-in classifier.
    pub fn shipped() -> Result<&'static Self> {
        static PARSED: OnceLock<std::result::Result<Classifier, String>> = OnceLock::new();
        let parsed = PARSED.get_or_init(|| Self::parse(SHIPPED));
        parsed.as_ref().map_err(|reason| Error::Config {
            reason: format!("the built-in classifier: {reason}"),
        })
    }

    /// Classifies by the features, which do not tell the size of the photograph.
    pub fn judge(&self, features: &Features) -> Classification {
        let z = self.standardized(features);
        let probabilities = self.probabilities(&z);
        let mut classification =
            Classification { probabilities, reasons: Vec::new(), small: false };
        classification.reasons = self.reasons(&z, classification.place());
        classification
    }

    pub(super) fn standardized(&self, features: &Features) -> [f64; N] {
        std::array::from_fn(|j| {
            ((features.0[j] - self.means[j]) / self.deviations[j]).clamp(-MOST, MOST)
        })
    }

    pub(super) fn probabilities(&self, z: &[f64; N]) -> [f64; K] {
        let scores: [f64; K] = std::array::from_fn(|k| {
            self.biases[k]
                + self.weights[k].iter().zip(z).map(|(weight, z)| weight * z).sum::<f64>()
        });
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let parts = scores.map(|score| (score - most).exp());
        let sum: f64 = parts.iter().sum();
        parts.map(|part| part / sum)
    }

    /// The two phrases that count most for class `best` against the first class, clear. Several
    /// features may share a phrase.
    fn reasons(&self, z: &[f64; N], best: usize) -> Vec<&'static str> {
        let mut said: Vec<(&'static str, f64)> = Vec::new();
        for (j, (_, larger, smaller)) in FIGURES.iter().enumerate() {
            let share = (self.weights[best][j] - self.weights[0][j]) * z[j];
            let phrase = if z[j] > 0.0 { larger } else { smaller };
            match said.iter_mut().find(|(known, _)| known == phrase) {
                Some((_, sum)) => *sum += share,
                None => said.push((phrase, share)),
            }
        }
        said.sort_by(|a, b| b.1.total_cmp(&a.1));
        // A feature that is nearly as in clear pictures is not worth mentioning.
        said.into_iter().filter(|(_, sum)| *sum > 0.5).map(|(phrase, _)| phrase).take(2).collect()
    }

    /// The classifier as a table: a line for each feature with its mean, deviation and weights,
    /// separated by tabs; `#` begins a comment.
    pub fn write(&self) -> String {
        let mut text = String::from("# figure\tmean in clear pictures\tdeviation");
        CLASSES.iter().for_each(|class| text += &format!("\t{}", class_name(*class)));
        let mut line = |name: &str, [mean, deviation]: [f64; 2], weights: [f64; K]| {
            let numbers = [mean, deviation].into_iter().chain(weights).map(|v| format!("\t{v:.5}"));
            let _ = write!(text, "\n{name}{}", numbers.collect::<String>());
        };
        for (j, (name, ..)) in FIGURES.iter().enumerate() {
            line(
                name,
                [self.means[j], self.deviations[j]],
                std::array::from_fn(|k| self.weights[k][j]),
            );
        }
        line("bias", [0.0, 1.0], self.biases);
        text + "\n"
    }

    /// Reads the table that [`Classifier::write`] writes.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut read = Self {
            means: [0.0; N],
            deviations: [1.0; N],
            weights: [[0.0; N]; K],
            biases: [0.0; K],
        };
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        for (j, expected) in FIGURES.iter().map(|figure| figure.0).chain(["bias"]).enumerate() {
            let mut cells = lines.next().unwrap_or_default().split('\t');
            if cells.next() != Some(expected) {
                return Err(format!("row {} does not begin with \"{expected}\"", j + 1));
            }
            let numbers: Vec<f64> =
                cells.map_while(|cell| cell.parse().ok().filter(|v: &f64| v.is_finite())).collect();
            let [mean, deviation, weights @ ..] = numbers.as_slice() else {
                return Err(format!("{expected}: a mean and a deviation are missing"));
            };
            if weights.len() != K || *deviation <= 0.0 {
                return Err(format!("{expected}: not a mean, a deviation above 0 and {K} weights"));
            }
            for (k, weight) in weights.iter().enumerate() {
                match j < N {
                    true => {
                        (read.means[j], read.deviations[j], read.weights[k][j]) =
                            (*mean, *deviation, *weight)
                    }
                    false => read.biases[k] = *weight,
                }
            }
        }
        Ok(read)
    }
}
