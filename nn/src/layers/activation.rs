//! Activation functions as layers.

use super::Module;
use crate::activation::Activation;
use crate::{Context, Cost, Operation, Result};
use engine::Tensor;

impl Activation {
    /// Notes the cost of this activation for `x`, or a map like it: where it is computed together
    /// with something else.
    pub fn report(self, cx: &Context, x: &Tensor) {
        cx.report(|| Cost::free("", Operation::Activation(self), x, x));
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
        self.report(cx, x);
        Ok(y)
    }
}
