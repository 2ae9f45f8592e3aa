//! Layers: descriptions that name their parameters and compute with a [`Context`]'s values.

mod activation;
mod batch_norm1d;
mod conv;
mod dropout;
mod flatten;
mod function;
mod init;
mod linear;
mod norm;
mod pool;
mod sequential;

pub use crate::activation::Activation;
pub use batch_norm1d::BatchNorm1d;
pub use conv::{Conv2d, ConvTranspose2d};
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use function::Function;
pub use linear::{Embedding, Linear};
pub use norm::{BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm};
pub use pool::{AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use sequential::Sequential;

use crate::{Context, Error, Result};
use engine::Tensor;

#[cfg(test)]
mod tests;

/// An error of the layer at `path` unless its input has the dtype of its weights.
fn require_dtype(path: &str, x: &Tensor, weight: &Tensor) -> Result<()> {
    let (given, expected) = (x.dtype(), weight.dtype());
    if given == expected {
        return Ok(());
    }
    let layer = if path.is_empty() { "the layer" } else { path };
    Err(Error::Setting(format!(
        "{layer}: the input is of {given}, the weights are of {expected} in this pass; \
         Tensor::to_dtype converts the one, Params::to_dtype the others"
    )))
}

/// The result of an operation in the layer at `path`; an error about shapes says in which layer. A
/// network has many of each kind.
fn in_layer<T, E: Into<Error>>(path: &str, result: Result<T, E>) -> Result<T> {
    result.map_err(|error| match error.into() {
        Error::Engine(engine::Error::Shape { op, message }) if !path.is_empty() => {
            engine::Error::shape(op, format!("{message} (layer {path})")).into()
        }
        other => other,
    })
}

/// A layer with one input and one output.
///
/// ```
/// use engine::Tensor;
/// use nn::layers::{Conv2d, Module};
/// use nn::{Builder, Context, Params, Result};
/// /// A convolution whose input is added to its output.
/// struct Residual(Conv2d);
/// impl Residual {
///     fn new(b: &mut Builder<'_>, channels: usize) -> Self {
///         Self(Conv2d::new(&mut b.at("conv"), channels, channels, 3).padding(1))
///     }
/// }
/// impl Module for Residual {
///     fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
///         Ok(self.0.forward(cx, x)?.add(x)?)
///     }
/// }
/// let (block, params) = Params::build(0, engine::DType::F32, |b| Ok(Residual::new(b, 8)))?;
/// assert_eq!(params.entries()[0].path, "conv.weight");
/// let x = Tensor::zeros(&[1, 8, 5, 5], engine::DType::F32)?;
/// assert_eq!(block.forward(&Context::inference(&params), &x)?.shape(), x.shape());
/// # Ok::<_, nn::Error>(())
/// ```
pub trait Module: Send + Sync {
    /// The output for `x`.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor>;
}
