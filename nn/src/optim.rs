//! Optimisers: how gradients change parameters.

use crate::params::{Kind, Params};
use crate::{Error, Result};
use engine::{Device, Tensor};
use std::collections::HashMap;

/// The rule by which a parameter moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Kingma and Ba 2015. `weight_decay` is added to the gradient (L2).
    Adam {
        /// Decay of the mean and of the mean square of gradients.
        betas: (f64, f64),
        /// Added to the root of the second.
        eps: f64,
        /// L2 penalty.
        weight_decay: f64,
    },
    /// Loshchilov and Hutter 2019: Adam whose decay acts on the parameter itself.
    AdamW {
        /// Decay of the mean and of the mean square of gradients.
        betas: (f64, f64),
        /// Added to the root of the second.
        eps: f64,
        /// Decay of the parameter, per unit of learning rate.
        weight_decay: f64,
    },
    /// Stochastic gradient descent, with momentum as PyTorch has it: v ← m·v + g, p ← p − lr·v.
    Sgd {
        /// m; 0 for none.
        momentum: f64,
        /// L2 penalty.
        weight_decay: f64,
    },
}

impl Rule {
    /// Adam with its usual constants: 0.9, 0.999, 1e-8, no weight decay.
    pub fn adam() -> Self {
        Self::Adam { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0 }
    }

    /// AdamW with the same constants and PyTorch's weight decay of 0.01.
    pub fn adam_w() -> Self {
        Self::AdamW { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 }
    }

    /// The names of what it keeps for each parameter.
    fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } | Self::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
            Self::Sgd { .. } => &["momentum"],
        }
    }
}

/// A rule and what it remembers of earlier steps.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    /// Steps each entry of [`Params`] has taken: one without a gradient takes none.
    steps: Vec<u64>,
    /// The rule's memory of each entry, empty until its first step.
    memory: Vec<Vec<Tensor>>,
}

impl Optimizer {
    /// A fresh optimiser for the entries of `params`.
    pub fn new(rule: Rule, params: &Params) -> Self {
        let n = params.entries().len();
        Self { rule, steps: vec![0; n], memory: vec![Vec::new(); n] }
    }

    /// Moves every parameter that has a gradient, with learning rate `lr`. `gradients` are in the order of `params`.
    pub fn step(&mut self, params: &mut Params, gradients: &[Option<Tensor>], lr: f64) -> Result<()> {
        let ids: Vec<_> = params.parameters().map(|(id, _)| id).collect();
        for id in ids {
            let Some(gradient) = gradients.get(id.0).and_then(Option::as_ref) else { continue };
            self.steps[id.0] += 1;
            let (t, memory) = (self.steps[id.0], &mut self.memory[id.0]);
            let value = update(self.rule, t, memory, params.get(id), gradient, lr)?;
            params.set(id, value)?;
        }
        Ok(())
    }

    /// The same memory on `device`.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let there = |tensors: Vec<Tensor>| tensors.iter().map(|x| Ok(x.to_device(device)?)).collect::<Result<Vec<_>>>();
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
    pub fn resume(rule: Rule, params: &Params, steps: Vec<u64>, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let refuse = |reason: String| Error::Mismatch { origin: "the optimiser's state".into(), details: reason };
        if steps.len() != params.entries().len() {
            return Err(refuse(format!("{} step counts for {} entries", steps.len(), params.entries().len())));
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
                    Some(tensor) => {
                        Err(refuse(format!("{name} is {}, expected {}", tensor.meta(), entry.value.meta())))
                    }
                    None => Err(refuse(format!("{name} is missing"))),
                }
            };
            memory.push(rule.slots().iter().map(slot).collect::<Result<_>>()?);
        }
        Ok(Self { rule, steps, memory })
    }
}

/// The new value of a parameter at its `t`-th step.
fn update(rule: Rule, t: u64, memory: &mut Vec<Tensor>, value: &Tensor, gradient: &Tensor, lr: f64) -> Result<Tensor> {
    let decayed = |weight_decay: f64| match weight_decay {
        0.0 => Ok(gradient.clone()),
        decay => gradient.add(&value.scale(decay)?),
    };
    match rule {
        Rule::Adam { betas, eps, weight_decay } => adam(betas, eps, t, memory, value, &decayed(weight_decay)?, lr),
        Rule::AdamW { betas, eps, weight_decay } => {
            adam(betas, eps, t, memory, &value.scale(1.0 - lr * weight_decay)?, gradient, lr)
        }
        Rule::Sgd { momentum, weight_decay } => {
            let g = decayed(weight_decay)?;
            let velocity = match memory.pop() {
                Some(velocity) => velocity.scale(momentum)?.add(&g)?,
                None => g,
            };
            memory.push(velocity.clone());
            Ok(value.sub(&velocity.scale(lr)?)?)
        }
    }
}

/// m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε), in PyTorch's order of operations.
fn adam(
    (beta1, beta2): (f64, f64),
    eps: f64,
    t: u64,
    memory: &mut Vec<Tensor>,
    value: &Tensor,
    gradient: &Tensor,
    lr: f64,
) -> Result<Tensor> {
    if memory.is_empty() {
        let zero = Tensor::zeros(value.shape(), value.dtype());
        memory.extend([zero.clone(), zero]);
    }
    let m = memory[0].scale(beta1)?.add(&gradient.scale(1.0 - beta1)?)?;
    let v = memory[1].scale(beta2)?.add(&gradient.mul(gradient)?.scale(1.0 - beta2)?)?;
    let t = i32::try_from(t).unwrap_or(i32::MAX);
    let (correction1, correction2) = (1.0 - beta1.powi(t), (1.0 - beta2.powi(t)).sqrt());
    let denominator = v.sqrt()?.affine(1.0 / correction2, eps)?;
    let moved = value.sub(&m.div(&denominator)?.scale(lr / correction1)?)?;
    *memory = vec![m, v];
    Ok(moved)
}

/// The L2 norm over all gradients together.
pub fn global_norm(gradients: &[Option<Tensor>]) -> Result<f64> {
    let mut squares = 0.0;
    for gradient in gradients.iter().flatten() {
        squares += gradient.mul(gradient)?.sum_all()?.item()?;
    }
    Ok(squares.sqrt())
}

/// Scales all gradients by min(1, `max_norm` / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`; returns the norm before.
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
        let (_, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], value))).unwrap();
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
        let expected = 0.9 - 0.1 / (1.0 - 0.81) * m / ((v / (1.0 - 0.999f64.powi(2))).sqrt() + 1e-8);
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
        let mut second = Optimizer::resume(Rule::adam(), &params, first.steps().to_vec(), &tensors).unwrap();
        let mut twin = params.clone();
        first.step(&mut params, &gradient(-0.2), 0.1).unwrap();
        second.step(&mut twin, &gradient(-0.2), 0.1).unwrap();
        assert_eq!(value(&params).to_bits(), value(&twin).to_bits());
        assert!(Optimizer::resume(Rule::adam(), &params, vec![1], &HashMap::new()).is_err());
    }

    #[test]
    fn clipping_scales_all_gradients_together() {
        let mut gradients =
            vec![Some(Tensor::full(&[1], 3.0, DType::F64)), None, Some(Tensor::full(&[1], 4.0, DType::F64))];
        assert_eq!(clip_global_norm(&mut gradients, 10.0).unwrap(), 5.0);
        assert_eq!(gradients[0].as_ref().unwrap().item().unwrap(), 3.0);
        clip_global_norm(&mut gradients, 1.0).unwrap();
        assert!((global_norm(&gradients).unwrap() - 1.0).abs() < 1e-6);
    }
}
