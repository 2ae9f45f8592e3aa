//! Walking several strided layouts at once, row by row, in parallel.
//!
//! An element-wise operation over broadcast, permuted or sliced inputs is a loop nest. Dimensions
//! that every operand walks with a single stride are merged first, so the usual case (all dense,
//! same order) is one flat row, and a per-channel weight against a channels-last map is rows of C
//! elements with stride 1 on both sides.

use super::PIECE;
use crate::{Element, Layout};
use rayon::prelude::*;

/// The loop nest over an output and `N` inputs of the same logical shape, outermost dimension
/// first.
pub(crate) struct Rows<const N: usize> {
    /// Merged sizes; the last one is the row.
    sizes: Vec<usize>,
    /// Strides of each input in each merged dimension.
    strides: Vec<[usize; N]>,
    offsets: [usize; N],
}

impl<const N: usize> Rows<N> {
    /// A nest that walks `out` in its memory order.
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

    /// Where row number `index` starts in each input.
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

/// Calls `f(out, starts, strides)` for every run of output elements that the inputs walk with one
/// stride each: output `i` of the run belongs to element `starts[k] + i·strides[k]` of input `k`'s
/// storage.
///
/// `out` is the memory of a dense output with layout `layout`; runs are spread over threads.
pub(crate) fn for_each_row<T: Send, const N: usize>(
    out: &mut [T],
    layout: &Layout,
    inputs: [&Layout; N],
    f: impl Fn(&mut [T], [usize; N], [usize; N]) + Sync,
) {
    if out.is_empty() {
        return;
    }
    let rows = Rows::new(layout, inputs);
    let (row, strides) = (rows.row(), rows.row_strides());
    let per_piece = (PIECE / row).max(1);
    out.par_chunks_mut(row * per_piece).enumerate().for_each(|(piece, chunk)| {
        for (i, run) in chunk.chunks_mut(row).enumerate() {
            let start = rows.start(piece * per_piece + i);
            // A single long row is the flat case: cut it, too.
            if row > 2 * PIECE {
                run.par_chunks_mut(PIECE).enumerate().for_each(|(part, run)| {
                    f(run, std::array::from_fn(|k| start[k] + part * PIECE * strides[k]), strides);
                });
            } else {
                f(run, start, strides);
            }
        }
    });
}

/// Copies `source`, seen through `from`, into the memory `out` of a dense tensor with layout `to`.
pub(crate) fn copy<T: Element>(out: &mut [T], to: &Layout, source: &[T], from: &Layout) {
    for_each_row(out, to, [from], |run, [start], [stride]| match stride {
        1 => run.copy_from_slice(&source[start..start + run.len()]),
        _ => run.iter_mut().enumerate().for_each(|(i, x)| *x = source[start + i * stride]),
    });
}

/// Copies `source`, seen through `from`, into the part of `out` that `region` describes: a slice,
/// along any dimensions, of a dense layout. The rest of `out` stays as it is.
pub(crate) fn write_region<T: Element>(
    out: &mut [T],
    region: &Layout,
    source: &[T],
    from: &Layout,
) {
    if region.numel() == 0 {
        return;
    }
    // Cut along the outermost dimension that is longer than 1: what belongs to one index of it does
    // not reach into the next.
    let Some(outer) = region.physical_order().into_iter().find(|&d| region.shape()[d] > 1) else {
        out[region.offset()] = source[from.offset()];
        return;
    };
    let (size, block) = (region.shape()[outer], region.strides()[outer]);
    let blocks = (PIECE / block).clamp(1, size);
    let pieces = out[region.offset()..].par_chunks_mut(block * blocks).take(size.div_ceil(blocks));
    pieces.enumerate().for_each(|(piece, out)| {
        let first = piece * blocks;
        let part = |layout: &Layout| layout.slice(outer, first, blocks.min(size - first), 1);
        let (part, from) = (part(region), part(from));
        let rows = Rows::new(&part, [&part, &from]);
        let (row, strides) = (rows.row(), rows.row_strides());
        for i in 0..part.numel() / row {
            let [to, start] = rows.start(i);
            let to = to - part.offset();
            if strides == [1, 1] {
                out[to..to + row].copy_from_slice(&source[start..start + row]);
            } else {
                (0..row).for_each(|k| out[to + k * strides[0]] = source[start + k * strides[1]]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_operands_merge_into_one_row() {
        let layout = Layout::new(&[2, 3, 4, 5]);
        let rows = Rows::new(&layout, [&layout, &layout]);
        assert_eq!((rows.row(), rows.row_strides()), (120, [1, 1]));
    }

    #[test]
    fn a_channel_weight_walks_in_rows_of_channels() {
        let map = Layout::new(&[2, 3, 4, 5]);
        let weight = Layout::new(&[1, 3, 1, 1]).broadcast_to("t", &[2, 3, 4, 5]).unwrap();
        let rows = Rows::new(&map, [&map, &weight]);
        assert_eq!((rows.row(), rows.row_strides()), (3, [1, 1]));
        assert_eq!(rows.start(7), [21, 0]);
    }

    #[test]
    fn copy_reorders() {
        let from = Layout::row_major(&[2, 3]);
        let to = Layout::row_major(&[3, 2]);
        let mut out = [0u8; 6];
        copy(&mut out, &to, &[0, 1, 2, 3, 4, 5], &from.permute(&[1, 0]));
        assert_eq!(out, [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn a_region_is_written_and_nothing_else() {
        let layout = Layout::row_major(&[4, 6]);
        let region = layout.slice(0, 1, 2, 2).slice(1, 1, 3, 2);
        let mut out = [9u8; 24];
        write_region(
            &mut out,
            &region,
            &[1, 2, 3, 4, 5, 6],
            &Layout::row_major(&[3, 2]).permute(&[1, 0]),
        );
        assert_eq!(out[6..12], [9, 1, 9, 3, 9, 5]);
        assert_eq!(out[18..24], [9, 2, 9, 4, 9, 6]);
        assert_eq!((&out[..6], &out[12..18]), (&[9; 6][..], &[9; 6][..]));
    }

    #[test]
    fn long_rows_are_cut_without_loss() {
        let n = 5 * PIECE + 3;
        let layout = Layout::row_major(&[n]);
        let source: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let mut out = vec![0.0; n];
        copy(&mut out, &layout, &source, &layout);
        assert_eq!(out, source);
    }
}
