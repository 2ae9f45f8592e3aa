//! Activation functions as layers.

use super::Module;
use crate::{Context, Cost, Operation, Result};
use engine::Tensor;

/// An element-wise activation, or softmax over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), exact.
    Gelu,
    /// max(x, 0).
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// eˣ over its sum along dimension 1.
    Softmax,
}

impl Activation {
    /// As the field writes it, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
        }
    }
}

impl Module for Activation {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = match self {
            Self::Gelu => x.gelu()?,
            Self::Relu => x.relu()?,
            Self::Tanh => x.tanh()?,
            Self::Sigmoid => x.sigmoid()?,
            Self::Softmax => x.softmax(1)?,
        };
        cx.report(|| Cost::free("", Operation::Activation(*self), x, &y));
        Ok(y)
    }
}
