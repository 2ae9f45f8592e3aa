//! Linear maps that treat rows and columns apart: y = R·x·Cᵀ for every channel, with R and C
//! sparse.
//!
//! Average pooling, bilinear and nearest resampling are all of this kind, and differ only in the
//! two tables. The adjoint is of this kind as well, with the tables transposed: each gradient
//! gathers from the outputs it went into, so the backward pass is the same loop, with nothing
//! scattered and nothing added out of order.

use crate::cpu::{for_each_line, in_blocks};
use crate::memory::{filled, reserve};
use crate::simd::{Kernel, vectorize};
use crate::{Buffer, Error, Float, Result, Tensor, dispatch_float};

/// One of the two tables: which inputs an output along this axis is computed from, a run of
/// neighbors, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AxisTable {
    /// Inputs along the axis.
    input: usize,
    /// For each output, its first input and where its weights start in `weights`; one more entry
    /// closes the last.
    outputs: Vec<(usize, usize)>,
    weights: Vec<f64>,
}

impl AxisTable {
    /// A table over `input` inputs, of `len` outputs; output `o` is `output(o)`: a first input and
    /// the weights from there on. An error if there is no memory for it.
    pub(crate) fn new<W: ExactSizeIterator<Item = f64>>(
        input: usize,
        len: usize,
        output: impl Fn(usize) -> (usize, W),
    ) -> Result<Self> {
        let mut axis = Self { input, outputs: Vec::new(), weights: Vec::new() };
        reserve(&mut axis.outputs, len.saturating_add(1))?;
        // Counted first: a vast table is refused before memory fills with the start of it.
        let count = (0..len).fold(0usize, |n, o| n.saturating_add(output(o).1.len()));
        reserve(&mut axis.weights, count)?;
        for (first, weights) in (0..len).map(output) {
            debug_assert!(first + weights.len() <= input);
            axis.outputs.push((first, axis.weights.len()));
            axis.weights.extend(weights);
        }
        axis.outputs.push((0, axis.weights.len()));
        Ok(axis)
    }

    /// Number of outputs.
    pub(crate) fn len(&self) -> usize {
        self.outputs.len() - 1
    }

    /// For each output, its first input and where its weights start; one more entry closes the
    /// last.
    pub(crate) fn outputs(&self) -> &[(usize, usize)] {
        &self.outputs
    }

    /// The weights of all outputs, one after the other.
    pub(crate) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The first input of output `o`, and the weights.
    fn window(&self, o: usize) -> (usize, &[f64]) {
        let (first, start) = self.outputs[o];
        (first, &self.weights[start..self.outputs[o + 1].1])
    }

    /// The adjoint: inputs and outputs exchanged. The outputs that an input goes into must be
    /// neighbors, as they are where the runs move steadily to the right.
    pub(crate) fn transposed(&self) -> Result<Self> {
        let mut columns: Vec<(usize, Vec<f64>)> = filled((0, Vec::new()), self.input)?;
        for o in 0..self.len() {
            let (first, weights) = self.window(o);
            for (i, &weight) in weights.iter().enumerate() {
                let (start, column) = &mut columns[first + i];
                if column.is_empty() {
                    *start = o;
                }
                column.resize(o - *start, 0.0);
                column.push(weight);
            }
        }
        Self::new(self.len(), columns.len(), |o| (columns[o].0, columns[o].1.iter().copied()))
    }

    fn weights_as<T: Float>(&self) -> Vec<T> {
        self.weights.iter().map(|&weight| T::from_f64(weight)).collect()
    }
}

/// A map `[N, C, H, W]`, and the tables for its rows and columns.
pub(crate) struct Resampled<'a> {
    pub(crate) x: &'a Tensor,
    /// Along H.
    pub(crate) rows: &'a AxisTable,
    /// Along W.
    pub(crate) cols: &'a AxisTable,
}

