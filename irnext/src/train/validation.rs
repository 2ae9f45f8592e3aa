//! Scores the validation pairs during training.

use super::{Validation, ValidationConfig, log::ValidationPicture};
use crate::compute::Precision;
use crate::data::{Paired, Source};
use crate::distributed::Team;
use crate::error::{Error, Result};
use crate::evaluate::{Scored, mean, score};
use crate::image::Image;
use crate::metrics::Scorer;
use crate::model::Model;
use crate::restore::restore;
use engine::{Tensor, interruptible};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The validation pairs, and how they are scored.
pub(super) struct Validator {
    pairs: Paired,
    config: ValidationConfig,
    precision: Precision,
}

impl Validator {
    pub fn new(pairs: Paired, config: &ValidationConfig, precision: Precision) -> Self {
        Self { pairs, config: config.clone(), precision }
    }

    /// The pairs.
    pub fn pairs(&self) -> &Paired {
        &self.pairs
    }

    /// The number of pairs that are scored.
    pub fn count(&self) -> usize {
        self.pairs.len().min(self.config.limit)
    }

    /// The mean PSNR and SSIM of the first `limit` pairs, as in the protocol's tables, restored by
    /// `model` with the parameter values `values`; and pictures of the first `shown`. `step` is
    /// only recorded. `None` if no pair has a score. The pairs are shared among `team`, and all
    /// ranks get the result. Stops once `stop` is true.
    pub fn score(
        &self,
        step: u64,
        model: &Model,
        values: Vec<Tensor>,
        [limit, shown]: [usize; 2],
        (team, stop): (&Team, &Arc<AtomicBool>),
    ) -> Result<Option<(Validation, Vec<ValidationPicture>)>> {
        let model = model.freeze_with(values)?.computing_in(self.precision);
        let headline = self.config.protocol.headline();
        let scorer = Scorer::new(&headline[..headline.len().min(2)]);
        let (mut rows, mut samples) = (Vec::new(), Vec::new());
        let one = |index| -> Result<(Scored, Option<ValidationPicture>)> {
            let seen = Cell::new(None);
            let restore = |image: &Image| {
                let restored = match restore(&model, image) {
                    // It has no score. Whether training diverged, the loss says.
                    Err(Error::NotFinite { .. }) => {
                        Image::from_fn(image.width, image.height, |_, _| [f32::NAN; 3])
                    }
                    restored => restored?,
                };
                seen.set((index < shown).then(|| restored.clone()));
                Ok(restored)
            };
            let scored = score(&self.pairs, index, &scorer, Some(&restore), None)?;
            let sample = seen
                .take()
                .map(|restored| ValidationPicture::new(&self.pairs, index, &restored))
                .transpose()?;
            Ok((scored, sample))
        };
        // Ranks stop together, between two pairs.
        let alone = if team.is_alone() { stop.clone() } else { Arc::default() };
        let work = |index| interruptible(&alone, || one(index));
        team.distribute(self.count().min(limit), stop, work, |(scored, sample)| {
            rows.push(scored.restored.unwrap_or_default());
            samples.extend(sample);
            Ok(())
        })?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mean = |measure: usize| mean(rows.iter().filter_map(|row| row.get(measure).copied()));
        let is_small = |row: &&Vec<f64>| match row[..] {
            [psnr, ssim, ..] => !psnr.is_nan() && ssim.is_nan(),
            _ => false,
        };
        let without_ssim = rows.iter().filter(is_small).count();
        let scores = Validation { step, psnr: mean(0), ssim: mean(1), without_ssim };
        Ok(Some((scores, samples)))
    }
}
