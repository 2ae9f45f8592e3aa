//! Tensors, gradients and kernels.

mod rng;

pub use rng::Rng;
