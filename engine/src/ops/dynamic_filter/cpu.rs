//! The loops of the dynamic filter.

use super::border::Border;
use crate::cpu::{for_each_line, for_each_piece, in_blocks};
use crate::memory::{filled, reserve};
use crate::simd::{Kernel, vectorize};
use crate::{Float, Result, Tensor, dispatch_float};

const OP: &str = "dynamic_filter";

/// The number of lines of a map that are summed into one partial gradient of the taps: a constant,
/// so that the order of additions is constant, too.
const LINES: usize = 4;

pub(super) fn forward(
    x: &Tensor,
    taps: &Tensor,
    shift: Option<&Tensor>,
    padding: Border,
) -> Result<Tensor> {
    let [_, _, h, w] = x.dims4(OP)?;
    let k = taps.shape()[2];
    filter(x, taps, shift, &Sources::new(h, k, padding), &Sources::new(w, k, padding))
}

/// The adjoint in x: every input gathers from the outputs that read it.
pub(super) fn backward_x(taps: &Tensor, dy: &Tensor, padding: Border) -> Result<Tensor> {
    let [_, _, h, w] = dy.dims4(OP)?;
    let k = taps.shape()[2];
    filter(
        dy,
        taps,
        None,
        &Sources::new(h, k, padding).transposed(),
        &Sources::new(w, k, padding).transposed(),
    )
}

/// For each output position along an axis, the input positions that it reads, each with the index
/// of its tap along that axis.
struct Sources(Vec<Vec<(usize, usize)>>);

impl Sources {
    fn new(side: usize, k: usize, padding: Border) -> Self {
        let source = |at: usize, i: usize| {
            let padded = at + i;
            let inside = padded.wrapping_sub(k / 2);
            match padding {
                _ if inside < side => Some(inside),
                Border::Zero => None,
                Border::Reflect if padded < k / 2 => Some(k / 2 - padded),
                Border::Reflect => Some(2 * (side - 1) - inside),
            }
        };
        Self(
            (0..side)
                .map(|at| (0..k).filter_map(|i| Some((source(at, i)?, i))).collect())
                .collect(),
        )
    }

    /// The adjoint: for each input position, the output positions that read it.
    fn transposed(&self) -> Self {
        let mut transposed = vec![Vec::new(); self.0.len()];
        for (at, sources) in self.0.iter().enumerate() {
            sources.iter().for_each(|&(from, i)| transposed[from].push((at, i)));
        }
        Self(transposed)
    }

    /// For each of `k` taps, the pairs of output and input positions that it joins.
    fn by_tap(&self, k: usize) -> Vec<Vec<(usize, usize)>> {
        let mut by_tap = vec![Vec::new(); k];
        for (at, sources) in self.0.iter().enumerate() {
            sources.iter().for_each(|&(from, i)| by_tap[i].push((at, from)));
        }
        by_tap
    }
}

/// For every pixel, the sum of the pixels that it reads according to `rows` and `cols`, times their
/// taps, and of the `shift`.
fn filter(
    x: &Tensor,
    taps: &Tensor,
    shift: Option<&Tensor>,
    rows: &Sources,
    cols: &Sources,
) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(OP)?;
    let k = taps.shape()[2];
    let x = x.contiguous()?;
    let shift = shift.map_or_else(|| Tensor::zeros(&[n, c], x.dtype()), Tensor::contiguous)?;
    dispatch_float!(OP, x.dtype(), T => {
        let source: &[T] = x.dense_data(OP)?;
        let weights = per_channel::<T>(taps, c)?;
        let shift: &[T] = shift.dense_data(OP)?;
        Tensor::try_build(x.shape(), |out: &mut [T]| {
            for_each_line(out, w * c, || Ok(()), |line, out, ()| {
                let (image, y) = (line / h, line % h);
                let source = &source[image * h * w * c..][..h * w * c];
                let weights = &weights[image * k * k * c..][..k * k * c];
                let shift = &shift[image * c..][..c];
                vectorize(
                    Line { source, weights, shift, rows: &rows.0[y], cols: &cols.0, k, w, c, out }
                );
            })
        })
    })
}

/// The taps `[N, G, K, K]` in the order N, K, K, C, repeated for the channels of a group, so that a
/// pixel's channels meet theirs side by side.
fn per_channel<T: Float>(taps: &Tensor, channels: usize) -> Result<Vec<T>> {
    let groups = taps.shape()[1];
    let taps = taps.contiguous()?;
    let data: &[T] = taps.dense_data(OP)?;
    let (per_group, mut repeated) = (channels / groups, Vec::new());
    // Many channels of one pixel and large filters may both fit into memory, and not their product.
    reserve(&mut repeated, data.len().saturating_mul(per_group))?;
    repeated.extend(data.iter().flat_map(|&tap| std::iter::repeat_n(tap, per_group)));
    Ok(repeated)
}

