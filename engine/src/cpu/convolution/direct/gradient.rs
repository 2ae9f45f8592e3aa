//! The gradient of a correlation's weights: a sum of outer products over all pixels.

use super::Stencil;
use super::strip::{Strip, band_rows};
use crate::cpu::convolution::{Map, PARTIALS, Read, sum_of_partials};
use crate::simd::{LaneKernel, Lanes, load_block, multiply, store_block, vectorize_lanes};
use crate::{Buffer, Float, Result};
use rayon::prelude::*;

/// The gradient of the weights of a correlation by `stencil`, a forward one, from `x` to a map like
/// `dy`: Σ over pixels of x at the tap, with `read` applied, times dy, as
/// `[group][tap][c_in][c_out]`.
pub(crate) fn weight_gradient<T: Float>(
    stencil: &Stencil,
    x: Map<'_, T>,
    dy: Map<'_, T>,
    groups: usize,
    read: Option<Read<T>>,
) -> Result<Buffer> {
    let (c_in, c_out) = (x.c / groups, dy.c / groups);
    let taps = &stencil.phases[0].taps;
    let size = groups * taps.len() * c_in * c_out;
    let band = band_rows::<T>(stencil, x, (dy.h, dy.w));
    let bands = dy.h.div_ceil(band.max(1));
    // Whole bands of whole images, dealt out in order to a constant number of partial sums.
    let pieces = dy.n * bands;
    let per_partial = pieces.div_ceil(PARTIALS).max(1);
    let partials: Vec<Buffer> = (0..pieces.div_ceil(per_partial))
        .into_par_iter()
        .map(|partial| -> Result<Buffer> {
            let mut sums = Buffer::new::<T>(size)?;
            let out = sums.as_mut_slice::<T>();
            out.fill(T::zero());
            for piece in partial * per_partial..((partial + 1) * per_partial).min(pieces) {
                let (n, i) = (piece / bands, piece % bands);
                let rows = (i * band, ((i + 1) * band).min(dy.h));
                let strip = Strip::new(stencil, x, n, rows, dy.w, read)?;
                vectorize_lanes(GradientBand {
                    stencil,
                    strip: &strip,
                    dy,
                    n,
                    groups,
                    c_in,
                    c_out,
                    out,
                });
            }
            Ok(sums)
        })
        .collect::<Result<_>>()?;
    sum_of_partials::<T>(&partials, groups * taps.len() * c_in, c_out, c_out)
}

/// The contribution of a band of `dy` to the gradient of the weights.
struct GradientBand<'a, T: Float> {
    stencil: &'a Stencil,
    strip: &'a Strip<'a, T>,
    dy: Map<'a, T>,
    n: usize,
    groups: usize,
    c_in: usize,
    c_out: usize,
    out: &'a mut [T],
}

impl<T: Float> LaneKernel<T> for GradientBand<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) {
        let Self { stencil, strip, dy, n, groups, c_in, c_out, out } = self;
        let taps = &stencil.phases[0].taps;
        let pixel = stencil.in_step * strip.c;
        // Rows at a time: their parts of x and dy should stay in the L1 cache for all taps and
        // channels.
        let together = (4096 / (dy.w * dy.c).max(1)).max(1);
        let mut padded: Vec<T> = Vec::new();
        let (first, last) = strip.rows;
        for rows in (first..last).step_by(together).map(|row| row..(row + together).min(last)) {
            for (group, block) in
                (0..groups).flat_map(|g| (0..c_out.div_ceil(T::BLOCK)).map(move |b| (g, b)))
            {
                let width = T::BLOCK.min(c_out - block * T::BLOCK);
                let channel = group * c_out + block * T::BLOCK;
                let dy_rows =
                    &dy.data[(n * dy.h + rows.start) * dy.w * dy.c..][..rows.len() * dy.w * dy.c];
                // A full block is read in place; the last, narrower one from a copy filled up with
                // zeros.
                let (values, stride): (&[T], usize) = if width == T::BLOCK {
                    (&dy_rows[channel..], dy.c)
                } else {
                    padded.clear();
                    for pixel in dy_rows.chunks_exact(dy.c) {
                        padded.extend_from_slice(&pixel[channel..channel + width]);
                        padded.resize(padded.len() + T::BLOCK - width, T::zero());
                    }
                    (&padded, T::BLOCK)
                };
                for (t, &tap) in taps.iter().enumerate() {
                    let mut c = 0;
                    while c < c_in {
                        let sums = &mut out
                            [((group * taps.len() + t) * c_in + c) * c_out + block * T::BLOCK..];
                        let x = |row: usize| strip.at(stencil, row, tap) + group * c_in + c;
                        let outer = Outer {
                            data: strip.data(),
                            x: &x,
                            pixel,
                            values,
                            stride,
                            rows: rows.clone(),
                            columns: dy.w,
                        };
                        c += match c_in - c {
                            left if left >= R => outer.add::<L, V, R>(sums, c_out, width),
                            4.. => outer.add::<L, V, 4>(sums, c_out, width),
                            2.. => outer.add::<L, V, 2>(sums, c_out, width),
                            _ => outer.add::<L, V, 1>(sums, c_out, width),
                        };
                    }
                }
            }
        }
    }
}

/// A sum of outer products over pixels.
struct Outer<'a, T, X> {
    data: &'a [T],
    /// Where the channels of pixel (row, 0) start in `data`.
    x: &'a X,
    pixel: usize,
    values: &'a [T],
    /// Elements of `values` from one pixel to the next.
    stride: usize,
    rows: std::ops::Range<usize>,
    columns: usize,
}

impl<T: Float, X: Fn(usize) -> usize> Outer<'_, T, X> {
    /// Adds `C` input channels × one block of output channels to `sums`, whose rows are `c_out`
    /// long. Returns `C`.
    #[inline(always)]
    fn add<L: Lanes<Scalar = T>, const V: usize, const C: usize>(
        &self,
        sums: &mut [T],
        c_out: usize,
        width: usize,
    ) -> usize {
        let mut tile = [[L::splat(T::zero()); V]; C];
        for c in 0..C {
            tile[c] = load_block(&sums[c * c_out..][..width]);
        }
        for (i, row) in self.rows.clone().enumerate() {
            let x = &self.data[(self.x)(row)..];
            let dy = &self.values[i * self.columns * self.stride..];
            multiply(&mut tile, self.columns, (x, 1, self.pixel), (dy, self.stride));
        }
        for (c, value) in tile.into_iter().enumerate() {
            store_block(value, &mut sums[c * c_out..][..width]);
        }
        C
    }
}
