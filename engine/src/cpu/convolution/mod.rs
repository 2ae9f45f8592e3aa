//! Convolutions, in two ways: directly, which suits every geometry, and by Winograd's algorithm,
//! for 3×3 with stride 1 and what is made of such.
//!
//! Here is what both share; the operation `conv2d` chooses between them.

pub(crate) mod direct;
pub(crate) mod winograd;

use super::PIECE;
use crate::{Buffer, Float};
use rayon::prelude::*;

/// The partial sums of a weight gradient: enough to keep as many threads busy, and constant, so
/// that the order of additions is too.
const PARTIALS: usize = 16;

/// The sum of `partials`, in their order: `rows` rows of `wide` numbers each, of which the first
/// `width` are wanted.
fn sum_of_partials<T: Float>(
    partials: &[Buffer],
    rows: usize,
    wide: usize,
    width: usize,
) -> Buffer {
    let mut total = Buffer::new::<T>(rows * width);
    let piece = PIECE.div_ceil(width.max(1));
    total.as_mut_slice::<T>().par_chunks_mut((piece * width).max(1)).enumerate().for_each(
        |(i, total)| {
            total.fill(T::zero());
            for partial in partials {
                let partial = partial.as_slice::<T>()[i * piece * wide..].chunks_exact(wide);
                for (sums, parts) in total.chunks_exact_mut(width).zip(partial) {
                    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += *part);
                }
            }
        },
    );
    total
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

/// What a convolution does to its input as it reads it and to its output once it is finished, so
/// that no pass over memory is spent on it.
#[derive(Clone, Copy)]
pub(crate) struct Fusion<'a, T> {
    /// The output holds numbers already, to which the results are added.
    pub(crate) add: bool,
    /// Applied to the input wherever it is read; leaves 0 at 0.
    pub(crate) read: Option<Read<T>>,
    /// Applied to runs of the output once they are complete; its first argument says where in the
    /// output a run starts.
    pub(crate) write: Option<&'a Write<'a, T>>,
}

/// See [`Fusion::read`]. Writes what it makes of its second argument into the first, which is as
/// long.
pub(crate) type Read<T> = fn(&mut [T], &[T]);

/// Copies a run of the input, through `read` if there is one.
fn copy<T: Copy>(to: &mut [T], from: &[T], read: Option<Read<T>>) {
    match read {
        Some(read) => read(to, from),
        None => to.copy_from_slice(from),
    }
}

/// See [`Fusion::write`].
pub(crate) type Write<'a, T> = dyn Fn(usize, &mut [T]) + Sync + 'a;

impl<T> Fusion<'_, T> {
    /// A plain convolution.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { add: false, read: None, write: None };

    /// Applies `write` to the run that starts at `start`.
    pub(crate) fn finish(&self, start: usize, run: &mut [T]) {
        if let Some(write) = self.write {
            write(start, run);
        }
    }
}
