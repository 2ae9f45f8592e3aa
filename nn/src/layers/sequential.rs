//! Layers one after the other.

use super::Module;
use crate::{Context, Result};
use engine::Tensor;

/// Applies its layers in order.
#[derive(Default)]
pub struct Sequential(Vec<Box<dyn Module>>);

impl Sequential {
    /// No layers: the identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// These layers, and `layer` after them.
    pub fn then(mut self, layer: impl Module + 'static) -> Self {
        self.0.push(Box::new(layer));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, layer| layer.forward(cx, &x))
    }
}
