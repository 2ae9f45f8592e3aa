//! Batch normalization (Ioffe and Szegedy, 2015): every channel brought to mean 0 and variance 1,
//! then scaled and shifted.
//!
//! In training the statistics are the batch's own, over N, H and W, and gradients flow through
//! them; the running statistics are the layer's business, so they are returned to it. In evaluation
//! the statistics are given, and constants. A batch may be shared by several processes
//! ([`Collectives`]), which then normalize by the statistics of the whole. The arithmetic is in
//! `ops/normalize/mod.rs`.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::normalize::{self, Normalize, Saved, Statistics, Whole};
use super::{Op, apply};
use crate::rows::RowRule;
use crate::trace::{self, DynOp};
use crate::{Collectives, DType, Error, Meta, Result, Tensor};
use std::any::Any;
use std::sync::Arc;

const NAME: &str = "batch_norm";

/// The statistics of a batch in training, for the running statistics; both `[C]` and off the tape,
/// in the input's dtype, or f32 if that is a half type. See [`Tensor::batch_norm_train`] for an
/// example.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// The mean of each channel.
    pub mean: Tensor,
    /// The unbiased variance of each channel (divided by the number of values less one).
    pub var: Tensor,
}

impl Tensor {
    /// `[N, C, H, W]` normalized by its own statistics over N, H and W (biased variance), times
    /// `weight` `[C]`, plus `bias` `[C]`; and those statistics. Needs at least two values per
    /// channel.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 3.0, 1.0, 3.0], &[2, 1, 1, 2])?;
    /// let [weight, bias] = [10.0, 5.0].map(|value| Tensor::from_slice(&[value], &[1]).unwrap());
    /// let (y, statistics) = x.batch_norm_train(&weight, &bias, 0.0)?;
    /// assert_eq!(y.to_f64_vec()?, [-5.0, 15.0, -5.0, 15.0]);
    /// assert_eq!((statistics.mean.item()?, statistics.var.item()?), (2.0, 4.0 / 3.0));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn batch_norm_train(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
    ) -> Result<(Tensor, BatchStats)> {
        self.batch_norm_train_among(weight, bias, eps, None)
    }

    /// Like [`Tensor::batch_norm_train`], but for a batch that `ranks` share, of which this is a
    /// part: the statistics are those of the whole, and gradients flow through them from all parts.
    /// Each rank's gradients of `weight` and `bias` are those of its own part. All ranks wait for
    /// each other here, and again in the backward pass. See [`Collectives`] for an example.
    pub fn batch_norm_train_among(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
        ranks: Option<&Arc<dyn Collectives>>,
    ) -> Result<(Tensor, BatchStats)> {
        let y = infer(&[self.meta(), weight.meta(), bias.meta()])?;
        let [n, c, h, w] = self.dims4(NAME)?;
        // Running statistics move by small steps, which a half type would round away.
        let dtype = match self.dtype() {
            DType::F16 | DType::BF16 => DType::F32,
            dtype => dtype,
        };
        let statistic = Meta { shape: vec![c], dtype };
        let among = ranks.cloned();
        let later = move |x: &[Tensor]| {
            let (y, BatchStats { mean, var }) =
                x[0].batch_norm_train_among(&x[1], &x[2], eps, among.as_ref())?;
            Ok(vec![y, mean, var])
        };
        let outputs = [y, statistic.clone(), statistic];
        if let Some(traced) = trace::defer(NAME, (), &[self, weight, bias], &outputs, later)?
            && let Ok([y, mean, var]) = <[Tensor; 3]>::try_from(traced)
        {
            return Ok((y, BatchStats { mean, var }));
        }
        let require_two = |count: f64| {
            if count < 2.0 {
                let why =
                    "training needs more than one value per channel (a single one has no variance)";
                return Err(Error::shape(NAME, format!("{why}, got shape {:?}", self.shape())));
            }
            Ok(())
        };
        let (mut count, mut whole) = ((n * h * w) as f64, None);
        if ranks.is_none() {
            require_two(count)?;
        }
        let mut statistics = Statistics::of(NAME, self, 1)?;
        if let Some(ranks) = ranks {
            (statistics, count) = statistics.of_all(NAME, count, &**ranks)?;
            require_two(count)?;
            whole = Some(Whole { ranks: ranks.clone(), count });
        }
        let unbiased = statistics.var.scale(count / (count - 1.0))?;
        let report = |numbers: &Tensor| numbers.reshape(&[c])?.to_dtype(dtype);
        let (mean, var) = (report(&statistics.mean)?, report(&unbiased)?);
        let y = apply(
            BatchNorm(Normalize { statistics, eps, of_input: true, whole }),
            &[self, weight, bias],
        )?;
        Ok((y, BatchStats { mean, var }))
    }

    /// `[N, C, H, W]` normalized by the constants `mean` and `var`, of any floating-point type,
    /// times `weight`, plus `bias`; all `[C]`.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[0.0, 4.0], &[2, 1, 1, 1])?;
    /// let [mean, var, weight, bias] =
    ///     [2.0, 4.0, 10.0, 5.0].map(|value| Tensor::from_slice(&[value], &[1]).unwrap());
    /// let y = x.batch_norm_eval(&mean, &var, &weight, &bias, 0.0)?;
    /// assert_eq!(y.to_f64_vec()?, [-5.0, 15.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn batch_norm_eval(
        &self,
        mean: &Tensor,
        var: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
    ) -> Result<Tensor> {
        let like_x = |numbers: &Tensor| Meta { dtype: self.dtype(), ..numbers.meta() };
        normalize::infer(NAME, &self.meta(), &[("mean", &like_x(mean)), ("var", &like_x(var))])?;
        let y = infer(&[self.meta(), weight.meta(), bias.meta()])?;
        let inputs = [self, mean, var, weight, bias];
        if let Some(mut traced) = trace::note(|| by_statistics(eps), &inputs, &[y])? {
            return Ok(traced.swap_remove(0));
        }
        let statistics = Statistics::given(mean, var)?;
        apply(
            BatchNorm(Normalize { statistics, eps, of_input: false, whole: None }),
            &[self, weight, bias],
        )
    }
}

