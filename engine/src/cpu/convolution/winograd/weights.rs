//! G g Gᵀ of every kernel.

use super::{PLANES, transform};
use crate::simd::{Kernel, vectorize};
use crate::{Buffer, Float};
use rayon::prelude::*;

/// Transformed kernels in the order in which they are read: `[block of output channels][plane][c_in][BLOCK]`, the last block
/// filled up with zeros.
pub(crate) struct Weights {
    memory: Buffer,
    pub(super) c_in: usize,
    pub(super) c_out: usize,
}

impl Weights {
    /// Transforms `weight(kernel element, c_in, c_out)`, elements counted row-major; computes in f64 and rounds once.
    pub(crate) fn new<T: Float>(c_in: usize, c_out: usize, weight: impl Fn(usize, usize, usize) -> T + Sync) -> Self {
        let mut memory = Buffer::new::<T>(c_out.div_ceil(T::BLOCK) * PLANES * c_in * T::BLOCK);
        let block = PLANES * c_in * T::BLOCK;
        memory.as_mut_slice::<T>().par_chunks_mut(block.max(1)).enumerate().for_each(|(b, out)| {
            let first = b * T::BLOCK;
            let width = T::BLOCK.min(c_out - first);
            for i in 0..c_in {
                let mut kernels = [[0.0; 16]; 9];
                for (element, values) in kernels.iter_mut().enumerate() {
                    for (o, value) in values[..width].iter_mut().enumerate() {
                        *value = weight(element, i, first + o).to_f64();
                    }
                }
                vectorize(Transform { kernels, c_in, out: &mut out[i * T::BLOCK..] });
            }
        });
        Self { memory, c_in, c_out }
    }

    #[inline(always)]
    pub(super) fn data<T: Float>(&self) -> &[T] {
        self.memory.as_slice()
    }
}

/// The kernels of one input channel and a block of output channels.
struct Transform<'a, T> {
    kernels: [[f64; 16]; 9],
    c_in: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let dot = |row: &[f64; 3], a: &[f64; 16], b: &[f64; 16], c: &[f64; 16]| -> [f64; 16] {
            std::array::from_fn(|l| row[0].mul_add(a[l], row[1].mul_add(b[l], row[2] * c[l])))
        };
        let g = &self.kernels;
        for (row, r) in transform::KERNEL.iter().enumerate() {
            let across: [[f64; 16]; 3] = std::array::from_fn(|k| dot(r, &g[k], &g[3 + k], &g[6 + k]));
            for (column, r) in transform::KERNEL.iter().enumerate() {
                let values = dot(r, &across[0], &across[1], &across[2]);
                let start = (row * 6 + column) * self.c_in * T::BLOCK;
                let out = &mut self.out[start..start + T::BLOCK];
                for (out, value) in out.iter_mut().zip(values) {
                    *out = T::from_f64(value);
                }
            }
        }
    }
}
