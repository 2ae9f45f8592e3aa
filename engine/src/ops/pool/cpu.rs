//! The loops of max pooling.

use super::windows::Windows;
use crate::cpu::for_each_line;
use crate::memory::filled;
use crate::simd::{Kernel, vectorize};
use crate::{Float, Result, Tensor, dispatch_float};

pub(super) const OP: &str = "max_pool2d";

pub(super) fn forward(x: &Tensor, windows: Windows) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(OP)?;
    let x = x.contiguous()?;
    dispatch_float!(OP, x.dtype(), T => {
        let source: &[T] = x.dense_data(OP)?;
        let [oh, ow] = output(windows, h, w);
        Tensor::try_build(&[n, c, oh, ow], |out: &mut [T]| {
            for_each_line(out, ow * c, || Ok(()), |line, out, ()| {
                let top = line / oh * h + line % oh * windows.stride;
                vectorize(
                    Largest { source: &source[top * w * c..], w, c, windows, out, indices: &mut [] }
                );
            })
        })
    })
}

/// Two passes, each over its own output: the index of the largest element of every window, then for
/// every input the windows in which it is the maximum.
pub(super) fn backward(x: &Tensor, dy: &Tensor, windows: Windows) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(OP)?;
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    dispatch_float!(OP, x.dtype(), T => {
        let (source, dy): (&[T], &[T]) = (x.dense_data(OP)?, dy.dense_data(OP)?);
        let [oh, ow] = output(windows, h, w);
        let mut indices = filled(0u32, n * oh * ow * c)?;
        let largest = || filled(T::default(), ow * c);
        for_each_line(&mut indices, ow * c, largest, |line, indices, out| {
            let top = line / oh * h + line % oh * windows.stride;
            vectorize(Largest { source: &source[top * w * c..], w, c, windows, out, indices });
        })?;
        Tensor::try_build(x.shape(), |out: &mut [T]| {
            for_each_line(out, w * c, || Ok(()), |line, out, ()| {
                vectorize(
                    Chosen {
                        indices: &indices, dy, image: line / h, y: line % h, oh, ow, c, windows, out
                    }
                );
            })
        })
    })
}

pub(super) fn output(windows: Windows, h: usize, w: usize) -> [usize; 2] {
    [h, w].map(|size| (size - windows.kernel) / windows.stride + 1)
}

/// A line of windows: the largest elements, and their indices i·kernel + j in the windows unless
/// `indices` is empty.
struct Largest<'a, T> {
    /// The input from the first line of the windows on.
    source: &'a [T],
    w: usize,
    c: usize,
    windows: Windows,
    out: &'a mut [T],
    indices: &'a mut [u32],
}

impl<T: Float> Kernel for Largest<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { source, w, c, windows: Windows { kernel, stride }, out, indices } = self;
        indices.fill(0);
        for (o, out) in out.chunks_exact_mut(c).enumerate() {
            out.copy_from_slice(&source[o * stride * c..][..c]);
            for k in 1..kernel * kernel {
                let source = &source[(k / kernel * w + o * stride + k % kernel) * c..][..c];
                if indices.is_empty() {
                    out.iter_mut()
                        .zip(source)
                        .for_each(|(out, &v)| *out = if larger(v, *out) { v } else { *out });
                    continue;
                }
                let indices = &mut indices[o * c..][..c];
                for i in 0..c {
                    if larger(source[i], out[i]) {
                        (out[i], indices[i]) = (source[i], k as u32);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn larger<T: Float>(a: T, b: T) -> bool {
    a > b || a.is_nan()
}

/// A line of the input: for each element the gradients of the windows in which it is the maximum.
struct Chosen<'a, T> {
    indices: &'a [u32],
    dy: &'a [T],
    image: usize,
    y: usize,
    oh: usize,
    ow: usize,
    c: usize,
    windows: Windows,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Chosen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { indices, dy, image, y, oh, ow, c, windows, out } = self;
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            out.fill(T::default());
            for row in covering(windows, y, oh) {
                for col in covering(windows, x, ow) {
                    let index =
                        (y - row * windows.stride) * windows.kernel + x - col * windows.stride;
                    let at = ((image * oh + row) * ow + col) * c;
                    let (indices, dy) = (&indices[at..][..c], &dy[at..][..c]);
                    for i in 0..c {
                        out[i] += if indices[i] == index as u32 { dy[i] } else { T::default() };
                    }
                }
            }
        }
    }
}

/// The windows, of `count`, that cover input `at` along an axis.
#[inline(always)]
fn covering(
    Windows { kernel, stride }: Windows,
    at: usize,
    count: usize,
) -> std::ops::Range<usize> {
    (at + 1).saturating_sub(kernel).div_ceil(stride)..(at / stride + 1).min(count)
}
