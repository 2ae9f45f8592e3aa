//! The blocked matrix product (Goto and van de Geijn, 2008, "Anatomy of high-performance matrix
//! multiplication").
//!
//! Both operands are first packed, whatever their strides, into panels that the inner loop reads
//! front to back: A in panels of [`MR`] rows, B in panels of `NR` columns, the last one of each
//! filled up with zeros. The output is cut into tiles of [`TILE_ROWS`]×[`TILE_COLUMNS`], which are
//! distributed over threads. A tile goes through K in blocks of [`DEPTH`], so that a panel of B
//! stays in the first cache and the tile's part of A in the second; its innermost piece is an MR×NR
//! product that lives in registers.
//!
//! Every output element is one chain of fused multiply-adds over k = 0, 1, …, K − 1, on one thread:
//! neither the blocks nor the threads change a bit.

use crate::cpu::for_each_piece;
use crate::loop_nest::LoopNest;
use crate::simd::{Kernel, vectorize};
use crate::{Buffer, Float, Layout, Result};
use rayon::prelude::*;

/// Rows to a panel of A. With two registers to a row of B, 12 accumulators, 2 for B and 1 for A
/// make 15 of AVX2's 16.
const MR: usize = 6;
/// How much of K a tile takes at a time.
const DEPTH: usize = 256;
/// Rows to a tile: a multiple of MR.
const TILE_ROWS: usize = 96;
/// Columns to a tile: a multiple of NR.
const TILE_COLUMNS: usize = 512;

/// The row-major product `[.., M, N]` of `[.., M, K]` and `[.., K, N]`, which agree in the leading
/// dimensions.
pub(super) fn multiply<T: Float, const NR: usize>(
    out: &mut [T],
    sources: [&[T]; 2],
    layouts: [&Layout; 2],
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let [(a_batch, [m, k], a_strides), (b_batch, [_, n], b_strides)] = layouts.map(split);
    if k == 0 {
        out.fill(T::zero());
        return Ok(());
    }
    let batch = LoopNest::new(&Layout::row_major_of(a_batch.shape()), [&a_batch, &b_batch]);
    let (row, steps) = (batch.row(), batch.row_strides());
    out.par_chunks_mut(m * n).enumerate().try_for_each(|(i, out)| {
        let start = batch.start(i / row);
        let [a, b] = [0, 1].map(|which| &sources[which][start[which] + i % row * steps[which]..]);
        let a = Operand {
            data: a,
            lanes: m,
            lane_stride: a_strides[0],
            depth: k,
            depth_stride: a_strides[1],
        };
        let b = Operand {
            data: b,
            lanes: n,
            lane_stride: b_strides[1],
            depth: k,
            depth_stride: b_strides[0],
        };
        multiply_one::<T, NR>(out, a, b)
    })
}

/// The layout of the batch, and the shape and strides of one matrix.
fn split(layout: &Layout) -> (Layout, [usize; 2], [usize; 2]) {
    let at = layout.rank() - 2;
    let (shape, strides) = (layout.shape(), layout.strides());
    let batch = Layout::from_parts(shape[..at].to_vec(), strides[..at].to_vec(), layout.offset());
    (batch, [shape[at], shape[at + 1]], [strides[at], strides[at + 1]])
}

/// A matrix as the sum sees it: its lanes are rows of A or columns of B, each of them `depth`
/// elements long.
struct Operand<'a, T> {
    data: &'a [T],
    lanes: usize,
    lane_stride: usize,
    depth: usize,
    depth_stride: usize,
}

impl<T: Float> Operand<'_, T> {
    /// Panels of `W` lanes: element `d` of lane `l` lies at `(l / W · depth + d) · W + l % W`.
    fn pack<const W: usize>(&self) -> Result<Buffer> {
        let Self { data, lanes, lane_stride, depth, depth_stride } = *self;
        let mut buffer = Buffer::new::<T>(lanes.next_multiple_of(W).saturating_mul(depth))?;
        for_each_piece(buffer.as_mut_slice::<T>(), W * depth, &|panel, out| {
            let first = panel * W;
            let live = W.min(lanes - first);
            let (rows, _) = out.as_chunks_mut::<W>();
            for (d, row) in rows.iter_mut().enumerate() {
                let start = first * lane_stride + d * depth_stride;
                if live == W && lane_stride == 1 {
                    row.copy_from_slice(&data[start..start + W]);
                } else {
                    *row = std::array::from_fn(|l| {
                        if l < live { data[start + l * lane_stride] } else { T::zero() }
                    });
                }
            }
        });
        Ok(buffer)
    }
}

