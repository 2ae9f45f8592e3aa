//! Element-wise maps over one or more tensors, broadcast to a common shape.

use crate::cpu::for_each_row;
use crate::loop_nest::{broadcast, output_layout};
use crate::simd::{Kernel, vectorize};
use crate::{Element, Layout, Result, Tensor};

/// Applies `f` to the elements of `inputs` at each index of `shape`, to which every input must
/// broadcast.
///
/// The output lies in memory as the first input that is dense and has its shape, so that maps over
/// equally laid out tensors are one flat loop. `f` is copied into that loop: give it its constants
/// by `move`, or the compiler must assume that writing an output could change them.
pub(crate) fn map<T: Element, U: Element, const N: usize>(
    op: &'static str,
    shape: &[usize],
    inputs: [&Tensor; N],
    f: impl Fn([T; N]) -> U + Copy + Sync,
) -> Result<Tensor> {
    inputs.iter().try_for_each(|input| input.require_cpu(op))?;
    let layouts = broadcast(op, shape, inputs.map(Tensor::layout))?;
    let layout = output_layout(shape, &layouts);
    let sources: [&[T]; N] = inputs.map(|input| input.raw());
    let layouts: [&Layout; N] = std::array::from_fn(|k| &layouts[k]);
    Tensor::build_in(layout.clone(), |out| {
        for_each_row(out, &layout, layouts, |run, starts, strides| {
            vectorize(Run { run, sources, starts, strides, f })
        });
    })
}

struct Run<'a, T, U, F, const N: usize> {
    run: &'a mut [U],
    sources: [&'a [T]; N],
    starts: [usize; N],
    strides: [usize; N],
    f: F,
}

impl<T: Element, U: Element, F: Fn([T; N]) -> U, const N: usize> Kernel for Run<'_, T, U, F, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { run, sources, starts, strides, f } = self;
        let len = run.len();
        if strides == [1; N] {
            let sources: [&[T]; N] =
                std::array::from_fn(|k| &sources[k][starts[k]..starts[k] + len]);
            for i in 0..len {
                run[i] = f(std::array::from_fn(|k| sources[k][i]));
            }
        } else {
            for (i, out) in run.iter_mut().enumerate() {
                *out = f(std::array::from_fn(|k| sources[k][starts[k] + i * strides[k]]));
            }
        }
    }
}
