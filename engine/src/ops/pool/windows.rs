//! The windows of a pool.

use crate::rows::RowRule;

/// Square windows at regular distances.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

impl Windows {
    /// The rows of a window.
    pub(super) fn rows(self) -> RowRule {
        RowRule::Window { stride: self.stride, before: 0, count: self.kernel }
    }

    /// The size of windows that lie side by side without gaps.
    pub(super) fn tiling(self) -> Option<usize> {
        (self.kernel == self.stride).then_some(self.kernel)
    }

    /// The height and width of a map of windows over one of `size`, or why there is none.
    pub(super) fn output(self, size: [usize; 2]) -> Result<[usize; 2], String> {
        let Self { kernel, stride } = self;
        if kernel == 0 || stride == 0 {
            return Err(format!("kernel {kernel} and stride {stride} must be at least 1"));
        }
        if kernel > size[0].min(size[1]) {
            return Err(format!("kernel {kernel} must fit the map"));
        }
        Ok(size.map(|size| (size - kernel) / stride + 1))
    }
}
