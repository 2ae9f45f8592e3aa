//! Layers one after the other.

use super::Module;
use crate::{Context, Result};
use engine::Tensor;

/// Applies its layers in order. A function that is not a layer joins them as a
/// [`Function`](super::Function).
///
/// ```
/// use engine::Tensor;
/// use nn::layers::{Activation, GlobalAvgPool, MaxPool2d, Module, Sequential};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let net = Sequential::new().then(Activation::Relu).then(MaxPool2d(2)).then(GlobalAvgPool);
/// let x = Tensor::from_slice(&[-1.0, 2.0, 0.0, 4.0, -5.0, -6.0, 0.0, 1.0], &[1, 1, 2, 4])?;
/// // The maxima of the two windows are 2 and 4.
/// assert_eq!(net.forward(&Context::inference(&params), &x)?.to_f64_vec()?, [3.0]);
/// # Ok::<_, nn::Error>(())
/// ```
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
