//! Functions as layers.

use super::Module;
use crate::{Context, Cost, LayerKind, Result};
use engine::Tensor;
use std::fmt;

/// A function without parameters, as a layer: what operations on tensors compute, without a type of
/// its own. A function that needs the [`Context`], or parameters, is a [`Module`] instead.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{Function, Linear, Module, Sequential};
/// use nn::{Context, Params};
/// let (net, params) = Params::build(0, DType::F64, |b| {
///     Ok(Sequential::new()
///         .then(Function::new(|x| x.clamp(-1.0, 1.0)?.square()))
///         .then(Linear::new(&mut b.at(1), 3, 2)))
/// })?;
/// let x = Tensor::from_slice(&[-3.0, 0.5, 1.0], &[1, 3])?;
/// let y = net.forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.shape(), [1, 2]);
/// # Ok::<_, nn::Error>(())
/// ```
pub struct Function<F>(F);

impl<F: Fn(&Tensor) -> engine::Result<Tensor> + Send + Sync> Function<F> {
    /// The layer that computes `f`. In a [`Frozen`](crate::Frozen) network or another plan, `f`
    /// gets [traced](Tensor::is_traced) tensors.
    pub fn new(f: F) -> Self {
        Self(f)
    }
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function(..)")
    }
}

impl<F: Fn(&Tensor) -> engine::Result<Tensor> + Send + Sync> Module for Function<F> {
    /// # Errors
    /// Those of the function.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = (self.0)(x)?;
        cx.report(|| Cost::new("", LayerKind::Function, x, &y));
        Ok(y)
    }
}
