//! The rules of optimizers, and their numbers.

use crate::{Error, Result};

/// The operation that errors of a step name.
pub(super) const OP: &str = "optimizer";

/// The rule by which a parameter moves.
///
/// ```
/// use engine::optimizer::{Rule, Scalars};
/// assert_eq!(Rule::adam().slot_names(), ["exp_avg", "exp_avg_sq"]);
/// assert!(matches!(Rule::adam_w(), Rule::AdamW { weight_decay: 0.01, .. }));
/// let sgd = Rule::Sgd { momentum: 0.9, weight_decay: 0.0 };
/// assert_eq!(sgd.slot_names(), ["momentum"]);
/// let steps: [Scalars; 2] = [1, 2].map(|t| sgd.scalars(t, 0.1));
/// assert_eq!(steps[0], steps[1]); // those of Adam depend on the step's number
/// ```
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

    /// The names of the slots, in which it remembers each parameter's earlier steps.
    pub fn slot_names(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } | Self::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
            Self::Sgd { .. } => &["momentum"],
        }
    }

    /// An error if a number is not finite, or is one that would spoil the values: decays are in
    /// [0, 1), ε is positive, momentum and weight decay are not negative. A
    /// [`step`](super::step) checks it.
    ///
    /// ```
    /// use engine::optimizer::Rule;
    /// assert!(Rule::adam().check().is_ok());
    /// let error = Rule::Sgd { momentum: -0.9, weight_decay: 0.0 }.check().unwrap_err();
    /// let expected = "optimizer: momentum must be finite and not negative, got -0.9";
    /// assert_eq!(error.to_string(), expected);
    /// ```
    ///
    /// # Errors
    /// With the number.
    pub fn check(&self) -> Result<()> {
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let refuse = |name: &str, range: &str, x: f64| {
            Err(Error::shape(OP, format!("{name} must be {range}, got {x}")))
        };
        let (weight_decay, momentum) = match *self {
            Self::Adam { betas: (beta1, beta2), eps, weight_decay }
            | Self::AdamW { betas: (beta1, beta2), eps, weight_decay } => {
                if let Some(beta) = [beta1, beta2].into_iter().find(|b| !(0.0..1.0).contains(b)) {
                    return refuse("a beta", "in [0, 1)", beta);
                }
                // With 0, an element whose gradients were all 0 would move by 0/0.
                if !(eps.is_finite() && eps > 0.0) {
                    return refuse("eps", "finite and positive", eps);
                }
                (weight_decay, 0.0)
            }
            Self::Sgd { momentum, weight_decay } => (weight_decay, momentum),
        };
        match [("weight_decay", weight_decay), ("momentum", momentum)]
            .into_iter()
            .find(|(_, x)| !not_negative(*x))
        {
            Some((name, x)) => refuse(name, "finite and not negative", x),
            None => Ok(()),
        }
    }

    /// The numbers of a parameter's `t`-th step with learning rate `lr`.
    pub fn scalars(&self, t: u64, lr: f64) -> Scalars {
        let t = i32::try_from(t).unwrap_or(i32::MAX);
        match *self {
            Self::Adam { betas: (beta1, beta2), .. }
            | Self::AdamW { betas: (beta1, beta2), .. } => {
                let (correction1, correction2) =
                    (1.0 - beta1.powi(t), (1.0 - beta2.powi(t)).sqrt());
                let keep = if let Self::AdamW { weight_decay, .. } = self {
                    1.0 - lr * weight_decay
                } else {
                    1.0
                };
                Scalars { keep, root: 1.0 / correction2, rate: lr / correction1 }
            }
            Self::Sgd { .. } => Scalars { keep: 1.0, root: 1.0, rate: lr },
        }
    }
}

/// The numbers of one parameter's step that the host computes. See [`step`](super::step) for an
/// example.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
pub struct Scalars {
    /// The factor of the parameter: the decay of AdamW.
    pub(super) keep: f64,
    /// The factor of the root of the mean square, 1/√(1 − β₂ᵗ).
    pub(super) root: f64,
    /// The learning rate, of Adam over 1 − β₁ᵗ.
    pub(super) rate: f64,
}
