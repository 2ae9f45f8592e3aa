//! Linear maps that treat rows and columns apart: y = R·x·Cᵀ for every channel, with R and C sparse.
//!
//! Average pooling, bilinear and nearest resampling are all of this kind, and differ only in the two tables. The adjoint is
//! of this kind as well, with the tables transposed: each gradient gathers from the outputs it went into, so
//! the backward pass is the same loop, with nothing scattered and nothing added out of order.

use super::for_each_line;
use crate::simd::{Kernel, vectorize};
use crate::{Float, Result, Tensor, dispatch_float};

/// One of the two tables: which inputs an output along this axis is made of, a run of neighbours, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Inputs along the axis.
    input: usize,
    /// For each output, its first input and where its weights start in `weights`; one more entry closes the last.
    outputs: Vec<(usize, usize)>,
    weights: Vec<f64>,
}

impl Axis {
    /// A table over `input` inputs; each output is a first input and the weights from there on.
    pub(crate) fn new(input: usize, outputs: impl IntoIterator<Item = (usize, Vec<f64>)>) -> Self {
        let mut axis = Self { input, outputs: Vec::new(), weights: Vec::new() };
        for (first, weights) in outputs {
            debug_assert!(first + weights.len() <= input);
            axis.outputs.push((first, axis.weights.len()));
            axis.weights.extend(weights);
        }
        axis.outputs.push((0, axis.weights.len()));
        axis
    }

    /// Number of outputs.
    pub(crate) fn len(&self) -> usize {
        self.outputs.len() - 1
    }

    /// The first input of output `o`, and the weights.
    fn run(&self, o: usize) -> (usize, &[f64]) {
        let (first, start) = self.outputs[o];
        (first, &self.weights[start..self.outputs[o + 1].1])
    }

    /// The adjoint: inputs and outputs exchanged. The outputs that an input goes into must be neighbours, as they are
    /// where the runs move steadily to the right.
    pub(crate) fn transposed(&self) -> Self {
        let mut columns: Vec<(usize, Vec<f64>)> = vec![(0, Vec::new()); self.input];
        for o in 0..self.len() {
            let (first, weights) = self.run(o);
            for (i, &weight) in weights.iter().enumerate() {
                let (start, column) = &mut columns[first + i];
                if column.is_empty() {
                    *start = o;
                }
                column.resize(o - *start, 0.0);
                column.push(weight);
            }
        }
        Self::new(self.len(), columns)
    }

    fn weights_as<T: Float>(&self) -> Vec<T> {
        self.weights.iter().map(|&weight| T::from_f64(weight)).collect()
    }
}

/// `rows` along H and `cols` along W of `x` `[N, C, H, W]`.
pub(crate) fn resample(op: &'static str, x: &Tensor, rows: &Axis, cols: &Axis) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(op)?;
    debug_assert_eq!((h, w), (rows.input, cols.input), "{op}: tables for another size");
    let x = x.standard();
    dispatch_float!(op, x.dtype(), T => {
        let source: &[T] = x.dense_data(op)?;
        let (row_weights, col_weights) = (rows.weights_as::<T>(), cols.weights_as::<T>());
        Ok(Tensor::build(&[n, c, rows.len(), cols.len()], |out: &mut [T]| {
            let blended = || vec![T::default(); w * c];
            for_each_line(out, cols.len() * c, blended, |i, line, blended| {
                let (image, o) = (i / rows.len(), i % rows.len());
                let (first, start) = rows.outputs[o];
                let rows = WeightedSum {
                    out: blended,
                    weights: &row_weights[start..rows.outputs[o + 1].1],
                    source: &source[(image * h + first) * w * c..],
                    stride: w * c,
                };
                vectorize(Line { rows, line, cols, weights: &col_weights, channels: c });
            });
        }))
    })
}

/// A line of the output: the input's rows blended into one, then that one's pixels.
struct Line<'a, T> {
    rows: WeightedSum<'a, T>,
    line: &'a mut [T],
    cols: &'a Axis,
    weights: &'a [T],
    channels: usize,
}

impl<T: Float> Kernel for Line<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { rows, line, cols, weights, channels } = self;
        let blended = rows.run();
        for (pixel, run) in line.chunks_exact_mut(channels).zip(cols.outputs.windows(2)) {
            let weights = &weights[run[0].1..run[1].1];
            WeightedSum { out: pixel, weights, source: &blended[run[0].0 * channels..], stride: channels }.run();
        }
    }
}

/// out[i] = Σₖ weights[k]·source[k·stride + i].
struct WeightedSum<'a, T> {
    out: &'a mut [T],
    weights: &'a [T],
    source: &'a [T],
    stride: usize,
}

impl<'a, T: Float> WeightedSum<'a, T> {
    /// In blocks whose sums stay in registers; a block's size changes nothing but speed.
    #[inline(always)]
    fn run(self) -> &'a [T] {
        let Self { out, weights, source, stride } = self;
        let mut at = 0;
        while at + 32 <= out.len() {
            block::<T, 32>(&mut out[at..], weights, &source[at..], stride);
            at += 32;
        }
        while at + 8 <= out.len() {
            block::<T, 8>(&mut out[at..], weights, &source[at..], stride);
            at += 8;
        }
        while at < out.len() {
            block::<T, 1>(&mut out[at..], weights, &source[at..], stride);
            at += 1;
        }
        out
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
        let axis = Axis::new(7, runs);
        let transposed = axis.transposed();
        assert_eq!(transposed.len(), 7);
        assert_eq!(transposed.run(1), (0, [0.5, 1.0, 2.0].as_slice()));
        assert_eq!(transposed.run(4), (0, [].as_slice()));
        assert_eq!(transposed.run(5), (3, [5.0].as_slice()));
        assert_eq!(transposed.transposed(), axis);
    }
}
