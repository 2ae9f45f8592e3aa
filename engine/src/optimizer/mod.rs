//! How gradients change parameters: the rules of optimizers, norms of gradients, moving averages.
//!
//! These are not operations and are never recorded. In main memory they are written as
//! operations on tensors, which is also what defines them. On a GPU, where a model's two hundred
//! parameters would take thousands of launches, one kernel moves many parameters at once, and in
//! place.
//!
//! Nothing here waits for a GPU. The numbers that the host decides anew for each step, the learning
//! rate and those that follow from the step's number, are in [`StepScalars`], and the norm that
//! gradients are clipped by stays where it was computed ([`Clip`]); so a step can be recorded and
//! played again.

mod cuda;
mod fit;
mod parameters;
mod rule;

use crate::dispatch::on_device;
use crate::{Result, Tensor};
pub use parameters::{Clip, Parameter, StepScalars};
pub use rule::{Rule, Scalars};

/// Moves every parameter by `rule`, with the numbers of `scalars`.
///
/// On a GPU a value whose memory others hold as well moves to memory of its own, and the others'
/// value stays as it was; unless `in_place`, which overwrites it, so that addresses never change.
/// That is for a step that is recorded to be played again. In main memory values are always
/// replaced.
///
/// ```
/// use engine::Tensor;
/// use engine::optimizer::{Clip, Parameter, Rule, StepScalars, norm, step};
/// let rule = Rule::Sgd { momentum: 0.0, weight_decay: 0.0 };
/// let mut value = Tensor::from_slice(&[1.0, 1.0], &[2])?;
/// let (gradient, slots) = (Tensor::from_slice(&[3.0, 4.0], &[2])?, &mut Vec::new());
/// let norm = &norm(&[&gradient])?;
/// assert_eq!(norm.item()?, 5.0);
/// let mut scalars = StepScalars::default();
/// scalars.set(vec![rule.scalars(1, 0.5)])?; // the learning rate is 0.5
/// let parameter = Parameter { value: &mut value, gradient: &gradient, slots, scalars: 0 };
/// let clip = Clip { norm, limit: 1.0 }; // to a fifth
/// step(rule, &mut scalars, &mut [parameter], Some(clip), false)?;
/// let moved = value.to_f64_vec()?;
/// assert!((moved[0] - 0.7).abs() < 1e-6 && (moved[1] - 0.6).abs() < 1e-6);
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// If a number of the rule or of the step, or the limit, is [out of range](Rule::check); if values,
/// gradients and slots are not alike, or are traced. Nothing has moved then. If there is no memory,
/// some parameters may have moved, each of them with its slots.
pub fn step(
    rule: Rule,
    scalars: &mut StepScalars,
    parameters: &mut [Parameter<'_>],
    clip: Option<Clip<'_>>,
    in_place: bool,
) -> Result<()> {
    fit::require_step(rule, scalars, parameters, clip)?;
    on_device(
        parameters.first().and_then(|parameter| parameter.value.gpu()),
        (scalars, parameters),
        |(scalars, parameters)| {
            let Some(scale) = scale(clip)? else { return Ok(()) };
            parameters.iter_mut().try_for_each(|parameter| {
                move_parameter(rule, scalars.get(parameter.scalars)?, parameter, scale)
            })
        },
        |gpu, (scalars, parameters)| cuda::step(gpu, rule, scalars, parameters, clip, in_place),
    )
}

/// The factor that clips gradients; none if their norm is not finite.
fn scale(clip: Option<Clip<'_>>) -> Result<Option<f64>> {
    let Some(Clip { norm, limit }) = clip else { return Ok(Some(1.0)) };
    let norm = norm.item()?;
    Ok(norm.is_finite().then_some((limit / (norm + 1e-6)).min(1.0)))
}

/// The step of one parameter, in PyTorch's order of operations. Value and slots change together, at
/// the end.
fn move_parameter(
    rule: Rule,
    scalars: Scalars,
    parameter: &mut Parameter<'_>,
    scale: f64,
) -> Result<()> {
    let Parameter { value, gradient, slots, .. } = parameter;
    let mut gradient = gradient.to_dtype(value.dtype())?.detach();
    if scale < 1.0 {
        gradient = gradient.scale(scale)?;
    }
    if let Rule::Adam { weight_decay, .. } | Rule::Sgd { weight_decay, .. } = rule
        && weight_decay != 0.0
    {
        gradient = gradient.add(&value.scale(weight_decay)?)?;
    }
    let (moved, remembered) = match rule {
        Rule::Adam { betas: (beta1, beta2), eps, .. }
        | Rule::AdamW { betas: (beta1, beta2), eps, .. } => {
            // m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)
            let zero = || Tensor::zeros(value.shape(), value.dtype());
            let slot = |i: usize| slots.get(i).map_or_else(zero, |slot| Ok(slot.clone()));
            let decayed = match rule {
                Rule::AdamW { .. } => value.scale(scalars.keep)?,
                _ => value.clone(),
            };
            let m = slot(0)?.scale(beta1)?.add(&gradient.scale(1.0 - beta1)?)?;
            let v = slot(1)?.scale(beta2)?.add(&gradient.mul(&gradient)?.scale(1.0 - beta2)?)?;
            let denominator = v.sqrt()?.affine(scalars.root, eps)?;
            (decayed.sub(&m.div(&denominator)?.scale(scalars.rate)?)?, vec![m, v])
        }
        Rule::Sgd { momentum, .. } => {
            let velocity = match slots.first() {
                Some(velocity) => velocity.scale(momentum)?.add(&gradient)?,
                None => gradient,
            };
            (value.sub(&velocity.scale(scalars.rate)?)?, vec![velocity])
        }
    };
    (**value, **slots) = (moved, remembered);
    Ok(())
}

/// The L2 norm over all gradients together: an f64 without dimensions, where the gradients are.
///
/// ```
/// use engine::{Tensor, optimizer::norm};
/// let [a, b] = [3.0, 4.0].map(|x| Tensor::from_slice(&[x], &[1]).unwrap());
/// assert_eq!(norm(&[&a, &b])?.item()?, 5.0);
/// # Ok::<_, engine::Error>(())
/// ```
pub fn norm(gradients: &[&Tensor]) -> Result<Tensor> {
    let on_cpu = |gradients: &[&Tensor]| {
        let mut squares = 0.0;
        for gradient in gradients {
            let square = gradient.mul(gradient).map_err(|error| error.of("norm"))?;
            squares += square.sum_all()?.item()?;
        }
        Tensor::scalar(f64::sqrt(squares), crate::DType::F64)
    };
    on_device(gradients.first().and_then(|first| first.gpu()), gradients, on_cpu, cuda::norm)
}

/// Moves every average toward the value that it follows, a ← d·a + (1 − d)·p, d being the decay
/// that `scalars` were set to by [`decay_scalars`]. With a `norm` that is not finite nothing is
/// changed, as in the [`step`] that it clipped. `in_place` is that of [`step`].
///
/// ```
/// use engine::Tensor;
/// use engine::optimizer::{StepScalars, average, decay_scalars};
/// let mut scalars = StepScalars::default();
/// scalars.set(vec![decay_scalars(0.75)])?;
/// let mut averages = [Tensor::from_slice(&[0.0], &[1])?];
/// let value = Tensor::from_slice(&[4.0], &[1])?;
/// average(&mut scalars, &mut averages, &[&value], None, false)?;
/// assert_eq!(averages[0].item()?, 1.0); // 0.75·0 + 0.25·4
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// If averages and values are not alike, or are traced, or the decay is not in [0, 1]. Nothing has
/// changed then.
pub fn average(
    scalars: &mut StepScalars,
    averages: &mut [Tensor],
    values: &[&Tensor],
    norm: Option<&Tensor>,
    in_place: bool,
) -> Result<()> {
    fit::require_average(scalars, averages, values, norm)?;
    on_device(
        averages.first().and_then(Tensor::gpu),
        (scalars, averages),
        |(scalars, averages)| {
            let clip = norm.map(|norm| Clip { norm, limit: f64::INFINITY });
            let (Scalars { keep, rate, .. }, Some(_)) = (scalars.get(0)?, scale(clip)?) else {
                return Ok(());
            };
            for (average, value) in averages.iter_mut().zip(values) {
                *average = average.scale(keep)?.add(&value.detach().scale(rate)?)?;
            }
            Ok(())
        },
        |gpu, (scalars, averages)| cuda::average(gpu, scalars, averages, values, norm, in_place),
    )
}

/// The numbers of an [`average`] that decays by `decay`.
pub fn decay_scalars(decay: f64) -> Scalars {
    Scalars { keep: decay, root: 1.0, rate: 1.0 - decay }
}
