//! Shared by batch and instance normalization: y = (x − mean)/√(var + eps)·weight + bias, for
//! every channel.
//!
//! They differ in which pixels a mean and a variance are taken over: those of the whole batch (one
//! group), or those of each image (N groups). The statistics are f64 throughout.
//!
//! Backward, with x̂ the normalized input, a = weight/√(var + eps) and M the number of values in a
//! group: d bias = Σ dy, d weight = Σ dy·x̂, and dx = a·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), of which a·dy
//! remains where the statistics are constants. Where ranks share a batch, the sums and M of dx are
//! those of the whole; d weight and d bias are of the rank's part.

mod cuda;

use super::save_if;
use crate::cpu::channel_sums;
use crate::memory::filled;
use crate::ops::map;
use crate::{
    Collectives, DType, Device, Error, Meta, Result, Tensor, dispatch_element, dispatch_float,
};
use std::borrow::Cow;
use std::sync::Arc;

/// Means and biased variances, f64 tensors `[groups, channels]`, on the device of the input.
pub(super) struct Statistics {
    pub(super) mean: Tensor,
    pub(super) var: Tensor,
}

impl Statistics {
    /// The statistics of `x` `[N, C, H, W]`, whose N images fall into `groups` groups.
    pub(super) fn of(op: &'static str, x: &Tensor, groups: usize) -> Result<Self> {
        let x = x.detach().contiguous()?;
        x.on_device(|| {
        let [n, c, h, w] = x.dims4(op)?;
        let count = (n / groups.max(1) * h * w) as f64;
        dispatch_float!(op, x.dtype(), T => {
            let data: &[T] = x.dense_data(op)?;
            let sum = channel_sums([data], groups, &filled(0.0, groups * c)?, |[x], _| x);
            let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
            let squares = channel_sums([data], groups, &mean, |[x], mean| (x - mean) * (x - mean));
            let var: Vec<f64> = squares.iter().map(|sum| sum / count).collect();
            let [mean, var] = [mean, var].map(
                |numbers| from_f64(&numbers, &[groups, c], DType::F64)
            );
            Ok(Self { mean: mean?, var: var? })
        })
        }, |gpu| cuda::statistics(gpu, op, &x, groups))
    }

    /// Given statistics, the same for all images.
    pub(super) fn given(mean: &Tensor, var: &Tensor) -> Result<Self> {
        let given =
            |x: &Tensor| x.detach().to_dtype(DType::F64)?.reshape(&[1, x.numel()])?.contiguous();
        Ok(Self { mean: given(mean)?, var: given(var)? })
    }

