//! G g Gᵀ of every kernel.

use super::{PLANES, transform};
use crate::cpu::for_each_piece;
use crate::simd::{Kernel, vectorize};
use crate::{Buffer, Float, Result};

/// Transformed kernels in the order in which they are read:
/// `[phase][block of output channels][plane][c_in][BLOCK]`, the last block of a phase filled up
/// with zeros.
pub(crate) struct WinogradWeights {
    memory: Buffer,
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Output pixels from one of a phase to the next: there are `step`² phases, each with kernels
    /// of its own. 1 in a plain convolution.
    pub(super) step: usize,
}

impl WinogradWeights {
    /// Transforms `weight(phase, kernel element, c_in, c_out)`, phases and elements counted
    /// row-major; computes in f64 and rounds once.
    pub(crate) fn new<T: Float>(
        step: usize,
        c_in: usize,
        c_out: usize,
        weight: impl Fn(usize, usize, usize, usize) -> T + Sync,
    ) -> Result<Self> {
        let (block, blocks) = (PLANES * c_in * T::BLOCK, c_out.div_ceil(T::BLOCK));
        let mut memory = Buffer::new::<T>((step * step * blocks).saturating_mul(block))?;
        for_each_piece(memory.as_mut_slice::<T>(), block, &|b, out| {
            let (phase, first) = (b / blocks, b % blocks * T::BLOCK);
            let width = T::BLOCK.min(c_out - first);
            for i in 0..c_in {
                let mut kernels = [[0.0; 16]; 9];
                for (element, values) in kernels.iter_mut().enumerate() {
                    for (o, value) in values[..width].iter_mut().enumerate() {
                        *value = weight(phase, element, i, first + o).to_f64();
                    }
                }
                vectorize(KernelTransform { kernels, c_in, out: &mut out[i * T::BLOCK..] });
            }
        });
        Ok(Self { memory, c_in, c_out, step })
    }

    #[inline(always)]
    pub(super) fn data<T: Float>(&self) -> &[T] {
        self.memory.as_slice()
    }
}

/// The kernels of one input channel and a block of output channels.
struct KernelTransform<'a, T> {
    kernels: [[f64; 16]; 9],
    c_in: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for KernelTransform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let g = &self.kernels;
        for (row, r) in transform::KERNEL.iter().enumerate() {
            let across = [
                dot(r, &g[0], &g[3], &g[6]),
                dot(r, &g[1], &g[4], &g[7]),
                dot(r, &g[2], &g[5], &g[8]),
            ];
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

/// row · (a, b, c), for each of 16 kernels.
#[inline(always)]
fn dot(row: &[f64; 3], a: &[f64; 16], b: &[f64; 16], c: &[f64; 16]) -> [f64; 16] {
    let mut values = [0.0; 16];
    for l in 0..16 {
        values[l] = row[0].mul_add(a[l], row[1].mul_add(b[l], row[2] * c[l]));
    }
    values
}