/// A line of the output.
struct Line<'a, T> {
    /// The image.
    source: &'a [T],
    /// The taps of the image, `[k, k, c]`.
    weights: &'a [T],
    /// The number added to each channel.
    shift: &'a [T],
    /// The lines that this one reads.
    rows: &'a [(usize, usize)],
    /// The columns that each of its pixels reads.
    cols: &'a [Vec<(usize, usize)>],
    k: usize,
    w: usize,
    c: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Line<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        for x in 0..self.cols.len() {
            in_blocks!(self.c, |channel, B| {
                self.pixel::<B>(x, channel);
            });
        }
    }
}

impl<T: Float> Line<'_, T> {
    /// `B` channels of pixel `x`; their sums stay in registers.
    #[inline(always)]
    fn pixel<const B: usize>(&mut self, x: usize, channel: usize) {
        let (k, w, c) = (self.k, self.w, self.c);
        let mut sums = [T::default(); B];
        sums.copy_from_slice(&self.shift[channel..channel + B]);
        for &(row, i) in self.rows {
            for &(column, j) in &self.cols[x] {
                let source = &self.source[(row * w + column) * c + channel..][..B];
                let weights = &self.weights[(i * k + j) * c + channel..][..B];
                for b in 0..B {
                    sums[b] += source[b] * weights[b];
                }
            }
        }
        self.out[x * c + channel..][..B].copy_from_slice(&sums);
    }
}

/// The adjoint in the taps, of shape `shape`: Σ dy·x over the pixels and the channels of a group,
/// for each tap.
pub(super) fn backward_taps(
    x: &Tensor,
    shape: &[usize],
    dy: &Tensor,
    padding: Border,
) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(OP)?;
    let (groups, k) = (shape[1], shape[2]);
    let (rows, cols) = (Sources::new(h, k, padding), Sources::new(w, k, padding).by_tap(k));
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let pieces = h.div_ceil(LINES);
    let taps = k * k * c;
    let mut sums = filled(0.0, n * k * k * groups)?;
    dispatch_float!(OP, x.dtype(), T => {
        let (x, dy): (&[T], &[T]) = (x.dense_data(OP)?, dy.dense_data(OP)?);
        let mut partial = filled(T::default(), n * pieces * taps)?;
        for_each_piece(&mut partial, taps, &|i, sums| {
            let (image, piece) = (i / pieces, i % pieces);
            let [x, dy] = [x, dy].map(|map| &map[image * h * w * c..][..h * w * c]);
            let lines = piece * LINES..((piece + 1) * LINES).min(h);
            vectorize(Products { x, dy, rows: &rows.0, cols: &cols, lines, k, w, c, sums });
        });
        for (i, &part) in partial.iter().enumerate() {
            let (image, tap, channel) = (i / taps / pieces, i / c % (k * k), i % c);
            sums[
                (image * k * k + tap) * groups + channel / (c / groups)
            ] += crate::Element::to_f64(part);
        }
        Tensor::build(shape, |out: &mut [T]| {
            out
                .iter_mut()
                .zip(&sums)
                .for_each(|(out, &sum)| *out = <T as crate::Element>::from_f64(sum));
        })
    })
}

/// The contribution of some lines to the gradient of the taps, `[k, k, c]`.
struct Products<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    /// The lines that each line reads.
    rows: &'a [Vec<(usize, usize)>],
    /// For each tap along a line, the pairs of pixels that it joins.
    cols: &'a [Vec<(usize, usize)>],
    lines: std::ops::Range<usize>,
    k: usize,
    w: usize,
    c: usize,
    sums: &'a mut [T],
}

impl<T: Float> Kernel for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, dy, rows, cols, lines, k, w, c, sums } = self;
        for line in lines {
            let dy = &dy[line * w * c..][..w * c];
            for &(from, i) in &rows[line] {
                let x = &x[from * w * c..][..w * c];
                for (j, pixels) in cols.iter().enumerate() {
                    let sums = &mut sums[(i * k + j) * c..][..c];
                    in_blocks!(c, |channel, B| {
                        products::<T, B>(x, dy, pixels, channel, sums);
                    });
                }
            }
        }
    }
}

/// Adds the products of `B` channels of the pairs of pixels that one tap joins; the sums stay in
/// registers.
#[inline(always)]
fn products<T: Float, const B: usize>(
    x: &[T],
    dy: &[T],
    pixels: &[(usize, usize)],
    channel: usize,
    sums: &mut [T],
) {
    let c = sums.len();
    let mut line = [T::default(); B];
    for &(at, from) in pixels {
        let (x, dy) = (&x[from * c + channel..][..B], &dy[at * c + channel..][..B]);
        for b in 0..B {
            line[b] += dy[b] * x[b];
        }
    }
    for b in 0..B {
        sums[channel + b] += line[b];
    }
}