/// `rows` along H and `cols` along W of `x` `[N, C, H, W]`.
pub(crate) fn resample(
    op: &'static str,
    x: &Tensor,
    rows: &AxisTable,
    cols: &AxisTable,
) -> Result<Tensor> {
    let [n, c, ..] = x.dims4(op)?;
    let (shape, part) = ([n, c, rows.len(), cols.len()], Resampled { x, rows, cols });
    dispatch_float!(op, x.dtype(), T => Tensor::try_build(&shape, |out: &mut [T]| {
        sum_of_resampled::<T>(op, &shape, Start::Zero, &[part], None, out)
    }))
}

/// `x` plus `parts`, each resampled to its size, in one pass over it; `finish` is applied to each
/// line of the sum.
pub(crate) fn add_resampled<T: Float>(
    op: &'static str,
    x: &Tensor,
    parts: &[Resampled<'_>],
    finish: Option<fn(&mut [T])>,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let start = Start::From(x.dense_data(op)?);
    Tensor::try_build(x.shape(), |out| sum_of_resampled(op, x.shape(), start, parts, finish, out))
}

/// The same in the memory of `x`, which nothing else holds.
pub(crate) fn add_resampled_in_place<T: Float>(
    op: &'static str,
    x: &mut Tensor,
    parts: &[Resampled<'_>],
    finish: Option<fn(&mut [T])>,
) -> Result<()> {
    let shape = x.shape().to_vec();
    let out = x.exclusive_data().ok_or_else(|| Error::tape(op, "someone else sees the map"))?;
    sum_of_resampled(op, &shape, Start::InPlace, parts, finish, out)
}

/// The numbers that the resampled maps are added to.
#[derive(Clone, Copy)]
enum Start<'a, T> {
    Zero,
    /// As long as the output.
    From(&'a [T]),
    /// The numbers that the output holds already.
    InPlace,
}

impl<T> Start<'_, T> {
    /// The start of the `len` numbers of the output from `from` on.
    #[inline(always)]
    fn part(self, from: usize, len: usize) -> Self {
        match self {
            Self::From(start) => Self::From(&start[from..from + len]),
            other => other,
        }
    }
}

fn sum_of_resampled<T: Float>(
    op: &'static str,
    shape: &[usize],
    start: Start<'_, T>,
    parts: &[Resampled<'_>],
    finish: Option<fn(&mut [T])>,
    out: &mut [T],
) -> Result<()> {
    let &[_, c, height, width] = shape else {
        unreachable!("{op}: shapes of maps have four dimensions")
    };
    let sources: Vec<Tensor> =
        parts.iter().map(|part| part.x.contiguous()).collect::<Result<_>>()?;
    let parts: Vec<Part<'_, T>> = parts
        .iter()
        .zip(&sources)
        .map(|(part, x)| Part::new(op, part, x))
        .collect::<Result<_>>()?;
    let blended: usize = parts.iter().map(|part| part.cols.input * c).sum();
    let compute = |i: usize, out: &mut [T], blended: &mut Buffer| {
        let start = start.part(i * width * c, width * c);
        let (image, line, blended) = (i / height, i % height, blended.as_mut_slice::<T>());
        vectorize(Line { start, parts: &parts, image, line, blended, c, out: &mut *out });
        if let Some(finish) = finish {
            finish(out);
        }
    };
    for_each_line(out, width * c, || Buffer::new::<T>(blended), compute)
}

/// [`Resampled`] in memory.
struct Part<'a, T> {
    source: &'a [T],
    rows: &'a AxisTable,
    cols: &'a AxisTable,
    row_weights: Vec<T>,
    col_weights: Vec<T>,
}

impl<'a, T: Float> Part<'a, T> {
    /// `x` is the map of `part`, contiguous.
    fn new(op: &'static str, part: &Resampled<'a>, x: &'a Tensor) -> Result<Self> {
        let &Resampled { rows, cols, .. } = part;
        debug_assert_eq!(x.shape()[2..], [rows.input, cols.input], "{op}: tables for another size");
        let (row_weights, col_weights) = (rows.weights_as(), cols.weights_as());
        Ok(Self { source: x.dense_data(op)?, rows, cols, row_weights, col_weights })
    }
}

/// A line of the output: of each part, the rows blended into one, then that one's pixels.
struct Line<'a, T> {
    start: Start<'a, T>,
    parts: &'a [Part<'a, T>],
    image: usize,
    line: usize,
    /// Space for a blended row of each part.
    blended: &'a mut [T],
    c: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Line<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { start, parts, image, line, blended, c, out } = self;
        let mut at = 0;
        for Part { source, rows, cols, row_weights, .. } in parts {
            let (first, weights) = (
                rows.outputs[line].0,
                &row_weights[rows.outputs[line].1..rows.outputs[line + 1].1],
            );
            let stride = cols.input * c;
            let source = &source[(image * rows.input + first) * stride..];
            WeightedSum { out: &mut blended[at..at + stride], weights, source, stride }.compute();
            at += stride;
        }
        for (x, pixel) in out.chunks_exact_mut(c).enumerate() {
            let start = start.part(x * c, c);
            in_blocks!(c, |channel, B| {
                sum_of_columns::<T, B>(pixel, start, parts, blended, x, channel);
            });
        }
    }
}