/// One product, `[M, N]` row-major.
fn multiply_one<T: Float, const NR: usize>(
    out: &mut [T],
    a: Operand<'_, T>,
    b: Operand<'_, T>,
) -> Result<()> {
    let (n, depth) = (b.lanes, a.depth);
    let (a, b) = rayon::join(|| a.pack::<MR>(), || b.pack::<NR>());
    let (a, b) = (a?, b?);
    let (a, b) = (a.as_slice::<T>(), b.as_slice::<T>());
    let across = n.div_ceil(TILE_COLUMNS);
    // A tile is the segments of its rows.
    let mut tiles: Vec<Vec<&mut [T]>> = Vec::new();
    tiles.resize_with((out.len() / n).div_ceil(TILE_ROWS) * across, Vec::new);
    for (i, row) in out.chunks_mut(n).enumerate() {
        for (j, segment) in row.chunks_mut(TILE_COLUMNS).enumerate() {
            tiles[i / TILE_ROWS * across + j].push(segment);
        }
    }
    tiles.into_par_iter().enumerate().for_each(|(i, rows)| {
        let (a, b) =
            (&a[i / across * TILE_ROWS * depth..], &b[i % across * TILE_COLUMNS * depth..]);
        vectorize(Tile::<T, NR> { rows, a, b, depth });
    });
    Ok(())
}

/// One tile of the output, with the panels of A and B that start at its first row and column.
struct Tile<'a, T, const NR: usize> {
    rows: Vec<&'a mut [T]>,
    a: &'a [T],
    b: &'a [T],
    depth: usize,
}

impl<T: Float, const NR: usize> Kernel for Tile<'_, T, NR> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { mut rows, a, b, depth } = self;
        let columns = rows.first().map_or(0, |row| row.len());
        for from in (0..depth).step_by(DEPTH) {
            let to = depth.min(from + DEPTH);
            for (b, column) in b.chunks_exact(NR * depth).zip((0..columns).step_by(NR)) {
                let b = b[from * NR..to * NR].as_chunks::<NR>().0;
                for (a, rows) in a.chunks_exact(MR * depth).zip(rows.chunks_mut(MR)) {
                    let a = a[from * MR..to * MR].as_chunks::<MR>().0;
                    let mut sums = [[T::zero(); NR]; MR];
                    if from > 0 {
                        each_segment(rows, column, &mut sums, |segment, sums| {
                            sums.copy_from_slice(segment)
                        });
                    }
                    sums = add_products(a, b, sums);
                    each_segment(rows, column, &mut sums, |segment, sums| {
                        segment.copy_from_slice(sums)
                    });
                }
            }
        }
    }
}

/// sums + Σ over depth of a ⊗ b: the inner loop.
#[inline(always)]
fn add_products<T: Float, const NR: usize>(
    a: &[[T; MR]],
    b: &[[T; NR]],
    mut sums: [[T; NR]; MR],
) -> [[T; NR]; MR] {
    for (a, b) in a.iter().zip(b) {
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = a[i].mul_add(b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// `f` on each row's segment from `column` on, as far as there is one, and the sums that belong to
/// it.
#[inline(always)]
fn each_segment<T, const NR: usize>(
    rows: &mut [&mut [T]],
    column: usize,
    sums: &mut [[T; NR]; MR],
    f: impl Fn(&mut [T], &mut [T]),
) {
    for (row, sums) in rows.iter_mut().zip(sums) {
        let end = row.len().min(column + NR);
        f(&mut row[column..end], &mut sums[..end - column]);
    }
}
