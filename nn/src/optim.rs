//! Optimizers. The arithmetic of a step is in [`engine::optimizer`]; here is the state between
//! steps. A step of a whole model, with its buffers and its moving average, is a
//! [`TrainingStep`](crate::TrainingStep).

use crate::params::{EntryKind, Params};
use crate::{Error, Result};
use engine::optimizer::{self, Parameter, StepScalars};
use engine::{Device, Tensor};
use std::collections::HashMap;

pub use engine::optimizer::{Clip, Rule};

/// A rule and its state.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::optim::{Optimizer, Rule};
/// use nn::{Context, Params, TrainingStep};
/// let (w, mut params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 1.0)))?;
/// let mut optimizer = Optimizer::new(Rule::adam(), &params);
/// let (gradient, pass) = (Tensor::scalar(5.0, DType::F64)?, Context::inference(&params).finish());
/// let mut step = TrainingStep::begin(&mut optimizer, None, 0.1)?;
/// step.apply(&mut params, &[Some(gradient)], pass, None)?;
/// step.commit();
/// // The first step of Adam has the length of the learning rate.
/// assert!((params.get(w)?.item()? - 0.9).abs() < 1e-8);
///
/// // Saved, and resumed.
/// let (steps, slots) = (optimizer.steps().to_vec(), optimizer.tensors(&params));
/// assert_eq!(slots[0].0, "exp_avg.w");
/// let resumed = Optimizer::resume(Rule::adam(), &params, steps, &slots.into_iter().collect())?;
/// assert_eq!(resumed.steps(), [1]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    /// The number of steps of each entry of [`Params`]: an entry without a gradient takes none.
    steps: Vec<u64>,
    /// The rule's slots of each entry, empty until its first step.
    slots: Vec<Vec<Tensor>>,
    /// The entries that the last step moved.
    moved: Vec<usize>,
    /// The scalars of the step, for each entry.
    scalars: StepScalars,
    /// The scalars that move a buffer to its new value, once that was done on a GPU.
    buffer_scalars: Option<StepScalars>,
}

impl Optimizer {
    /// A fresh optimizer for the entries of `params`.
    pub fn new(rule: Rule, params: &Params) -> Self {
        let n = params.entries().len();
        Self::with(rule, vec![0; n], vec![Vec::new(); n])
    }

    fn with(rule: Rule, steps: Vec<u64>, slots: Vec<Vec<Tensor>>) -> Self {
        let (moved, scalars) = (Vec::new(), StepScalars::default());
        Self { rule, steps, slots, moved, scalars, buffer_scalars: None }
    }

    /// Moves every parameter that has a gradient, with learning rate `lr`, and no buffer.
    /// `gradients` are in the order of `params`. For tests of the rules: a
    /// [`TrainingStep`](crate::TrainingStep) does not forget buffers.
    #[cfg(test)]
    pub(crate) fn step(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        self.count(params, gradients, lr)?;
        self.apply(params, gradients, None, false)
    }

    /// Counts a step of every parameter that has a gradient, and sets its scalars.
    pub(crate) fn count(
        &mut self,
        params: &Params,
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        if self.steps.len() != params.entries().len() {
            return Err(Error::Setting(format!(
                "the optimizer is for a model with {} parameters and buffers, not for one with {}",
                self.steps.len(),
                params.entries().len()
            )));
        }
        let trained = params.parameters().map(|(id, _)| id.index);
        self.moved = trained.filter(|&id| gradients.get(id).is_some_and(Option::is_some)).collect();
        self.count_again(lr)
    }

    /// Counts one more step of the parameters that the last one moved, and sets its scalars.
    pub(crate) fn count_again(&mut self, lr: f64) -> Result<()> {
        let mut scalars = vec![self.rule.scalars(1, lr); self.steps.len()];
        for &id in &self.moved {
            self.steps[id] = self.steps[id].saturating_add(1);
            scalars[id] = self.rule.scalars(self.steps[id], lr);
        }
        Ok(self.scalars.set(scalars)?)
    }

    /// Puts back earlier counts.
    pub(crate) fn restore(&mut self, steps: Vec<u64>) {
        self.steps = steps;
    }

    /// Whether a step has been counted, so that it is known which parameters have gradients.
    pub(crate) fn has_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Moves the parameters that have a gradient, with the scalars of the last counted step.
    pub(crate) fn apply(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        clip: Option<Clip<'_>>,
        in_place: bool,
    ) -> Result<()> {
        let mut parameters = Vec::new();
        for (scalars, ((entry, gradient), slots)) in
            params.entries_mut().iter_mut().zip(gradients).zip(&mut self.slots).enumerate()
        {
            if let (EntryKind::Parameter, Some(gradient)) = (entry.kind, gradient) {
                parameters.push(Parameter { value: &mut entry.value, gradient, slots, scalars });
            }
        }
        Ok(optimizer::step(self.rule, &mut self.scalars, &mut parameters, clip, in_place)?)
    }

