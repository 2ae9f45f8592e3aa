//! Layers one after the other.

use super::Module;
use crate::{Context, Result};
use engine::{Tensor, counted};
use std::fmt;

/// Applies its layers in order. A function that is not a layer joins them as a
/// [`Function`](super::Function).
///
/// ```
/// use engine::Tensor;
/// use nn::layers::{Activation, GlobalAvgPool, MaxPool2d, Module, Sequential};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let net = Sequential::new().then(Activation::Relu).then(MaxPool2d::new(2)).then(GlobalAvgPool);
/// let x = Tensor::from_slice(&[-1.0, 2.0, 0.0, 4.0, -5.0, -6.0, 0.0, 1.0], &[1, 1, 2, 4])?;
/// // The maxima of the two windows are 2 and 4.
/// assert_eq!(net.forward(&Context::inference(&params), &x)?.to_f64_vec()?, [3.0]);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// The numbers of `b.at(0)` and `b.at(2)` below are the places of the layers. PyTorch's
/// `nn.Sequential` names parameters after them and counts layers without parameters, too; so a
/// file of its weights fits. Any other names would do for a network that reads no such file.
///
/// ```
/// use engine::DType;
/// use nn::Params;
/// use nn::layers::{Activation, Linear, Sequential};
/// let (_net, params) = Params::build(0, DType::F32, |b| {
///     Ok(Sequential::new()
///         .then(Linear::new(&mut b.at(0), 2, 8))
///         .then(Activation::Relu)
///         .then(Linear::new(&mut b.at(2), 8, 2)))
/// })?;
/// let paths: Vec<&str> = params.entries().iter().map(|entry| &*entry.path).collect();
/// assert_eq!(paths, ["0.weight", "0.bias", "2.weight", "2.bias"]);
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

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequential({})", counted(self.0.len(), "layer"))
    }
}

impl Module for Sequential {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, layer| layer.forward(cx, &x))
    }
}
