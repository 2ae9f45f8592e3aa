//! Optimizers. The arithmetic of a step is in [`engine::optimizer`]; here is the state between
//! steps. A step of a whole model, with its buffers and its moving average, is a
//! [`TrainingStep`](crate::TrainingStep).

use crate::params::{EntryKind, Params};
use crate::{Error, Result};
use engine::optimizer::{self, Parameter, StepScalars};
use engine::{Device, Tensor, counted};
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

/// What an optimizer has counted before a step.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    steps: Vec<u64>,
    moved: Vec<usize>,
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
        self.moved = self.to_move(params, gradients)?;
        self.count_again(lr)
    }

    /// The entries that a step with these gradients moves.
    fn to_move(&self, params: &Params, gradients: &[Option<Tensor>]) -> Result<Vec<usize>> {
        let entries = params.entries().len();
        for (what, count) in [("state is", self.steps.len()), ("gradients are", gradients.len())] {
            if count != entries {
                let entries = if count == 1 { "entry" } else { "entries" };
                return Err(Error::Setting(format!(
                    "the optimizer's {what} for a model with {count} {entries}, not for one with \
                     {}",
                    params.kinds()
                )));
            }
        }
        let trained = params.parameters().map(|(id, _)| id.index);
        Ok(trained.filter(|&id| gradients[id].is_some()).collect())
    }

    /// An error unless a step with these gradients moves the parameters that the last one moved.
    pub(crate) fn require_same_moves(
        &self,
        params: &Params,
        gradients: &[Option<Tensor>],
    ) -> Result<()> {
        let moves = self.to_move(params, gradients)?;
        if moves == self.moved {
            return Ok(());
        }
        let other = moves.iter().find(|id| !self.moved.contains(id));
        let other = other.or_else(|| self.moved.iter().find(|id| !moves.contains(id)));
        let path = other.map_or("", |&id| &params.entries()[id].path);
        Err(Error::Setting(format!(
            "a replayed step moves the parameters that the last one moved, but {path} has a \
             gradient in one of them alone"
        )))
    }

    /// An error if the rule's numbers, or the learning rate, cannot be used.
    pub(crate) fn require_settings(&self, lr: f64) -> Result<()> {
        self.rule.check()?;
        match lr.is_finite() && lr >= 0.0 {
            true => Ok(()),
            false => Err(Error::Setting(format!(
                "the learning rate must be finite and not negative, got {lr}"
            ))),
        }
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

    /// The counts and moves so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts { steps: self.steps.clone(), moved: self.moved.clone() }
    }

    /// Puts back earlier counts and moves.
    pub(crate) fn restore(&mut self, Counts { steps, moved }: Counts) {
        (self.steps, self.moved) = (steps, moved);
    }

    /// Like [`Optimizer::restore`], for a step that changed no values; keeps the list of moved
    /// parameters.
    pub(crate) fn restore_steps(&mut self, counts: Counts) {
        self.steps = counts.steps;
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
    /// [`Optimizer::steps`]. The tensors are shared, not copied, and kept off any tape.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if one is missing, [traced](Tensor::is_traced), or not like its
    /// parameter; those of [`Rule::check`].
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
        rule.check()?;
        if steps.len() != params.entries().len() {
            let counts = counted(steps.len(), "step count");
            return Err(refuse(format!("{counts} for a model with {}", params.kinds())));
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
                    Some(tensor) if tensor.is_traced() => {
                        Err(refuse(format!("{name} is traced and has no elements")))
                    }
                    Some(tensor) if tensor.meta() == entry.value.meta() => Ok(tensor.detach()),
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
///
/// # Errors
/// [`Error::Setting`] if `max_norm` is negative or NaN.
pub fn clip_global_norm(gradients: &mut [Option<Tensor>], max_norm: f64) -> Result<f64> {
    if max_norm.is_nan() || max_norm < 0.0 {
        let message = format!("the limit of the norm must not be negative, got {max_norm}");
        return Err(Error::Setting(message));
    }
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
mod tests;
