//! Optimisers: how gradients change parameters. What is computed is in [`engine::optimizer`]; here
//! is what goes on from step to step.

use crate::params::{Kind, Params};
use crate::{Error, Pass, Result};
use engine::optimizer::{self, Parameter, Rows};
use engine::{Device, Tensor};
use std::collections::HashMap;

pub use engine::optimizer::{Clip, Rule, Shared};

/// A rule and what it remembers of earlier steps.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    /// Steps each entry of [`Params`] has taken: one without a gradient takes none.
    steps: Vec<u64>,
    /// The rule's memory of each entry, empty until its first step.
    memory: Vec<Vec<Tensor>>,
    /// The entries that the last step moved.
    moved: Vec<usize>,
    /// The numbers of the step, a row for each entry.
    rows: Rows,
    /// Those of moving a buffer to its new value.
    buffers: Option<Rows>,
}

impl Optimizer {
    /// A fresh optimiser for the entries of `params`.
    pub fn new(rule: Rule, params: &Params) -> Self {
        let n = params.entries().len();
        Self::with(rule, vec![0; n], vec![Vec::new(); n])
    }

    fn with(rule: Rule, steps: Vec<u64>, memory: Vec<Vec<Tensor>>) -> Self {
        Self { rule, steps, memory, moved: Vec::new(), rows: Rows::default(), buffers: None }
    }

    /// Moves every parameter that has a gradient, with learning rate `lr`. `gradients` are in the
    /// order of `params`.
    pub fn step(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        self.clipped_step(params, gradients, lr, None)
    }

    /// As [`Optimizer::step`], with the gradients scaled down to the bound `clip` as they are read.
    /// The host need not know their norm: if it is no finite number, the step changes nothing, and
    /// once that is known [`Optimizer::take_back`] makes it uncounted.
    pub fn clipped_step(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        lr: f64,
        clip: Option<Clip<'_>>,
    ) -> Result<()> {
        let trained = params.parameters().map(|(id, _)| id.0);
        self.moved = trained.filter(|&id| gradients.get(id).is_some_and(Option::is_some)).collect();
        self.advance(lr)?;
        self.apply(params, gradients, clip, Shared::Leave)
    }

    /// Counts one more step of the parameters that the last one moved, and sets its numbers. That
    /// is the host's part of a step; [`Optimizer::apply`] is the device's, which can be recorded
    /// and played again after each call of this.
    pub fn advance(&mut self, lr: f64) -> Result<()> {
        let mut rows = vec![self.rule.row(1, lr); self.steps.len()];
        for &id in &self.moved {
            self.steps[id] += 1;
            rows[id] = self.rule.row(self.steps[id], lr);
        }
        Ok(self.rows.set(rows)?)
    }

    /// Moves the parameters that have a gradient, with the numbers that [`Optimizer::advance`] set.
    pub fn apply(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        clip: Option<Clip<'_>>,
        shared: Shared,
    ) -> Result<()> {
        let mut parameters = Vec::new();
        for (row, ((entry, gradient), memory)) in
            params.entries_mut().iter_mut().zip(gradients).zip(&mut self.memory).enumerate()
        {
            if let (Kind::Parameter, Some(gradient)) = (entry.kind, gradient) {
                parameters.push(Parameter { value: &mut entry.value, gradient, memory, row });
            }
        }
        Ok(optimizer::step(self.rule, &mut self.rows, &mut parameters, clip, shared)?)
    }

    /// Puts what `pass` noted of buffers into those of `params`; unless `norm`, which the step was
    /// clipped by, is no finite number. Part of a step that may be recorded, where
    /// [`Pass::update_buffers`] would put them elsewhere each time.
    pub fn apply_buffers(
        &mut self,
        params: &mut Params,
        pass: Pass,
        norm: &Tensor,
        shared: Shared,
    ) -> Result<()> {
        if norm.device() == Device::Cpu {
            return if norm.item()?.is_finite() { pass.update_buffers(params) } else { Ok(()) };
        }
        if self.buffers.is_none() {
            // An average that forgets at once: all that is decided on the device is whether to
            // move.
            let mut rows = Rows::default();
            rows.set(vec![optimizer::decay_row(0.0)])?;
            self.buffers = Some(rows);
        }
        let (ids, values): (Vec<_>, Vec<_>) =
            pass.updates().iter().map(|(id, value)| (*id, value)).unzip();
        let mut buffers: Vec<Tensor> = ids.iter().map(|&id| params.get(id).clone()).collect();
        optimizer::average(
            self.buffers.get_or_insert_default(),
            &mut buffers,
            &values,
            Some(norm),
            shared,
        )?;
        ids.into_iter().zip(buffers).try_for_each(|(id, value)| params.set(id, value))
    }

    /// Whether this optimiser has moved anything: then [`Optimizer::advance`] knows what it is
    /// about.
    pub fn has_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Makes the last step uncounted, of which the device found that it was to change nothing.
    pub fn take_back(&mut self) {
        for &id in &self.moved {
            self.steps[id] -= 1;
        }
    }

