//! The requirements of a step, which are checked before the first parameter moves. No check reads
//! the values of tensors, so none waits for a GPU.

use super::parameters::{Clip, Parameter, StepScalars};
use super::rule::{OP, Rule};
use crate::cuda::computed_in;
use crate::dispatch::on_device;
use crate::{DType, Device, Error, Result, Tensor};

/// An error unless every parameter can be moved.
pub(super) fn require_step(
    rule: Rule,
    scalars: &StepScalars,
    parameters: &[Parameter<'_>],
    clip: Option<Clip<'_>>,
) -> Result<()> {
    rule.check()?;
    if let Some(Clip { norm, limit }) = clip {
        norm.require_elements(OP)?;
        if limit.is_nan() || limit < 0.0 {
            let message = format!("the limit of the norm must not be negative, got {limit}");
            return Err(Error::shape(OP, message));
        }
    }
    let Some(device) = parameters.first().map(|parameter| parameter.value.device()) else {
        return Ok(());
    };
    parameters.iter().try_for_each(|parameter| {
        require_scalars(scalars, parameter.scalars)?;
        require_parameter(rule, parameter, device)
    })
}

fn require_scalars(scalars: &StepScalars, index: usize) -> Result<()> {
    let numbers = scalars.get(index)?;
    let finite = [numbers.keep, numbers.root, numbers.rate].iter().all(|x| x.is_finite());
    if finite && numbers.rate >= 0.0 {
        return Ok(());
    }
    let message = format!("a step needs finite numbers, and a rate not below 0, got {numbers:?}");
    Err(Error::shape(OP, message))
}

/// An error unless gradient and slots are like the value, and all of them are on `device`.
fn require_parameter(rule: Rule, parameter: &Parameter<'_>, device: Device) -> Result<()> {
    let Parameter { value, gradient, slots, .. } = parameter;
    let count = rule.slot_names().len();
    let unlike = |slot: &Tensor| slot.meta() != value.meta();
    if (!slots.is_empty() && slots.len() != count) || slots.iter().any(unlike) {
        let kinds: Vec<String> = slots.iter().map(|slot| slot.meta().to_string()).collect();
        let kinds = kinds.join(", ");
        let message = format!(
            "the state of a parameter {} is {kinds}, not {count} of its shape and dtype",
            value.meta()
        );
        return Err(Error::shape(OP, message));
    }
    if gradient.shape() != value.shape() {
        let (value, gradient) = (value.shape(), gradient.shape());
        let message = format!("the gradient of a parameter {value:?} is {gradient:?}");
        return Err(Error::shape(OP, message));
    }
    let all = || [&**value, *gradient].into_iter().chain(slots.iter());
    all().try_for_each(|tensor| tensor.require_elements(OP))?;
    if let Some(other) = all().map(Tensor::device).find(|other| *other != device) {
        return Err(Error::cuda(OP, format!("tensors are on {device} and on {other}")));
    }
    if matches!(gradient.dtype(), DType::I64 | DType::U8) {
        return Err(Error::dtype(OP, "of a gradient, a floating-point one", gradient.dtype()));
    }
    let real = computed_in(gradient.dtype());
    let computes = on_device(
        value.gpu(),
        value.dtype(),
        |dtype| matches!(dtype, DType::F32 | DType::F64),
        |_, dtype| dtype == real,
    );
    match computes {
        true => Ok(()),
        false => Err(Error::dtype(OP, real, value.dtype())),
    }
}

/// An error unless every average can follow its value.
pub(super) fn require_average(
    scalars: &StepScalars,
    averages: &[Tensor],
    values: &[&Tensor],
    norm: Option<&Tensor>,
) -> Result<()> {
    const OP: &str = "average";
    if averages.len() != values.len()
        || averages.iter().zip(values).any(|(a, b)| a.meta() != b.meta())
    {
        return Err(Error::shape(OP, "averages and values are not alike"));
    }
    let Some(first) = averages.first() else { return Ok(()) };
    let all = || averages.iter().chain(values.iter().copied());
    all().chain(norm).try_for_each(|tensor| tensor.require_elements(OP))?;
    let device = first.device();
    if let Some(other) = all().map(Tensor::device).find(|other| *other != device) {
        return Err(Error::cuda(OP, format!("tensors are on {device} and on {other}")));
    }
    let keep = scalars.get(0)?.keep;
    match (0.0..=1.0).contains(&keep) {
        true => Ok(()),
        false => Err(Error::shape(OP, format!("a decay must be in [0, 1], got {keep}"))),
    }
}
