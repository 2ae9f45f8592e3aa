//! Scoring a model on pairs.

use crate::data::{Paired, Source};
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::Model;
use crate::restore::restore_with;
use engine::Tensor;

/// Mean scores over pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// RGB PSNR, dB.
    pub psnr: f64,
    /// SSIM (Gaussian window).
    pub ssim: f64,
}

/// Restores the first `limit` of `pairs` with `values` and scores the results.
pub fn validate(model: &Model, values: &[Tensor], pairs: &Paired, limit: usize) -> Result<Score> {
    let count = pairs.len().min(limit);
    if count == 0 {
        return Err(Error::Config { reason: "validation: there are no pairs to score".into() });
    }
    let (mut psnr, mut ssim) = (0.0, 0.0);
    for index in 0..count {
        let (input, target) = pairs.full(index)?;
        let restored = restore_with(model, values, &input)?;
        psnr += metrics::psnr(&restored, &target)?;
        ssim += metrics::ssim(&restored, &target)?;
    }
    Ok(Score { psnr: psnr / count as f64, ssim: ssim / count as f64 })
}
