//! Activation functions as layers.

use super::Module;
use crate::{Context, Cost, Result};
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

impl Module for Activation {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (kind, y) = match self {
            Self::Gelu => ("gelu", x.gelu()?),
            Self::Relu => ("relu", x.relu()?),
            Self::Tanh => ("tanh", x.tanh()?),
            Self::Sigmoid => ("sigmoid", x.sigmoid()?),
            Self::Softmax => ("softmax", x.softmax(1)?),
        };
        cx.report(|| Cost::free("", kind, &y));
        Ok(y)
    }
}
