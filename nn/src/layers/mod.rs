//! Layers: descriptions that name their parameters and compute with a [`Context`]'s values.

mod activation;
mod conv;
mod dropout;
mod flatten;
mod init;
mod linear;
mod norm;
mod pool;
mod sequential;

pub use crate::activation::Activation;
pub use conv::{Conv2d, ConvTranspose2d};
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use linear::{Embedding, Linear};
pub use norm::{BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm};
pub use pool::{AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use sequential::Sequential;

use crate::{Context, Result};
use engine::Tensor;

#[cfg(test)]
mod tests;

/// A layer with one input and one output.
pub trait Module: Send + Sync {
    /// The output for `x`.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor>;
}
