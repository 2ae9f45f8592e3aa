//! The loop nest of an element-wise operation over strided layouts.
//!
//! Dimensions that every operand covers with a single stride are merged first, so the usual case
//! (all dense, same order) is one flat row, and a per-channel weight against a channels-last map is
//! rows of C elements with stride 1 on both sides.

use crate::{Layout, Result};

/// The loop nest over an output and `N` inputs of the same logical shape, outermost dimension
/// first.
pub(crate) struct LoopNest<const N: usize> {
    /// Merged sizes; the last one is the row.
    sizes: Vec<usize>,
    /// Strides of each input in each merged dimension.
    strides: Vec<[usize; N]>,
    offsets: [usize; N],
}

impl<const N: usize> LoopNest<N> {
    /// A nest over `out` in its memory order.
    pub(crate) fn new(out: &Layout, inputs: [&Layout; N]) -> Self {
        let mut sizes: Vec<usize> = Vec::new();
        let mut strides: Vec<[usize; N]> = Vec::new();
        for d in out.physical_order() {
            let size = out.shape()[d];
            if size == 1 {
                continue;
            }
            let here = inputs.map(|input| input.strides()[d]);
            match (sizes.last_mut(), strides.last_mut()) {
                (Some(outer), Some(last)) if (0..N).all(|k| last[k] == here[k] * size) => {
                    *outer *= size;
                    *last = here;
                }
                _ => {
                    sizes.push(size);
                    strides.push(here);
                }
            }
        }
        if sizes.is_empty() {
            sizes.push(out.numel().min(1));
            strides.push([1; N]);
        }
        Self { sizes, strides, offsets: inputs.map(Layout::offset) }
    }

    /// The merged sizes, outermost first.
    pub(crate) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The strides of every input in each of them.
    pub(crate) fn strides(&self) -> &[[usize; N]] {
        &self.strides
    }

    /// Elements in a row.
    pub(crate) fn row(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// Strides of the inputs within a row.
    pub(crate) fn row_strides(&self) -> [usize; N] {
        self.strides[self.strides.len() - 1]
    }

    /// The start of row number `index` in each input.
    pub(crate) fn start(&self, mut index: usize) -> [usize; N] {
        let mut at = self.offsets;
        for d in (0..self.sizes.len() - 1).rev() {
            let i = index % self.sizes[d];
            index /= self.sizes[d];
            for k in 0..N {
                at[k] += i * self.strides[d][k];
            }
        }
        at
    }
}

/// `inputs`, each broadcast to `shape`.
pub(crate) fn broadcast<'a>(
    op: &'static str,
    shape: &[usize],
    inputs: impl IntoIterator<Item = &'a Layout>,
) -> Result<Vec<Layout>> {
    inputs.into_iter().map(|input| input.broadcast_to(op, shape)).collect()
}

/// The layout of a map's output: that of the first input that is dense and has its shape, or the
/// standard one.
pub(crate) fn output_layout(shape: &[usize], inputs: &[Layout]) -> Layout {
    inputs.iter().find(|layout| layout.is_dense()).map_or_else(|| Layout::of(shape), compact)
}

/// The same dense order of dimensions, starting at offset 0.
fn compact(layout: &Layout) -> Layout {
    Layout::from_parts(layout.shape().to_vec(), layout.strides().to_vec(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_operands_merge_into_one_row() {
        let layout = Layout::of(&[2, 3, 4, 5]);
        let rows = LoopNest::new(&layout, [&layout, &layout]);
        assert_eq!((rows.row(), rows.row_strides()), (120, [1, 1]));
    }

    #[test]
    fn a_channel_weight_is_read_in_rows_of_channels() {
        let map = Layout::of(&[2, 3, 4, 5]);
        let weight = Layout::of(&[1, 3, 1, 1]).broadcast_to("t", &[2, 3, 4, 5]).unwrap();
        let rows = LoopNest::new(&map, [&map, &weight]);
        assert_eq!((rows.row(), rows.row_strides()), (3, [1, 1]));
        assert_eq!(rows.start(7), [21, 0]);
    }
}
