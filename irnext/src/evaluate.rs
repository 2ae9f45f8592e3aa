//! Scores pairs of degraded and clean images, before and after restoration.

use crate::data::Source;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::metrics::Scorer;
use serde::{Deserialize, Serialize};

/// The scores of a pair, in the order of the scorer's measures; NaN where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "EncodedScores", into = "EncodedScores")]
pub struct Scored {
    /// The name of the pair.
    pub name: String,
    /// The scores of the degraded image.
    pub input: Vec<f64>,
    /// The scores of the restored image, if it was restored.
    pub restored: Option<Vec<f64>>,
    /// Scores that could not be computed, with reasons.
    pub remarks: Vec<String>,
}

impl Scored {
    /// Whether `measure`, the index of one, has a score of each image of the pair, so that before
    /// and after can be compared.
    pub fn has(&self, measure: usize) -> bool {
        let number = |scores: &[f64]| scores.get(measure).is_some_and(|score| !score.is_nan());
        number(&self.input) && self.restored.as_deref().is_none_or(number)
    }
}

/// Scores encoded for another process: as bits, since JSON has no NaN.
#[derive(Serialize, Deserialize)]
struct EncodedScores {
    name: String,
    input: Vec<u64>,
    restored: Option<Vec<u64>>,
    remarks: Vec<String>,
}

impl From<Scored> for EncodedScores {
    fn from(Scored { name, input, restored, remarks }: Scored) -> Self {
        let bits = |scores: Vec<f64>| scores.into_iter().map(f64::to_bits).collect();
        Self { name, input: bits(input), restored: restored.map(bits), remarks }
    }
}

impl From<EncodedScores> for Scored {
    fn from(EncodedScores { name, input, restored, remarks }: EncodedScores) -> Self {
        let scores = |bits: Vec<u64>| bits.into_iter().map(f64::from_bits).collect();
        Self { name, input: scores(input), restored: restored.map(scores), remarks }
    }
}

/// Restores a degraded image.
pub type RestoreFn<'a> = dyn Fn(&Image) -> Result<Image> + 'a;

/// Looks at the images of a pair: the degraded one, the restored one and the clean one.
pub type LookFn<'a> = dyn Fn(&Image, Option<&Image>, &Image) -> Result<()> + 'a;

/// Scores pair `index` of `pairs`, and shows its images to `look`.
pub fn score(
    pairs: &dyn Source,
    index: usize,
    scorer: &Scorer,
    restore: Option<&RestoreFn<'_>>,
    look: Option<&LookFn<'_>>,
) -> Result<Scored> {
    let (name, (input, target)) = (pairs.name(index), pairs.full(index)?);
    let mut remarks = Vec::new();
    let mut of = |image: &Image, which: &str| -> Result<Vec<f64>> {
        let scores = scorer
            .score(image, &target)
            .map_err(|source| Error::Score { name: name.clone(), source })?
            .into_iter();
        let value = |(score, measure): (Result<f64, _>, _)| {
            score.unwrap_or_else(|error| {
                let name = nn::shown(&name);
                remarks.push(format!("{name} ({which}): {measure}: {error}"));
                f64::NAN
            })
        };
        Ok(scores.zip(scorer.measures()).map(value).collect())
    };
    let before = of(&input, "degraded")?;
    let image = restore.map(|restore| restore(&input)).transpose()?;
    let restored = image.as_ref().map(|image| of(image, "restored")).transpose()?;
    if let Some(look) = look {
        look(&input, image.as_ref(), &target)?;
    }
    Ok(Scored { name, input: before, restored, remarks })
}

/// The mean of the scores that there are; NaN if there are none.
pub fn mean(scores: impl IntoIterator<Item = f64>) -> f64 {
    let scores = scores.into_iter().filter(|score| !score.is_nan());
    let (sum, count) = scores.fold((0.0, 0.0), |(sum, count), score| (sum + score, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_sent_to_the_bit() {
        let (input, restored) = (vec![0.1 + 0.2, f64::NAN, f64::INFINITY], Some(vec![-1e-300]));
        let scored = Scored { name: "a".into(), input, restored, remarks: vec!["b".into()] };
        let sent: Scored = serde_json::from_str(&serde_json::to_string(&scored).unwrap()).unwrap();
        assert_eq!(format!("{sent:?}"), format!("{scored:?}"));
    }

    #[test]
    fn the_mean_leaves_out_what_has_no_score() {
        assert_eq!(mean([1.0, f64::NAN, 3.0]), 2.0);
        assert!(mean([f64::NAN]).is_nan() && mean([]).is_nan());
    }

    #[test]
    fn a_pair_is_compared_by_what_both_images_have() {
        let of = |input: &[f64], restored: Option<&[f64]>| Scored {
            name: "a".into(),
            input: input.into(),
            restored: restored.map(<[f64]>::to_vec),
            remarks: Vec::new(),
        };
        let pair = of(&[1.0, f64::NAN, 1.0], Some(&[2.0, 2.0, f64::NAN]));
        assert_eq!([0, 1, 2, 3].map(|measure| pair.has(measure)), [true, false, false, false]);
        assert!(of(&[1.0], None).has(0));
    }
}