/// `B` channels of pixel `x` from the parts' blended rows; the sums stay in registers.
#[inline(always)]
fn sum_of_columns<T: Float, const B: usize>(
    pixel: &mut [T],
    start: Start<'_, T>,
    parts: &[Part<'_, T>],
    blended: &[T],
    x: usize,
    channel: usize,
) {
    let c = pixel.len();
    let mut sums = [T::default(); B];
    match start {
        Start::Zero => {}
        Start::From(start) => sums.copy_from_slice(&start[channel..channel + B]),
        Start::InPlace => sums.copy_from_slice(&pixel[channel..channel + B]),
    }
    let mut at = channel;
    for Part { cols, col_weights, .. } in parts {
        let (first, from) = cols.outputs[x];
        for (k, &weight) in col_weights[from..cols.outputs[x + 1].1].iter().enumerate() {
            let source = &blended[at + (first + k) * c..][..B];
            for b in 0..B {
                sums[b] += weight * source[b];
            }
        }
        at += cols.input * c;
    }
    pixel[channel..channel + B].copy_from_slice(&sums);
}

/// out[i] = Σₖ weights[k]·source[k·stride + i].
struct WeightedSum<'a, T> {
    out: &'a mut [T],
    weights: &'a [T],
    source: &'a [T],
    stride: usize,
}

impl<T: Float> WeightedSum<'_, T> {
    #[inline(always)]
    fn compute(self) {
        let Self { out, weights, source, stride } = self;
        in_blocks!(out.len(), |at, B| {
            block::<T, B>(&mut out[at..], weights, &source[at..], stride);
        });
    }
}

#[inline(always)]
fn block<T: Float, const B: usize>(out: &mut [T], weights: &[T], source: &[T], stride: usize) {
    let mut sums = [T::default(); B];
    for (k, &weight) in weights.iter().enumerate() {
        let source = &source[k * stride..][..B];
        for b in 0..B {
            sums[b] += weight * source[b];
        }
    }
    out[..B].copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_gives_the_table_back() {
        // Overlapping runs, a gap, and an input that nothing uses.
        let runs = [(0, vec![0.25, 0.5]), (1, vec![1.0]), (1, vec![2.0, 3.0, 4.0]), (5, vec![5.0])];
        let axis =
            AxisTable::new(7, runs.len(), |o| (runs[o].0, runs[o].1.iter().copied())).unwrap();
        let transposed = axis.transposed().unwrap();
        assert_eq!(transposed.len(), 7);
        assert_eq!(transposed.window(1), (0, [0.5, 1.0, 2.0].as_slice()));
        assert_eq!(transposed.window(4), (0, [].as_slice()));
        assert_eq!(transposed.window(5), (3, [5.0].as_slice()));
        assert_eq!(transposed.transposed().unwrap(), axis);
    }
}