    /// The scalars of an average with decay 0: it moves a buffer to its new value, unless the
    /// device decides not to.
    pub(crate) fn buffer_scalars(&mut self) -> Result<&mut StepScalars> {
        if self.buffer_scalars.is_none() {
            let mut scalars = StepScalars::default();
            scalars.set(vec![optimizer::decay_scalars(0.0)])?;
            self.buffer_scalars = Some(scalars);
        }
        Ok(self.buffer_scalars.get_or_insert_default())
    }

    /// The same optimizer with its slots on `device`.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let there = |tensors: Vec<Tensor>| {
            tensors.iter().map(|x| Ok(x.to_device(device)?)).collect::<Result<Vec<_>>>()
        };
        Ok(Self { slots: self.slots.into_iter().map(there).collect::<Result<_>>()?, ..self })
    }

    /// The slots as named tensors, for a checkpoint: `<slot>.<path>`.
    pub fn tensors(&self, params: &Params) -> Vec<(String, Tensor)> {
        let mut named = Vec::new();
        for (entry, slots) in params.entries().iter().zip(&self.slots) {
            for (slot, tensor) in self.rule.slot_names().iter().zip(slots) {
                named.push((format!("{slot}.{}", entry.path), tensor.clone()));
            }
        }
        named
    }

    /// The number of steps of each entry, for a checkpoint.
    pub fn steps(&self) -> &[u64] {
        &self.steps
    }

    /// An optimizer that resumes from the results of [`Optimizer::tensors`] and
    /// [`Optimizer::steps`].
    pub fn resume(
        rule: Rule,
        params: &Params,
        steps: Vec<u64>,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Self> {
        let refuse = |reason: String| Error::Mismatch {
            origin: "the optimizer's state".into(),
            details: reason,
        };
        if steps.len() != params.entries().len() {
            return Err(refuse(format!(
                "{} step counts for {} entries",
                steps.len(),
                params.entries().len()
            )));
        }
        let mut slots = Vec::with_capacity(steps.len());
        for (entry, &taken) in params.entries().iter().zip(&steps) {
            if taken == 0 || entry.kind == EntryKind::Buffer {
                slots.push(Vec::new());
                continue;
            }
            let slot = |slot: &&str| {
                let name = format!("{slot}.{}", entry.path);
                match tensors.get(&name) {
                    Some(tensor) if tensor.meta() == entry.value.meta() => Ok(tensor.clone()),
                    Some(tensor) => Err(refuse(format!(
                        "{name} is {}, expected {}",
                        tensor.meta(),
                        entry.value.meta()
                    ))),
                    None => Err(refuse(format!("{name} is missing"))),
                }
            };
            slots.push(rule.slot_names().iter().map(slot).collect::<Result<_>>()?);
        }
        Ok(Self::with(rule, steps, slots))
    }
}

/// The L2 norm over all gradients together, on their device, without waiting for it. For [`Clip`],
/// and to be read later.
///
/// ```
/// let gradients = [Some(engine::Tensor::from_slice(&[3f32, 4.0], &[2])?), None];
/// assert_eq!(nn::optim::norm(&gradients)?.item()?, 5.0);
/// # Ok::<_, nn::Error>(())
/// ```
pub fn norm(gradients: &[Option<Tensor>]) -> Result<Tensor> {
    Ok(optimizer::norm(&gradients.iter().flatten().collect::<Vec<_>>())?)
}

/// The L2 norm over all gradients together.
///
/// [`clip_global_norm`] shows it.
pub fn global_norm(gradients: &[Option<Tensor>]) -> Result<f64> {
    Ok(norm(gradients)?.item()?)
}

