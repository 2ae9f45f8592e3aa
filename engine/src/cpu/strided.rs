//! Loop nests over several strided layouts at once, row by row, in parallel.

use super::{PIECE, for_each_piece};
use crate::loop_nest::LoopNest;
use crate::{Element, Layout};

/// Calls `f(out, starts, strides)` for every run of output elements that one stride covers in each
/// input: output `i` of the run belongs to element `starts[k] + i·strides[k]` of input `k`'s
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
    let rows = LoopNest::new(layout, inputs);
    let (row, strides) = (rows.row(), rows.row_strides());
    let per_piece = (PIECE / row).max(1);
    for_each_piece(out, row * per_piece, &|piece, chunk| {
        for (i, run) in chunk.chunks_mut(row).enumerate() {
            let start = rows.start(piece * per_piece + i);
            // A single long row is the flat case: cut it, too.
            if row > 2 * PIECE {
                for_each_piece(run, PIECE, &|part, run| {
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
    // Of what comes after the region, no more than the rest of its last piece.
    let rest = &mut out[region.offset()..];
    let end = rest.len().min(block.saturating_mul(size.next_multiple_of(blocks)));
    for_each_piece(&mut rest[..end], block * blocks, &|piece, out| {
        let first = piece * blocks;
        let part = |layout: &Layout| layout.slice(outer, first, blocks.min(size - first), 1);
        let (part, from) = (part(region), part(from));
        let rows = LoopNest::new(&part, [&part, &from]);
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
    fn copy_reorders() {
        let from = Layout::row_major_of(&[2, 3]);
        let to = Layout::row_major_of(&[3, 2]);
        let mut out = [0u8; 6];
        copy(&mut out, &to, &[0, 1, 2, 3, 4, 5], &from.permute(&[1, 0]));
        assert_eq!(out, [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn a_region_is_written_and_nothing_else() {
        let layout = Layout::row_major_of(&[4, 6]);
        let region = layout.slice(0, 1, 2, 2).slice(1, 1, 3, 2);
        let mut out = [9u8; 24];
        write_region(
            &mut out,
            &region,
            &[1, 2, 3, 4, 5, 6],
            &Layout::row_major_of(&[3, 2]).permute(&[1, 0]),
        );
        assert_eq!(out[6..12], [9, 1, 9, 3, 9, 5]);
        assert_eq!(out[18..24], [9, 2, 9, 4, 9, 6]);
        assert_eq!((&out[..6], &out[12..18]), (&[9; 6][..], &[9; 6][..]));
    }

    #[test]
    fn long_rows_are_cut_without_loss() {
        let n = 5 * PIECE + 3;
        let layout = Layout::row_major_of(&[n]);
        let source: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let mut out = vec![0.0; n];
        copy(&mut out, &layout, &source, &layout);
        assert_eq!(out, source);
    }
}
