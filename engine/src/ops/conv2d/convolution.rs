//! A convolution with its operands, as both backends take it.

use super::prepared::PackedWeight;
use crate::Tensor;
use crate::conv::{Conv2dOptions, Direction};

/// A convolution, or its transpose, of an input.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Convolution<'a> {
    pub(in crate::ops) direction: Direction,
    pub(in crate::ops) options: Conv2dOptions,
    pub(in crate::ops) x: &'a Tensor,
    pub(in crate::ops) weight: &'a Tensor,
    pub(in crate::ops) packed: Option<&'a PackedWeight>,
}
