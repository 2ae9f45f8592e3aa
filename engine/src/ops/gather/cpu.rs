//! The loops of choosing by indices and of its adjoint.

use crate::cpu::{for_each_piece, for_each_row};
use crate::loop_nest::LoopNest;
use crate::{Element, Error, Float, Layout, Meta, Result, Tensor};

/// An error if an index is negative or not smaller than `size`.
pub(super) fn require_below(op: &'static str, indices: &Tensor, size: usize) -> Result<()> {
    // Each repeated index once.
    let layout = indices.layout();
    let repeated =
        |(&size, &stride): (&usize, &usize)| if stride == 0 { size.min(1) } else { size };
    let shape = layout.shape().iter().zip(layout.strides()).map(repeated).collect();
    let layout = Layout::from_parts(shape, layout.strides().to_vec(), layout.offset());
    let source = indices.raw::<i64>();
    let rows = LoopNest::new(&Layout::row_major_of(layout.shape()), [&layout]);
    let (row, [stride]) = (rows.row(), rows.row_strides());
    for i in 0..layout.numel() / row.max(1) {
        let [start] = rows.start(i);
        let found = (0..row).map(|k| source[start + k * stride]);
        if let Some(index) = found.into_iter().find(|&index| !is_below(index, size)) {
            let message = format!("index {index} is out of bounds for a dimension of size {size}");
            return Err(Error::shape(op, message));
        }
    }
    Ok(())
}

fn is_below(index: i64, size: usize) -> bool {
    usize::try_from(index).is_ok_and(|index| index < size)
}

/// The layout of what an index of 0 along `dim` would choose, by the places of the indices.
pub(super) fn chosen(dim: usize, layout: &Layout, indices: &[usize]) -> Layout {
    let mut strides = layout.strides().to_vec();
    strides[dim] = 0;
    Layout::from_parts(indices.to_vec(), strides, layout.offset())
}

/// The elements of `x` along `dim` that `indices`, which are in bounds, choose.
pub(super) fn gather<T: Element>(dim: usize, x: &Tensor, indices: &Tensor) -> Result<Tensor> {
    let step = x.layout().strides()[dim];
    let from = chosen(dim, x.layout(), indices.shape());
    let layout = Layout::of(indices.shape());
    let (source, chosen) = (x.raw::<T>(), indices.raw::<i64>());
    Tensor::build_in(layout.clone(), |out: &mut [T]| {
        for_each_row(
            out,
            &layout,
            [&from, indices.layout()],
            |run, [at, i], [stride, i_stride]| {
                if i_stride == 0 && stride == 1 {
                    let start = at + chosen[i] as usize * step;
                    run.copy_from_slice(&source[start..start + run.len()]);
                    return;
                }
                for (k, y) in run.iter_mut().enumerate() {
                    *y = source[at + k * stride + chosen[i + k * i_stride] as usize * step];
                }
            },
        );
    })
}

/// The sums of `dy` by the elements of a tensor of `shape` that `indices` along `dim`, which are in
/// bounds, choose. Threads share out the elements of the result. Each adds in the logical order of
/// the indices, so the cuts change nothing.
pub(super) fn scatter_add<T: Float>(
    dim: usize,
    shape: &[usize],
    dy: &Tensor,
    indices: &Tensor,
) -> Result<Tensor> {
    let layout = Layout::of(shape);
    let to = chosen(dim, &layout, dy.shape());
    Tensor::build_in(layout.clone(), |out: &mut [T]| {
        out.fill(T::zero());
        // The outermost dimension in memory, which is cut.
        let outer = layout.physical_order().into_iter().find(|&d| shape[d] > 1);
        let Some(outer) = outer.filter(|_| dy.numel() > 0) else {
            // A single element, or nothing to add.
            let all = Piece { dim, first: 0, step: 0 };
            return all.add(out, &to, dy.layout(), indices.layout(), dy, indices);
        };
        let (size, block) = (shape[outer], layout.strides()[outer]);
        let length = size.div_ceil(rayon::current_num_threads());
        for_each_piece(out, block * length, &|piece, out| {
            let first = piece * length;
            let step = layout.strides()[dim];
            if outer == dim {
                let piece = Piece { dim, first, step };
                return piece.add(out, &to, dy.layout(), indices.layout(), dy, indices);
            }
            // Indices may be in fewer places than the tensor has.
            let Some(left) = dy.shape()[outer].checked_sub(first) else { return };
            let part = |layout: &Layout| layout.slice(outer, first, length.min(left), 1);
            let to = Layout::from_parts(part(&to).shape().to_vec(), to.strides().to_vec(), 0);
            let (from, by) = (part(dy.layout()), part(indices.layout()));
            Piece { dim, first: 0, step }.add(out, &to, &from, &by, dy, indices);
        });
    })
}

/// A part of the result: its elements from `first` on along the dimension `dim` of the indices,
/// `step` apart in memory.
struct Piece {
    dim: usize,
    first: usize,
    step: usize,
}

impl Piece {
    /// Adds the elements of `dy` in `from` to those of `out` that the indices in `by` choose from
    /// `to`, as far as they are in this part.
    fn add<T: Float>(
        &self,
        out: &mut [T],
        to: &Layout,
        from: &Layout,
        by: &Layout,
        dy: &Tensor,
        indices: &Tensor,
    ) {
        debug_assert_eq!(to.strides()[self.dim], 0);
        let (dy, indices) = (dy.raw::<T>(), indices.raw::<i64>());
        let rows = LoopNest::new(&Layout::row_major_of(to.shape()), [to, from, by]);
        let (row, [stride, dy_stride, i_stride]) = (rows.row(), rows.row_strides());
        // Where the element of an index is in this part, if it is.
        let end = out.len();
        let place = |index: i64| {
            let start = (index as usize).checked_sub(self.first)? * self.step;
            (start < end).then_some(start)
        };
        for i in 0..to.numel() / row.max(1) {
            let [at, from, by] = rows.start(i);
            if i_stride == 0 {
                let Some(start) = place(indices[by]) else { continue };
                for k in 0..row {
                    out[start + at + k * stride] += dy[from + k * dy_stride];
                }
                continue;
            }
            for k in 0..row {
                let Some(start) = place(indices[by + k * i_stride]) else { continue };
                out[start + at + k * stride] += dy[from + k * dy_stride];
            }
        }
    }
}

/// A 1 for each of `indices`, which are in bounds, at its place in the last dimension of `out`.
pub(super) fn one_hot<T: Element>(indices: &Tensor, classes: usize, out: &Meta) -> Result<Tensor> {
    let layout = Layout::of(&out.shape);
    let [no, yes] = [0.0, 1.0].map(<T as Element>::from_f64);
    let places = layout.slice(indices.rank(), 0, classes.min(1), 1);
    let shape: Vec<usize> = indices.shape().to_vec();
    let to = Layout::from_parts(shape.clone(), places.strides()[..shape.len()].to_vec(), 0);
    let (step, chosen) = (layout.strides()[indices.rank()], indices.raw::<i64>());
    Tensor::build_in(layout, |y: &mut [T]| {
        y.fill(no);
        let rows = LoopNest::new(&Layout::row_major_of(&shape), [&to, indices.layout()]);
        let (row, [stride, i_stride]) = (rows.row(), rows.row_strides());
        for i in 0..indices.numel() / row.max(1) {
            let [at, from] = rows.start(i);
            for k in 0..row {
                y[at + k * stride + chosen[from + k * i_stride] as usize * step] = yes;
            }
        }
    })
}