    /// The statistics of a batch that ranks share, from those of `count` values per channel on each
    /// rank; and the number of values per channel in the whole batch.
    pub(super) fn of_all(
        &self,
        op: &'static str,
        count: f64,
        ranks: &dyn Collectives,
    ) -> Result<(Self, f64)> {
        if self.mean.device() != Device::Cpu {
            return self.of_all_on_gpu(op, count, ranks);
        }
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

    /// Like [`Self::of_all`], but on a GPU, without a copy to main memory.
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

    fn groups(&self) -> usize {
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

/// Normalization by statistics, and its gradient.
pub(super) struct Normalize {
    pub(super) statistics: Statistics,
    pub(super) eps: f64,
    /// Whether the statistics came from the input, so that gradients flow through them.
    pub(super) of_input: bool,
    /// The batch that the input is a part of, if the statistics are those of a larger batch.
    pub(super) whole: Option<Whole>,
}

/// A batch that several ranks share.
pub(super) struct Whole {
    /// The ranks.
    pub(super) ranks: Arc<dyn Collectives>,
    /// Values per channel in the whole batch.
    pub(super) count: f64,
}

impl Whole {
    /// Two sums for each channel, over all ranks.
    fn sums(&self, op: &'static str, mine: [&[f64]; 2]) -> Result<[Vec<f64>; 2]> {
        let parts = self.ranks.gather(&mine.concat())?;
        let channels = mine[0].len();
        if parts.iter().any(|part| part.len() != 2 * channels) {
            return Err(Error::shape(op, "the ranks have maps of different numbers of channels"));
        }
        let sum = |i: usize| parts.iter().map(|part| part[i]).sum();
        Ok([(0..channels).map(sum).collect(), (channels..2 * channels).map(sum).collect()])
    }

    /// Like [`Self::sums`], but on a GPU and of any shape.
    fn sums_on_gpu(&self, mine: &Tensor) -> Result<Tensor> {
        self.ranks.gather_on_gpu(mine)?.sum(&[0])
    }
}

/// Saved for backward: the input for any gradient but the bias's, the weight for the input's.
pub(super) type Saved = (Option<Tensor>, Option<Tensor>);

impl Normalize {
    /// `inputs`: x, weight, bias.
    pub(super) fn forward(
        &self,
        op: &'static str,
        inputs: &[&Tensor],
        need: &[bool],
    ) -> Result<(Tensor, Saved)> {
        let (x, weight, bias) = (inputs[0].contiguous()?, inputs[1], inputs[2]);
        let wants_x = need[1] || need[0] && self.of_input;
        let saved = (save_if(wants_x, &x), save_if(need[0], weight));
        let y = x.on_device(
            || self.forward_on_cpu(op, &x, weight, bias),
            |gpu| cuda::forward(gpu, self, op, &x, weight, bias),
        )?;
        Ok((y, saved))
    }

    fn forward_on_cpu(
        &self,
        op: &'static str,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor> {
        let (mean, bias) = (self.statistics.mean.dense_data(op)?, bias.to_f64_vec()?);
        let scale = self.scale(op, &weight.to_f64_vec()?)?;
        dispatch_float!(op, x.dtype(), T => {
            let [mean, scale, bias] =
                [mean, &scale, &bias].map(|numbers| per_channel(numbers, bias.len(), x.dtype()));
            let f = |[x, mean, scale, bias]: [T; 4]| (x - mean) * scale + bias;
            map(op, x.shape(), [x, &mean?, &scale?, &bias?], f)
        })
    }

    /// The gradients of x, weight and bias.
    pub(super) fn backward(
        &self,
        op: &'static str,
        (x, weight): Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dy = dy.contiguous()?;
        let (x, weight) = (x.as_ref(), weight.as_ref());
        dy.on_device(
            || self.backward_on_cpu(op, (x, weight), &dy, need),
            |gpu| cuda::backward(gpu, self, op, (x, weight), &dy, need),
        )
    }

    fn backward_on_cpu(
        &self,
        op: &'static str,
        (x, weight): (Option<&Tensor>, Option<&Tensor>),
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (groups, mean) =
            (self.statistics.groups(), self.statistics.mean.dense_data::<f64>(op)?);
        let channels = dy.shape()[1];
        let (sum_dy, sum_dy_x) = dispatch_float!(op, dy.dtype(), T => {
            let data: &[T] = dy.dense_data(op)?;
            let with_x = match x {
                Some(x) => {
                    let both = [data, x.dense_data(op)?];
                    channel_sums(both, groups, mean, |[dy, x], mean| dy * (x - mean))
                }
                None => Vec::new(),
            };
            Ok((channel_sums([data], groups, mean, |[dy], _| dy), with_x))
        })?;
        let inverse = self.inverse_deviations(op)?;
        let dx = match weight {
            Some(weight) => {
                Some(self.backward_x(op, x, &weight.to_f64_vec()?, dy, &sum_dy, &sum_dy_x)?)
            }
            None => None,
        };
        let d_weight = need[1].then(|| {
            let scaled: Vec<f64> =
                sum_dy_x.iter().zip(&inverse).map(|(sum, inverse)| sum * inverse).collect();
            over_groups(&scaled, channels, dy.dtype())
        });
        let d_bias = need[2].then(|| over_groups(&sum_dy, channels, dy.dtype()));
        Ok(vec![dx, d_weight.transpose()?, d_bias.transpose()?])
    }

    fn backward_x(
        &self,
        op: &'static str,
        x: Option<&Tensor>,
        weight: &[f64],
        dy: &Tensor,
        sum_dy: &[f64],
        sum_dy_x: &[f64],
    ) -> Result<Tensor> {
        let (channels, dtype) = (weight.len(), dy.dtype());
        let scale = self.scale(op, weight)?;
        let a = per_channel(&scale, channels, dtype)?;
        let Some(x) = x.filter(|_| self.of_input) else {
            return dy.mul(&a);
        };
        let mut count = (dy.numel() / scale.len().max(1)) as f64;
        let (mut sum_dy, mut sum_dy_x) = (Cow::Borrowed(sum_dy), Cow::Borrowed(sum_dy_x));
        if let Some(whole) = &self.whole {
            count = whole.count;
            [sum_dy, sum_dy_x] = whole.sums(op, [&sum_dy, &sum_dy_x])?.map(Cow::Owned);
        }
        let constant: Vec<f64> =
            scale.iter().zip(&*sum_dy).map(|(a, sum)| -a * sum / count).collect();
        let inverse = self.inverse_deviations(op)?;
        let slope: Vec<f64> = (0..scale.len())
            .map(|i| -scale[i] * inverse[i] * inverse[i] * sum_dy_x[i] / count)
            .collect();
        let mean = self.statistics.mean.dense_data(op)?;
        let [mean, constant, slope] =
            [mean, &constant, &slope].map(|numbers| per_channel(numbers, channels, dtype));
        dispatch_float!(op, dtype, T => {
            let f = |[
                dy, x, mean, a, slope, constant
            ]: [T; 6]| dy * a + ((x - mean) * slope + constant);
            map(op, dy.shape(), [dy, x, &mean?, &a, &slope?, &constant?], f)
        })
    }

    /// 1/√(var + eps), `[groups, channels]`.
    fn inverse_deviations(&self, op: &'static str) -> Result<Vec<f64>> {
        Ok(self
            .statistics
            .var
            .dense_data::<f64>(op)?
            .iter()
            .map(|var| 1.0 / (var + self.eps).sqrt())
            .collect())
    }

    /// weight/√(var + eps), `[groups, channels]`.
    fn scale(&self, op: &'static str, weight: &[f64]) -> Result<Vec<f64>> {
        let inverse = self.inverse_deviations(op)?;
        Ok(inverse
            .iter()
            .zip(weight.iter().cycle())
            .map(|(inverse, weight)| inverse * weight)
            .collect())
    }
}

/// The shape rule: x `[N, C, H, W]`, and everything else `[C]`, of one dtype.
pub(super) fn infer(op: &'static str, x: &Meta, others: &[(&str, &Meta)]) -> Result<Meta> {
    crate::dispatch::require_compute(op, x.dtype)?;
    let [_, c, _, _] = x.dims4(op)?;
    for (name, other) in others {
        if other.shape != [c] {
            let message =
                format!("{name} must have shape [{c}] for x {:?}, got {:?}", x.shape, other.shape);
            return Err(Error::shape(op, message));
        }
        if other.dtype != x.dtype {
            return Err(Error::dtype(op, x.dtype, other.dtype));
        }
    }
    Ok(x.clone())
}

/// `[groups, channels]` numbers as a tensor `[groups, channels, 1, 1]`.
fn per_channel(numbers: &[f64], channels: usize, dtype: DType) -> Result<Tensor> {
    from_f64(numbers, &[numbers.len() / channels.max(1), channels, 1, 1], dtype)
}

/// `numbers` in memory order as a tensor.
fn from_f64(numbers: &[f64], shape: &[usize], dtype: DType) -> Result<Tensor> {
    dispatch_element!(dtype, T => Tensor::build(shape, |out: &mut [T]| {
        out
            .iter_mut()
            .zip(numbers)
            .for_each(|(out, &number)| *out = <T as crate::Element>::from_f64(number));
    }))
}

/// The sums over the groups of `[groups, channels]` numbers, as a tensor `[channels]`.
fn over_groups(numbers: &[f64], channels: usize, dtype: DType) -> Result<Tensor> {
    let mut sums = vec![0.0; channels];
    for (i, number) in numbers.iter().enumerate() {
        sums[i % channels] += number;
    }
    from_f64(&sums, &[channels], dtype)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::{Tape, Tensor};

    /// Of x, weight and bias of a batch normalization, each gradient that is computed alone has the
    /// bits that it has among all three.
    pub(in crate::ops) fn check_each_gradient_alone(inputs: &[Tensor; 3]) {
        for eval in [false, true] {
            let gradients = |asked: [bool; 3]| {
                let tape = Tape::new();
                let x: Vec<Tensor> = (0..3)
                    .map(|i| if asked[i] { tape.leaf(&inputs[i]) } else { inputs[i].clone() })
                    .collect();
                let y = match eval {
                    true => {
                        x[0].batch_norm_eval(&inputs[2], &inputs[1], &x[1], &x[2], 1e-5).unwrap()
                    }
                    false => x[0].batch_norm_train(&x[1], &x[2], 1e-5).unwrap().0,
                };
                let dy = y.detach().square().unwrap();
                let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
                x.iter()
                    .map(|x| gradients.get(x).map(|g| g.to_f64_vec().unwrap()))
                    .collect::<Vec<_>>()
            };
            let all = gradients([true; 3]);
            for i in 0..3 {
                let mut asked = [false; 3];
                asked[i] = true;
                let alone = gradients(asked);
                assert_eq!(alone[i], all[i], "eval {eval}, input {i}");
                assert_eq!(alone.iter().flatten().count(), 1);
            }
        }
    }
}
