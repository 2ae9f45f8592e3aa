//! The border of a map.

#[cfg(doc)]
use crate::Tensor;

/// The values beyond the border of a map. See [`Tensor::dynamic_filter`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The map, mirrored at its outermost pixels, which are not repeated.
    Reflect,
    /// Zeros.
    Zero,
}
