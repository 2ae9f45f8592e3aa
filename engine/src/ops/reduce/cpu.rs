//! The loops of the reductions.
//!
//! An outer loop nest iterates over the outputs, the dimensions that are kept, and an inner one
//! over the dimensions that are reduced. Both take strided layouts, so no input is copied. In the
//! common case of a channels-last map reduced over its pixels, the row of C channels is contiguous,
//! and the sum runs over rows: vectorized over outputs, never over the sum.

use crate::cpu::{PIECE, for_each_piece, for_each_row};
use crate::loop_nest::LoopNest;
use crate::memory::filled;
use crate::simd::{Kernel, vectorize};
use crate::{Float, Layout, Result, Tensor, dispatch_float};

/// Reduced elements in a piece: a constant, so that the order of additions is constant, too.
const SUMMED: usize = 4096;

/// The sums over `dims`, times `scale`.
pub(super) fn sum(x: &Tensor, dims: &[usize], scale: f64) -> Result<Tensor> {
    if scale != 1.0 {
        return sum(x, dims, 1.0)?.scale(scale);
    }
    dispatch_float!("sum", x.dtype(), T => {
        fold::<T>(x, dims, 0.0, |a, b| a + b)
    })
}

pub(super) fn max(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    // A NaN wins, so that the result shows it.
    dispatch_float!("max", x.dtype(), T => {
        fold::<T>(x, dims, T::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
    })
}

/// The first index along `dim` of the largest element, or of a NaN if there is one.
pub(super) fn argmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    dispatch_float!("argmax", x.dtype(), T => {
        let (kept, _) = split(x, &[dim]);
        let layout = Layout::of(kept.shape());
        let (size, step) = (x.shape()[dim], x.layout().strides()[dim]);
        let source = x.raw::<T>();
        Tensor::build_in(layout.clone(), |out: &mut [i64]| {
            for_each_row(out, &layout, [&kept], |run, [start], [stride]| {
                for (i, place) in run.iter_mut().enumerate() {
                    let at = |j: usize| source[start + i * stride + j * step];
                    let (mut first, mut largest) = (0, at(0));
                    for j in 1..size {
                        if largest.is_nan() {
                            break;
                        }
                        if at(j) > largest || at(j).is_nan() {
                            (first, largest) = (j, at(j));
                        }
                    }
                    *place = first as i64;
                }
            });
        })
    })
}

/// `dy` at the first element, in logical order, that equals the maximum, and 0 elsewhere.
pub(super) fn max_backward(x: &Tensor, y: &Tensor, dy: &Tensor, dims: &[usize]) -> Result<Tensor> {
    dispatch_float!("max", x.dtype(), T => {
        let layout = Layout::row_major_of(x.shape());
        let (kept, summed) = split(x, dims);
        let (out_kept, out_summed) = split_layout(&layout, dims);
        let (y, dy) = (y.to_vec::<T>()?, dy.to_vec::<T>()?);
        let source = x.raw::<T>();
        Tensor::build_in(layout, |out: &mut [T]| {
            out.fill(0.0);
            for i in 0..y.len() {
                let found = (0..out_summed.numel())
                    .find(
                        |&j| {
                            let v = source[at(&kept, i) + at(&summed, j)]; v == y[i] || v.is_nan()
                        }
                    );
                if let Some(j) = found {
                    out[at(&out_kept, i) + at(&out_summed, j)] = dy[i];
                }
            }
        })
    })
}

/// Folds the elements over `dims` with `f`, piece by piece.
fn fold<T: Float>(
    x: &Tensor,
    dims: &[usize],
    init: T,
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor> {
    let (kept, summed) = split(x, dims);
    let shape: Vec<usize> =
        (0..x.rank()).map(|d| if dims.contains(&d) { 1 } else { x.shape()[d] }).collect();
    let layout = Layout::of(&shape);
    let source = x.raw::<T>();
    // Iterate over outputs in their memory order, with the input's strides, so that rows of outputs
    // are runs of the input.
    let outputs = LoopNest::new(&layout, [&kept]);
    let inner = LoopNest::new(&Layout::row_major_of(summed.shape()), [&summed]);
    let count = summed.numel();
    let (row, [stride]) = (outputs.row(), outputs.row_strides());
    let pieces = count.div_ceil(SUMMED).max(1);

    let fold_piece = |out: &mut [T], first: usize, piece: usize| {
        let (start, end) = (piece * SUMMED, ((piece + 1) * SUMMED).min(count));
        vectorize(FoldRow { out, source, first, stride, inner: &inner, start, end, init, f: &f });
    };
    Tensor::try_build_in(layout.clone(), |out: &mut [T]| {
        if out.is_empty() {
            return Ok(());
        }
        if pieces == 1 {
            let rows = (PIECE / (row * count).max(1)).max(1);
            for_each_piece(out, row * rows, &|chunk, outs| {
                for (i, run) in outs.chunks_mut(row).enumerate() {
                    fold_piece(run, outputs.start(chunk * rows + i)[0], 0);
                }
            });
            return Ok(());
        }
        for (i, run) in out.chunks_mut(row).enumerate() {
            let first = outputs.start(i)[0];
            let mut partial = filled(init, pieces * run.len())?;
            let len = run.len();
            for_each_piece(&mut partial, len, &|piece, out| fold_piece(out, first, piece));
            run.fill(init);
            for piece in partial.chunks(run.len()) {
                run.iter_mut().zip(piece).for_each(|(a, b)| *a = f(*a, *b));
            }
        }
        Ok(())
    })
}

/// Folds summed elements `start..end` into a row of outputs.
struct FoldRow<'a, T, F> {
    out: &'a mut [T],
    source: &'a [T],
    first: usize,
    stride: usize,
    inner: &'a LoopNest<1>,
    start: usize,
    end: usize,
    init: T,
    f: &'a F,
}

impl<T: Float, F: Fn(T, T) -> T> Kernel for FoldRow<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { out, source, first, stride, inner, start, end, init, f } = self;
        out.fill(init);
        let (row, [step]) = (inner.row(), inner.row_strides());
        let mut j = start;
        while j < end {
            let base = first + inner.start(j / row)[0];
            let from = j % row;
            let to = row.min(from + end - j);
            for k in from..to {
                let at = base + k * step;
                if stride == 1 {
                    for (a, b) in out.iter_mut().zip(&source[at..]) {
                        *a = f(*a, *b);
                    }
                } else {
                    for (i, a) in out.iter_mut().enumerate() {
                        *a = f(*a, source[at + i * stride]);
                    }
                }
            }
            j += to - from;
        }
    }
}

/// The input's layout split in two: its kept dimensions (others size 1), and its summed ones with
/// offset 0.
pub(super) fn split(x: &Tensor, dims: &[usize]) -> (Layout, Layout) {
    split_layout(x.layout(), dims)
}

pub(super) fn split_layout(layout: &Layout, dims: &[usize]) -> (Layout, Layout) {
    let part = |summed: bool, offset: usize| {
        let shape = layout.shape().iter().enumerate();
        let shape =
            shape.map(|(d, &size)| if dims.contains(&d) == summed { size } else { 1 }).collect();
        Layout::from_parts(shape, layout.strides().to_vec(), offset)
    };
    (part(false, layout.offset()), part(true, 0))
}

/// Where logical (row-major) element `index` of `layout` lies.
fn at(layout: &Layout, mut index: usize) -> usize {
    let mut at = layout.offset();
    for (&size, &stride) in layout.shape().iter().zip(layout.strides()).rev() {
        at += index % size * stride;
        index /= size;
    }
    at
}
