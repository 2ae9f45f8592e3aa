//! Layers: descriptions that name their parameters and compute with a [`Context`]'s values.

mod activation;
mod conv;
mod norm;
mod pool;
mod sequential;

pub use crate::activation::Activation;
pub use conv::{Conv2d, ConvTranspose2d};
pub use norm::{BatchNorm2d, InstanceNorm2d};
pub use pool::{AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use sequential::Sequential;

use crate::{Context, Result};
use engine::Tensor;

/// A layer with one input and one output.
pub trait Module: Send + Sync {
    /// The output for `x`.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor>;
}
