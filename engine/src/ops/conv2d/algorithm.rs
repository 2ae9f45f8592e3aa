//! Which algorithm computes a convolution.
//!
//! | convolution | kernel | stride | dilation | groups | input channels | algorithm |
//! |-------------|--------|--------|----------|--------|----------------|-----------|
//! | plain and transposed | 3×3 | 1 | 1       | 1      | 8 or more      | Winograd  |
//! | transposed, padding ≤ 2 | 4×4 | 2 | 1  | 1      | 8 or more      | Winograd, per phase |
//! | otherwise   |        |        |          |        |                | direct    |
//!
//! With fewer input channels the transforms, which are of the input and the output, cost more than
//! the products that they save. A phase of the 4×4 kernel is a 2×2 kernel, which Winograd's takes
//! for a 3×3 one with zeros: 2¼ products for each output and channel instead of 4. (Those of a 3×3
//! kernel have 2¼ on average as it is.) The choice does not depend on the size of the map, so that
//! weights can be packed before one is there.

use crate::conv::{Conv2dOptions, Direction};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Direct,
    Winograd,
}

/// The algorithm for a map of `c_in` channels and a `kernel` (height, width).
pub(super) fn choose(
    direction: Direction,
    kernel: (usize, usize),
    options: Conv2dOptions,
    c_in: usize,
) -> Algorithm {
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    match (direction, kernel, stride, padding) {
        _ if (dilation, groups) != (1, 1) || c_in < 8 => Algorithm::Direct,
        (_, (3, 3), 1, _) | (Direction::OutToIn, (4, 4), 2, 0..=2) => Algorithm::Winograd,
        _ => Algorithm::Direct,
    }
}