/// Batch normalization by given statistics, as plans know it: of x, by a mean, a variance, a weight
/// and a bias.
pub(crate) struct WithStats {
    pub(crate) eps: f64,
}

/// [`WithStats`] of its five inputs, for a graph.
pub(crate) fn by_statistics(eps: f64) -> Arc<dyn DynOp> {
    Arc::new(WithStats { eps })
}

impl DynOp for WithStats {
    fn name(&self) -> &'static str {
        NAME
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![inputs[0].clone()])
    }

    fn compute(&self, x: Vec<Tensor>, _: &[Meta]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].batch_norm_eval(&x[1], &x[2], &x[3], &x[4], self.eps)?])
    }

    fn settings(&self) -> Option<String> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

struct BatchNorm(Normalize);

impl Op for BatchNorm {
    const NAME: &'static str = NAME;
    type Saved = Saved;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Saved)> {
        self.0.forward(NAME, inputs, need)
    }

    fn backward(&self, saved: Saved, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        self.0.backward(NAME, saved, dy, need)
    }
}

fn infer(inputs: &[Meta]) -> Result<Meta> {
    normalize::infer(NAME, &inputs[0], &[("weight", &inputs[1]), ("bias", &inputs[2])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::normalize::tests::check_each_gradient_alone;
    use crate::{Rng, Tape};

    fn tensor(data: &[f64], shape: &[usize]) -> Tensor {
        Tensor::from_slice(data, shape).unwrap()
    }

    #[test]
    fn training_uses_the_batch_and_reports_the_unbiased_variance() {
        // Channel 0: 1, 3 (mean 2, biased variance 1); channel 1: 0, 8 (mean 4, biased variance
        // 16).
        let x = tensor(&[1.0, 0.0, 3.0, 8.0], &[2, 2, 1, 1]);
        let (y, stats) = x
            .batch_norm_train(&tensor(&[5.0, 2.0], &[2]), &tensor(&[0.0, 1.0], &[2]), 0.0)
            .unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [-5.0, -1.0, 5.0, 3.0]);
        assert_eq!(stats.mean.to_f64_vec().unwrap(), [2.0, 4.0]);
        assert_eq!(stats.var.to_f64_vec().unwrap(), [2.0, 32.0]);
    }

    #[test]
    fn evaluation_uses_what_it_is_given() {
        let x = tensor(&[1.0, 0.0], &[1, 2, 1, 1]);
        let (mean, var) = (tensor(&[-1.0, 3.0], &[2]), tensor(&[3.75, 0.0], &[2]));
        let y = x
            .batch_norm_eval(
                &mean,
                &var,
                &tensor(&[2.0, 1.0], &[2]),
                &tensor(&[0.5, 0.0], &[2]),
                0.25,
            )
            .unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [2.5, -6.0]);
    }

    #[test]
    fn a_large_mean_costs_no_precision() {
        let mut rng = Rng::new(1);
        let x = Tensor::randn(&[2, 3, 40, 40], DType::F32, &mut rng)
            .unwrap()
            .affine(1.0, 4096.0)
            .unwrap();
        let (one, zero) =
            (Tensor::ones(&[3], DType::F32).unwrap(), Tensor::zeros(&[3], DType::F32).unwrap());
        let (_, stats) = x.batch_norm_train(&one, &zero, 1e-5).unwrap();
        let mean = x.to_f64_vec().unwrap().chunks(1600).step_by(3).flatten().sum::<f64>() / 3200.0;
        let squares = x
            .to_f64_vec()
            .unwrap()
            .chunks(1600)
            .step_by(3)
            .flatten()
            .map(|x| (x - mean).powi(2))
            .sum::<f64>();
        let var = stats.var.to_f64_vec().unwrap()[0];
        assert!((var - squares / 3199.0).abs() < 1e-6 * var, "{var} is not {}", squares / 3199.0);
    }

    #[test]
    fn a_skipped_gradient_does_not_change_the_others() {
        let mut rng = Rng::new(2);
        let x = Tensor::randn(&[3, 2, 2, 3], DType::F64, &mut rng).unwrap();
        let (weight, bias) =
            (Tensor::ones(&[2], DType::F64).unwrap(), Tensor::zeros(&[2], DType::F64).unwrap());
        check_each_gradient_alone(&[x, weight, bias]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x = Tensor::randn(&[3, 5, 40, 41], DType::F32, &mut Rng::new(3)).unwrap();
        let weight = Tensor::ones(&[5], DType::F32).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let tape = Tape::new();
                let leaf = tape.leaf(&x);
                let y = leaf.batch_norm_train(&weight, &weight, 1e-5).unwrap().0;
                let gradients =
                    tape.backward(&y.mul(&y).unwrap().mul(&y).unwrap().sum_all().unwrap()).unwrap();
                (y.to_vec::<f32>().unwrap(), gradients.get(&leaf).unwrap().to_vec::<f32>().unwrap())
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[1, 2, 1, 1], DType::F32).unwrap();
        let (two, three) =
            (Tensor::ones(&[2], DType::F32).unwrap(), Tensor::ones(&[3], DType::F32).unwrap());
        assert_eq!(
            x.batch_norm_train(&two, &two, 1e-5).unwrap_err().to_string(),
            "batch_norm: training needs more than one value per channel (a single one has no \
             variance), \
             got shape [1, 2, 1, 1]"
        );
        assert_eq!(
            x.batch_norm_train(&two, &three, 1e-5).unwrap_err().to_string(),
            "batch_norm: bias must have shape [2] for x [1, 2, 1, 1], got [3]"
        );
        assert_eq!(
            x.batch_norm_eval(&two, &three, &two, &two, 1e-5).unwrap_err().to_string(),
            "batch_norm: var must have shape [2] for x [1, 2, 1, 1], got [3]"
        );
        let double = Tensor::ones(&[2], DType::F64).unwrap();
        assert_eq!(
            x.batch_norm_eval(&two, &two, &double, &two, 1e-5).unwrap_err().to_string(),
            "batch_norm: expected dtype f32, got f64"
        );
    }
}
