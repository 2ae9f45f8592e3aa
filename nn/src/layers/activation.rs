//! Activation functions as layers.

use super::Module;
use crate::activation::Activation;
use crate::{Context, Cost, LayerKind, Result};
use engine::Tensor;

impl Module for Activation {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = match self {
            Self::Gelu => x.gelu()?,
            Self::Relu => x.relu()?,
            Self::LeakyRelu(slope) => x.leaky_relu(*slope)?,
            Self::Silu => x.silu()?,
            Self::Tanh => x.tanh()?,
            Self::Sigmoid => x.sigmoid()?,
            Self::Softmax => x.softmax(1)?,
        };
        cx.report(|| Cost::new("", LayerKind::Activation(*self), x, &y));
        Ok(y)
    }
}
