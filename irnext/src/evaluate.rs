//! Scoring a model on pairs of degraded and clean images.

use crate::data::Source;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::metrics::{Ssim, View, psnr};
use crate::model::Model;
use crate::restore::restore_with;
use engine::Tensor;

/// The scores that tables quote, of one image or their means over many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// PSNR on RGB, dB.
    pub psnr: f64,
    /// PSNR on the Y of YCbCr, dB.
    pub psnr_y: f64,
    /// SSIM on RGB, Gaussian window.
    pub ssim: f64,
}

impl Scores {
    /// The scores of `image` against `target`; `name` is for errors.
    pub fn of(name: &str, image: &Image, target: &Image) -> Result<Self> {
        let score = || {
            Ok(Self {
                psnr: psnr(image, target, View::Rgb)?,
                psnr_y: psnr(image, target, View::Luma)?,
                ssim: Ssim::Gaussian.score(image, target, View::Rgb)?,
            })
        };
        score().map_err(|source| Error::Score { name: name.into(), source })
    }

    fn add(self, other: Self, weight: f64) -> Self {
        Self {
            psnr: self.psnr + weight * other.psnr,
            psnr_y: self.psnr_y + weight * other.psnr_y,
            ssim: self.ssim + weight * other.ssim,
        }
    }
}

/// Restores the first `limit` of `pairs` with `values` for the model's parameters. Returns the mean scores of the degraded
/// and of the restored images; `each` sees every pair's name and both its scores.
pub fn evaluate(
    model: &Model,
    values: &[Tensor],
    pairs: &dyn Source,
    limit: usize,
    mut each: impl FnMut(&str, Scores, Scores),
) -> Result<(Scores, Scores)> {
    let count = pairs.len().min(limit);
    if count == 0 {
        return Err(Error::Config { reason: "there are no pairs to score".into() });
    }
    let mut mean = (Scores::default(), Scores::default());
    for index in 0..count {
        let (name, (input, target)) = (pairs.name(index), pairs.full(index)?);
        let before = Scores::of(&name, &input, &target)?;
        let after = Scores::of(&name, &restore_with(model, values, &input)?, &target)?;
        each(&name, before, after);
        mean = (mean.0.add(before, 1.0 / count as f64), mean.1.add(after, 1.0 / count as f64));
    }
    Ok(mean)
}
