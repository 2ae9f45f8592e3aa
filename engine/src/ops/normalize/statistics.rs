//! The statistics that maps are normalized by, of one batch or of one that ranks share.

use crate::{Collectives, DType, Error, Result, Tensor, dispatch_element};
use std::sync::Arc;

/// Means and biased variances, f64 tensors `[groups, channels]`, on the device of the input.
pub(in crate::ops) struct Statistics {
    pub(in crate::ops) mean: Tensor,
    pub(in crate::ops) var: Tensor,
}

impl Statistics {
    /// Given statistics, the same for all images.
    pub(in crate::ops) fn given(mean: &Tensor, var: &Tensor) -> Result<Self> {
        let given =
            |x: &Tensor| x.detach().to_dtype(DType::F64)?.reshape(&[1, x.numel()])?.contiguous();
        Ok(Self { mean: given(mean)?, var: given(var)? })
    }

    /// The statistics of a batch that ranks share, from those of `count` values per channel on each
    /// rank; and the number of values per channel in the whole batch.
    pub(in crate::ops) fn of_all(
        &self,
        op: &'static str,
        count: f64,
        ranks: &dyn Collectives,
    ) -> Result<(Self, f64)> {
        self.mean.on_device(
            || self.of_all_on_cpu(op, count, ranks),
            |_| self.of_all_on_gpu(op, count, ranks),
        )
    }

    fn of_all_on_cpu(
        &self,
        op: &'static str,
        count: f64,
        ranks: &dyn Collectives,
    ) -> Result<(Self, f64)> {
        let (mean, var) = (self.mean.dense_data::<f64>(op)?, self.var.dense_data::<f64>(op)?);
        let channels = mean.len();
        let parts = ranks.gather(&[&[count], mean, var].concat())?;
        if parts.iter().any(|part| part.len() != 1 + 2 * channels) {
            return Err(Error::shape(op, "the ranks have maps of different numbers of channels"));
        }
        let total = total(op, parts.iter().map(|part| part[0]))?;
        // Σ over the parts of count·f, over the total.
        let weighted = |f: &dyn Fn(&[f64]) -> f64| {
            parts.iter().map(|part| part[0] * f(part)).sum::<f64>() / total
        };
        let mean: Vec<f64> = (1..=channels).map(|c| weighted(&|part| part[c])).collect();
        let var: Vec<f64> = (1..=channels)
            .map(|c| weighted(&|part| part[channels + c] + (part[c] - mean[c - 1]).powi(2)))
            .collect();
        let [mean, var] =
            [mean, var].map(|numbers| from_f64(&numbers, self.mean.shape(), DType::F64));
        Ok((Self { mean: mean?, var: var? }, total))
    }

    /// Without a copy to main memory.
    fn of_all_on_gpu(
        &self,
        op: &'static str,
        count: f64,
        ranks: &dyn Collectives,
    ) -> Result<(Self, f64)> {
        let channels = self.mean.numel();
        // These follow from the shapes, so a recording may take them for constants.
        let sizes = ranks.gather(&[count, channels as f64])?;
        if sizes.iter().any(|size| size.get(1) != Some(&(channels as f64))) {
            return Err(Error::shape(op, "the ranks have maps of different numbers of channels"));
        }
        let total = total(op, sizes.iter().map(|size| size[0]))?;
        let parts = ranks.gather_on_gpu(&Tensor::concat(&[&self.mean, &self.var], 0)?)?;
        let shares: Vec<f64> = sizes.iter().map(|size| size[0] / total).collect();
        let shares = parts.constant(&shares, &[shares.len(), 1, 1])?;
        let (means, vars) = (parts.narrow(1, 0, 1)?, parts.narrow(1, 1, 1)?);
        let mean = means.mul(&shares)?.sum_keepdim(&[0])?;
        let var = vars.add(&means.sub(&mean)?.square()?)?.mul(&shares)?.sum_keepdim(&[0])?;
        let like = |numbers: Tensor| numbers.reshape(self.mean.shape());
        Ok((Self { mean: like(mean)?, var: like(var)? }, total))
    }

    pub(super) fn groups(&self) -> usize {
        self.mean.shape()[0]
    }
}

/// The sum of the ranks' `counts`. A rank without any would not take part in the backward pass, for
/// which the others wait; all of them see this here.
fn total(op: &'static str, mut counts: impl Iterator<Item = f64> + Clone) -> Result<f64> {
    let sum = counts.clone().sum();
    match counts.any(|count| count == 0.0) {
        true => Err(Error::shape(op, "a rank has no part of the batch")),
        false => Ok(sum),
    }
}

/// Normalization by statistics.
pub(in crate::ops) struct Normalize {
    pub(in crate::ops) statistics: Statistics,
    pub(in crate::ops) eps: f64,
    /// Whether the statistics came from the input, so that gradients flow through them.
    pub(in crate::ops) of_input: bool,
    /// The batch that the input is a part of, if the statistics are those of a larger batch.
    pub(in crate::ops) whole: Option<Whole>,
}

/// A batch that several ranks share.
pub(in crate::ops) struct Whole {
    /// The ranks.
    pub(in crate::ops) ranks: Arc<dyn Collectives>,
    /// Values per channel in the whole batch.
    pub(in crate::ops) count: f64,
}

impl Whole {
    /// Two sums for each channel, over all ranks.
    pub(super) fn sums(&self, op: &'static str, mine: [&[f64]; 2]) -> Result<[Vec<f64>; 2]> {
        let parts = self.ranks.gather(&mine.concat())?;
        let channels = mine[0].len();
        if parts.iter().any(|part| part.len() != 2 * channels) {
            return Err(Error::shape(op, "the ranks have maps of different numbers of channels"));
        }
        let sum = |i: usize| parts.iter().map(|part| part[i]).sum();
        Ok([(0..channels).map(sum).collect(), (channels..2 * channels).map(sum).collect()])
    }

    /// Like [`Self::sums`], but on a GPU and of any shape.
    pub(super) fn sums_on_gpu(&self, mine: &Tensor) -> Result<Tensor> {
        self.ranks.gather_on_gpu(mine)?.sum(&[0])
    }
}

/// `numbers` in memory order as a tensor.
pub(super) fn from_f64(numbers: &[f64], shape: &[usize], dtype: DType) -> Result<Tensor> {
    dispatch_element!(dtype, T => Tensor::build(shape, |out: &mut [T]| {
        out
            .iter_mut()
            .zip(numbers)
            .for_each(|(out, &number)| *out = <T as crate::Element>::from_f64(number));
    }))
}
