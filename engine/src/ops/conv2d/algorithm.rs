//! Which algorithm computes a convolution.
//!
//! | kernel | stride | dilation | groups | input channels | algorithm |
//! |--------|--------|----------|--------|----------------|-----------|
//! | 3×3    | 1      | 1        | 1      | 8 or more      | Winograd  |
//! | otherwise |     |          |        |                | direct    |
//!
//! With fewer input channels the transforms, which are of the input and the output, cost more than the products
//! that they save. The choice does not depend on the size of the map, so that weights can be packed before one is there.

use super::Conv2dOptions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Direct,
    Winograd,
}

/// The algorithm for a map of `c_in` channels and a `kernel` (height, width).
pub(super) fn choose(kernel: (usize, usize), options: Conv2dOptions, c_in: usize) -> Algorithm {
    let Conv2dOptions { stride, dilation, groups, .. } = options;
    match (kernel, stride, dilation, groups, c_in) {
        ((3, 3), 1, 1, 1, 8..) => Algorithm::Winograd,
        _ => Algorithm::Direct,
    }
}
