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
mod statistics;

use super::save_if;
use crate::cpu::channel_sums;
use crate::memory::filled;
use crate::ops::map;
use crate::{DType, Error, Meta, Result, Tensor, dispatch_float};
use statistics::from_f64;
pub(super) use statistics::{Normalize, Statistics, Whole};
use std::borrow::Cow;

impl Statistics {
    /// The statistics of `x` `[N, C, H, W]`, whose N images fall into `groups` groups.
    pub(super) fn of(op: &'static str, x: &Tensor, groups: usize) -> Result<Self> {
        let x = x.detach().contiguous()?;
        x.on_device(|| {
        let [n, c, h, w] = x.dims4(op)?;
        let count = (n / groups.max(1) * h * w) as f64;
        dispatch_float!(op, x.dtype(), T => {
            let data: &[T] = x.dense_data(op)?;
            let sum = channel_sums([data], groups, &filled(0.0, groups * c)?, |[x], _| x)?;
            let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
            let squares = channel_sums([data], groups, &mean, |[x], mean| (x - mean) * (x - mean))?;
            let var: Vec<f64> = squares.iter().map(|sum| sum / count).collect();
            let [mean, var] = [mean, var].map(
                |numbers| from_f64(&numbers, &[groups, c], DType::F64)
            );
            Ok(Self { mean: mean?, var: var? })
        })
        }, |gpu| cuda::statistics(gpu, op, &x, groups))
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
                    channel_sums(both, groups, mean, |[dy, x], mean| dy * (x - mean))?
                }
                None => Vec::new(),
            };
            Ok((channel_sums([data], groups, mean, |[dy], _| dy)?, with_x))
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