    /// The same memory on `device`.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let there = |tensors: Vec<Tensor>| {
            tensors.iter().map(|x| Ok(x.to_device(device)?)).collect::<Result<Vec<_>>>()
        };
        Ok(Self { memory: self.memory.into_iter().map(there).collect::<Result<_>>()?, ..self })
    }

    /// The memory as named tensors, for a checkpoint: `<slot>.<path>`.
    pub fn tensors(&self, params: &Params) -> Vec<(String, Tensor)> {
        let mut named = Vec::new();
        for (entry, memory) in params.entries().iter().zip(&self.memory) {
            for (slot, tensor) in self.rule.slots().iter().zip(memory) {
                named.push((format!("{slot}.{}", entry.path), tensor.clone()));
            }
        }
        named
    }

    /// The steps each entry has taken, for a checkpoint.
    pub fn steps(&self) -> &[u64] {
        &self.steps
    }

    /// An optimiser that goes on from what [`Optimizer::tensors`] and [`Optimizer::steps`] gave.
    pub fn resume(
        rule: Rule,
        params: &Params,
        steps: Vec<u64>,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Self> {
        let refuse = |reason: String| Error::Mismatch {
            origin: "the optimiser's state".into(),
            details: reason,
        };
        if steps.len() != params.entries().len() {
            return Err(refuse(format!(
                "{} step counts for {} entries",
                steps.len(),
                params.entries().len()
            )));
        }
        let mut memory = Vec::with_capacity(steps.len());
        for (entry, &taken) in params.entries().iter().zip(&steps) {
            if taken == 0 || entry.kind == Kind::Buffer {
                memory.push(Vec::new());
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
            memory.push(rule.slots().iter().map(slot).collect::<Result<_>>()?);
        }
        Ok(Self::with(rule, steps, memory))
    }
}

/// The L2 norm over all gradients together, where they are: nobody waits for it. For [`Clip`], and
/// to be read later.
pub fn norm(gradients: &[Option<Tensor>]) -> Result<Tensor> {
    Ok(optimizer::norm(&gradients.iter().flatten().collect::<Vec<_>>())?)
}

/// The L2 norm over all gradients together.
pub fn global_norm(gradients: &[Option<Tensor>]) -> Result<f64> {
    Ok(norm(gradients)?.item()?)
}

/// Scales all gradients by min(1, `max_norm` / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`;
/// returns the norm before. It waits for that: [`Optimizer::clipped_step`] does not.
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
        (params, |g| vec![Some(Tensor::full(&[1], g, DType::F64))])
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
    fn a_step_in_two_parts_is_the_same_step() {
        let (mut params, gradient) = one(1.0);
        let mut first = Optimizer::new(Rule::adam(), &params);
        first.step(&mut params, &gradient(0.3), 0.1).unwrap();
        let (mut second, mut twin) = (first.clone(), params.clone());
        first.step(&mut params, &gradient(-0.2), 0.05).unwrap();
        second.advance(0.05).unwrap();
        second.apply(&mut twin, &gradient(-0.2), None, Shared::Overwrite).unwrap();
        assert_eq!(value(&params).to_bits(), value(&twin).to_bits());
        assert_eq!(first.steps(), second.steps());
    }

    #[test]
    fn a_clipped_step_is_one_with_clipped_gradients() {
        for limit in [1.0, 10.0] {
            let (mut params, gradient) = one(1.0);
            let sgd = Rule::Sgd { momentum: 0.9, weight_decay: 0.1 };
            let (mut twin, mut first, mut second) =
                (params.clone(), Optimizer::new(sgd, &params), Optimizer::new(sgd, &params));
            let norm = norm(&gradient(-3.0)).unwrap();
            first
                .clipped_step(&mut params, &gradient(-3.0), 0.1, Some(Clip { norm: &norm, limit }))
                .unwrap();
            let mut gradients = gradient(-3.0);
            assert_eq!(clip_global_norm(&mut gradients, limit).unwrap(), norm.item().unwrap());
            second.step(&mut twin, &gradients, 0.1).unwrap();
            assert_eq!(value(&params).to_bits(), value(&twin).to_bits());
        }
    }

    #[test]
    fn a_step_without_a_finite_norm_changes_nothing_and_can_be_taken_back() {
        let (mut params, gradient) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &params);
        let norm = norm(&gradient(f64::NAN)).unwrap();
        adam.clipped_step(
            &mut params,
            &gradient(f64::NAN),
            0.1,
            Some(Clip { norm: &norm, limit: 1.0 }),
        )
        .unwrap();
        assert_eq!((value(&params), adam.steps()), (1.0, &[1][..]));
        adam.take_back();
        assert_eq!(adam.steps(), [0]);
        adam.step(&mut params, &gradient(5.0), 0.1).unwrap();
        assert!((value(&params) - 0.9).abs() < 1e-9);
    }

    #[test]
    fn clipping_scales_all_gradients_together() {
        let mut gradients = vec![
            Some(Tensor::full(&[1], 3.0, DType::F64)),
            None,
            Some(Tensor::full(&[1], 4.0, DType::F64)),
        ];
        assert_eq!(clip_global_norm(&mut gradients, 10.0).unwrap(), 5.0);
        assert_eq!(gradients[0].as_ref().unwrap().item().unwrap(), 3.0);
        clip_global_norm(&mut gradients, 1.0).unwrap();
        assert!((global_norm(&gradients).unwrap() - 1.0).abs() < 1e-6);
    }
}
