//! Element-wise maps over one or more tensors, broadcast to a common shape.

use crate::cpu::for_each_row;
use crate::layout::check_shape;
use crate::loop_nest::{broadcast, output_layout};
use crate::simd::{Kernel, vectorize};
use crate::{Element, Error, Layout, Result, Tensor};

/// The element-wise CPU kernel of an operation `op`: applies `f` to the elements of `inputs` at
/// each index of `shape`, to which every input must broadcast. Inputs may have any layout; nothing
/// is recorded on their tapes.
///
/// The output lies in memory as the first input that is dense and has its shape, so that maps over
/// equally laid out tensors are one flat loop. `f` is copied into that loop: give it its constants
/// by `move`, or the compiler must assume that writing an output could change them.
///
/// ```
/// use engine::{Tensor, ops::map};
/// let x = Tensor::from_slice(&[3.0, 5.0], &[2])?;
/// let y = Tensor::from_slice(&[4.0, 12.0], &[2])?;
/// let length = map("length", &[2], [&x, &y], |[x, y]: [f64; 2]| x.hypot(y))?;
/// assert_eq!(length.to_f64_vec()?, [5.0, 13.0]);
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// If an input is not of dtype `T`, does not broadcast to `shape`, or is on a GPU; if there is no
/// memory for the result.
pub fn map<T: Element, U: Element, const N: usize>(
    op: &'static str,
    shape: &[usize],
    inputs: [&Tensor; N],
    f: impl Fn([T; N]) -> U + Copy + Sync,
) -> Result<Tensor> {
    check_shape(op, shape)?;
    for input in inputs {
        input.require_cpu(op)?;
        if input.dtype() != T::DTYPE {
            return Err(Error::dtype(op, T::DTYPE, input.dtype()));
        }
    }
    let layouts = broadcast(op, shape, inputs.map(Tensor::layout))?;
    let layout = output_layout(shape, &layouts);
    let sources: [&[T]; N] = inputs.map(|input| input.raw());
    let layouts: [&Layout; N] = std::array::from_fn(|k| &layouts[k]);
    Tensor::build_in(layout.clone(), |out| {
        for_each_row(out, &layout, layouts, |run, starts, strides| {
            vectorize(Run { run, sources, starts, strides, f })
        });
    })
    .map_err(|error| error.in_op(op))
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
