//! Scoring held-back pairs on the way.

use super::{Validation, ValidationConfig, log::Sample};
use crate::compute::Precision;
use crate::data::{Paired, Source};
use crate::error::Result;
use crate::evaluate::{mean, score};
use crate::image::Image;
use crate::metrics::Scorer;
use crate::model::Model;
use crate::restore::restore;
use engine::Tensor;
use std::cell::Cell;

/// The pairs that are scored, and how.
pub(super) struct Validator {
    pairs: Paired,
    config: ValidationConfig,
    precision: Precision,
}

impl Validator {
    pub fn new(pairs: Paired, config: &ValidationConfig, precision: Precision) -> Self {
        Self { pairs, config: config.clone(), precision }
    }

    /// How many pairs are scored.
    pub fn count(&self) -> usize {
        self.pairs.len().min(self.config.limit)
    }

    /// The mean PSNR and SSIM of the first `limit` pairs, as the protocol's tables hold them, restored by `model` with other `values`
    /// for its parameters; and pictures of the first `shown`. `step` is only noted. Nothing if no pair has a score.
    pub fn score(
        &self,
        step: u64,
        model: &Model,
        values: Vec<Tensor>,
        [limit, shown]: [usize; 2],
    ) -> Result<Option<(Validation, Vec<Sample>)>> {
        let model = model.freeze_with(values).computing_in(self.precision);
        let headline = self.config.protocol.headline();
        let scorer = Scorer::new(&headline[..headline.len().min(2)])?;
        let (mut rows, mut samples) = (Vec::new(), Vec::new());
        for index in 0..self.count().min(limit) {
            let seen = Cell::new(None);
            let restore = |image: &Image| {
                let restored = restore(&model, image)?;
                seen.set((index < shown).then(|| restored.clone()));
                Ok(restored)
            };
            rows.push(score(&self.pairs, index, &scorer, Some(&restore))?.restored.unwrap_or_default());
            if let Some(restored) = seen.take() {
                samples.push(Sample::new(&self.pairs, index, &restored)?);
            }
        }
        let means = mean(rows.iter().map(Vec::as_slice));
        Ok(means.first_chunk().map(|&[psnr, ssim]| (Validation { step, psnr, ssim }, samples)))
    }
}