/// Scales all gradients by min(1, `max_norm` / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`;
/// returns the norm before. It waits for the norm; a [`TrainingStep`](crate::TrainingStep) does
/// not.
///
/// ```
/// use engine::Tensor;
/// use nn::optim::{clip_global_norm, global_norm};
/// let mut gradients = vec![Some(Tensor::from_slice(&[3.0, 4.0], &[2])?), None];
/// assert_eq!(clip_global_norm(&mut gradients, 1.0)?, 5.0);
/// assert!((global_norm(&gradients)? - 1.0).abs() < 1e-6);
/// # Ok::<_, nn::Error>(())
/// ```
pub fn clip_global_norm(gradients: &mut [Option<Tensor>], max_norm: f64) -> Result<f64> {
    let norm = global_norm(gradients)?;
    let scale = max_norm / (norm + 1e-6);
    if scale < 1.0 {
        for gradient in gradients.iter_mut().flatten() {
            *gradient = gradient.scale(scale)?;
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::DType;

    fn one(value: f64) -> (Params, impl Fn(f64) -> Vec<Option<Tensor>>) {
        let (_, params) =
            Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], value))).unwrap();
        (params, |g| vec![Some(Tensor::full(&[1], g, DType::F64).unwrap())])
    }

    fn value(params: &Params) -> f64 {
        params.entries()[0].value.item().unwrap()
    }

    #[test]
    fn the_first_step_of_adam_has_the_length_of_the_learning_rate() {
        let (mut params, gradient) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &params);
        adam.step(&mut params, &gradient(5.0), 0.1).unwrap();
        assert!((value(&params) - 0.9).abs() < 1e-9);
        // Second step, by hand: m = 0.45 + 0.1·(−1), v = 0.999·0.025 + 0.001.
        adam.step(&mut params, &gradient(-1.0), 0.1).unwrap();
        let (m, v) = (0.9 * 0.5 - 0.1, 0.999 * 0.025 + 0.001);
        let expected =
            0.9 - 0.1 / (1.0 - 0.81) * m / ((v / (1.0 - 0.999f64.powi(2))).sqrt() + 1e-8);
        assert!((value(&params) - expected).abs() < 1e-9);
    }

    #[test]
    fn the_decay_of_adam_w_acts_on_the_value() {
        let (mut params, gradient) = one(1.0);
        let mut optimizer = Optimizer::new(Rule::adam_w(), &params);
        optimizer.step(&mut params, &gradient(0.0), 0.1).unwrap();
        assert!((value(&params) - 0.999).abs() < 1e-12);
    }

    #[test]
    fn momentum_remembers() {
        let (mut params, gradient) = one(0.0);
        let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.5, weight_decay: 0.0 }, &params);
        sgd.step(&mut params, &gradient(1.0), 0.1).unwrap();
        sgd.step(&mut params, &gradient(1.0), 0.1).unwrap();
        assert!((value(&params) + 0.1 + 0.15).abs() < 1e-12);
    }

    #[test]
    fn saved_and_resumed_it_takes_the_same_step() {
        let (mut params, gradient) = one(1.0);
        let mut first = Optimizer::new(Rule::adam(), &params);
        first.step(&mut params, &gradient(0.3), 0.1).unwrap();
        let tensors = first.tensors(&params).into_iter().collect();
        let mut second =
            Optimizer::resume(Rule::adam(), &params, first.steps().to_vec(), &tensors).unwrap();
        let mut twin = params.clone();
        first.step(&mut params, &gradient(-0.2), 0.1).unwrap();
        second.step(&mut twin, &gradient(-0.2), 0.1).unwrap();
        assert_eq!(value(&params).to_bits(), value(&twin).to_bits());
        assert!(Optimizer::resume(Rule::adam(), &params, vec![1], &HashMap::new()).is_err());
    }

    #[test]
    fn counts_do_not_overflow() {
        let (mut params, gradient) = one(1.0);
        let slots = ["exp_avg", "exp_avg_sq"].map(|slot| (format!("{slot}.w"), gradient(0.5)));
        let slots = slots.map(|(name, mut x)| (name, x.remove(0).unwrap())).into();
        let steps = vec![u64::MAX];
        let mut adam = Optimizer::resume(Rule::adam(), &params, steps, &slots).unwrap();
        adam.step(&mut params, &gradient(0.5), 0.1).unwrap();
        assert_eq!(adam.steps(), [u64::MAX]);
        // The corrections of the first steps have long gone: m/√v.
        let expected = 1.0 - 0.1 * 0.5 / (0.999f64 * 0.5 + 0.001 * 0.25).sqrt();
        assert!((value(&params) - expected).abs() < 1e-8, "{}", value(&params));
    }

    #[test]
    fn clipping_scales_all_gradients_together() {
        let mut gradients = vec![
            Some(Tensor::full(&[1], 3.0, DType::F64).unwrap()),
            None,
            Some(Tensor::full(&[1], 4.0, DType::F64).unwrap()),
        ];
        assert_eq!(clip_global_norm(&mut gradients, 10.0).unwrap(), 5.0);
        assert_eq!(gradients[0].as_ref().unwrap().item().unwrap(), 3.0);
        clip_global_norm(&mut gradients, 1.0).unwrap();
        assert!((global_norm(&gradients).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn an_optimizer_of_another_model_is_refused() {
        let (mut params, _) = one(1.0);
        let (_, other) = Params::build(0, DType::F64, |b| {
            Ok((b.constant("v", &[1], 1.0), b.constant("w", &[1], 1.0)))
        })
        .unwrap();
        let mut adam = Optimizer::new(Rule::adam(), &other);
        let gradients = vec![Some(Tensor::full(&[1], 1.0, DType::F64).unwrap())];
        let message = adam.step(&mut params, &gradients, 0.1).unwrap_err().to_string();
        assert!(message.contains("2 parameters and buffers, not for one with 1"), "{message}");
        assert_eq!(value(&params), 1.0);
    }
}
