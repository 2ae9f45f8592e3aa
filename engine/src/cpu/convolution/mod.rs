//! Convolutions by two algorithms: the direct one, for every geometry, and Winograd's, for 3×3
//! kernels of stride 1 and kernels whose phases fit these.
//!
//! This file holds what both share; the operation `conv2d` chooses between them.

pub(crate) mod direct;
pub(crate) mod winograd;

use super::PIECE;
use crate::conv::Epilogue;
use crate::cpu::for_each_piece;
use crate::cpu::gelu::{Gelu, gelu_in_place, gelu_into, times_derivative};
use crate::{Buffer, Float, Result};

/// The partial sums of a weight gradient: enough to keep as many threads busy, and constant, so
/// that the order of additions is constant, too.
const PARTIALS: usize = 16;

/// The sum of `partials`, in their order: `rows` rows of `wide` numbers each, of which the first
/// `width` are wanted.
fn sum_of_partials<T: Float>(
    partials: &[Buffer],
    rows: usize,
    wide: usize,
    width: usize,
) -> Result<Buffer> {
    let mut total = Buffer::new::<T>(rows * width)?;
    let piece = PIECE.div_ceil(width.max(1));
    for_each_piece(total.as_mut_slice::<T>(), piece * width, &|i, total| {
        total.fill(T::zero());
        for partial in partials {
            let partial = partial.as_slice::<T>()[i * piece * wide..].chunks_exact(wide);
            for (sums, parts) in total.chunks_exact_mut(width).zip(partial) {
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += *part);
            }
        }
    });
    Ok(total)
}

/// A channels-last map in memory: `[n, h, w, c]`.
#[derive(Clone, Copy)]
pub(crate) struct Map<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
}

/// An element-wise function that maps 0 to 0: of its second argument, a run of the input, into the
/// first, which is as long.
pub(crate) type Read<T> = fn(&mut [T], &[T]);

/// The function that is applied to inputs as they are read, if the GELU of x is convolved.
pub(crate) fn read<T: Gelu>(gelu_input: bool) -> Option<Read<T>> {
    gelu_input.then_some(gelu_into::<T>)
}

/// Copies a run of the input, through `read` if there is one.
fn copy<T: Copy>(to: &mut [T], from: &[T], read: Option<Read<T>>) {
    match read {
        Some(read) => read(to, from),
        None => to.copy_from_slice(from),
    }
}

/// Operands are slices with the output's layout; the bias is left to the kernels that sum.
impl<T: Gelu> Epilogue<&[T]> {
    /// Whether anything is left to do once sums are complete.
    fn has_finish(&self) -> bool {
        self.residual.is_some() || self.gelu || self.slope.is_some()
    }

    /// Finishes the run of complete sums that starts at `start` of the output.
    fn finish(&self, start: usize, run: &mut [T]) {
        if let Some(residual) = self.residual {
            let residual = &residual[start..start + run.len()];
            // Compiled for the baseline, the compiler's own vectors suffice: memory is the limit.
            run.iter_mut().zip(residual).for_each(|(sum, x)| *sum += *x);
        }
        if self.gelu {
            gelu_in_place(run);
        }
        if let Some(slope) = self.slope {
            times_derivative(run, &slope[start..start + run.len()]);
        }
    }
}
