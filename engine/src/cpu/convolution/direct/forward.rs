//! The correlation itself: bands of output rows, blocks of channels, tiles of pixels.

use super::Stencil;
use super::stencil::Phase;
use super::strip::{Strip, band_rows};
use crate::conv::Epilogue;
use crate::cpu::convolution::{Map, read};
use crate::cpu::gelu::Gelu;
use crate::memory::reserve;
use crate::simd::{
    LaneKernel, Lanes, add_block, load_block, multiply, store_block, vectorize_lanes,
};
use crate::{Float, Result};
use rayon::prelude::*;

/// Weights in the order in which the inner loop reads them:
/// `[phase][group][block][tap][c_in][lanes]`, a block of output channels being a cache line, the
/// last one filled up with zeros.
pub(crate) struct DirectWeights<T> {
    phases: Vec<Vec<T>>,
    groups: usize,
    c_in: usize,
    c_out: usize,
}

impl<T: Float> DirectWeights<T> {
    /// Packs `weight(group, kernel element, c_in, c_out)`; channel counts are those of one group.
    pub(crate) fn new(
        stencil: &Stencil,
        groups: usize,
        c_in: usize,
        c_out: usize,
        weight: impl Fn(usize, usize, usize, usize) -> T,
    ) -> Result<Self> {
        let lanes = T::BLOCK;
        let blocks = c_out.div_ceil(lanes);
        let pack = |phase: &Phase| {
            let mut packed = Vec::new();
            let sizes = [blocks, phase.taps.len(), c_in, lanes];
            reserve(&mut packed, sizes.iter().fold(groups, |n, &size| n.saturating_mul(size)))?;
            for (g, b) in (0..groups).flat_map(|g| (0..blocks).map(move |b| (g, b))) {
                for (&element, i) in
                    phase.elements.iter().flat_map(|e| (0..c_in).map(move |i| (e, i)))
                {
                    packed.extend(
                        (b * lanes..(b + 1) * lanes)
                            .map(|o| if o < c_out { weight(g, element, i, o) } else { T::zero() }),
                    );
                }
            }
            Ok(packed)
        };
        let phases = stencil.phases.iter().map(pack).collect::<Result<_>>()?;
        Ok(Self { phases, groups, c_in, c_out })
    }
}

/// Correlates `x` into `out`, the memory of an `[n, out_h, out_w, groups·c_out]` map, or `onto` the
/// numbers there, with an `epilogue`.
pub(crate) fn correlate<T: Gelu>(
    stencil: &Stencil,
    x: Map<'_, T>,
    weights: &DirectWeights<T>,
    out: &mut [T],
    (out_h, out_w): (usize, usize),
    epilogue: Epilogue<&[T]>,
    onto: bool,
) -> Result<()> {
    let c_out = weights.groups * weights.c_out;
    if out.is_empty() {
        return Ok(());
    }
    let grid = (out_h.div_ceil(stencil.out_step), out_w.div_ceil(stencil.out_step));
    let band = band_rows::<T>(stencil, x, grid);
    let row_len = out_w * c_out;
    let image = out_h * row_len;
    let band_len = band.saturating_mul(stencil.out_step).saturating_mul(row_len);
    out.par_chunks_mut(image).enumerate().try_for_each(|(n, out)| {
        out.par_chunks_mut(band_len).enumerate().try_for_each(|(i, out)| {
            let rows = (i * band, ((i + 1) * band).min(grid.0));
            let strip = Strip::new(stencil, x, n, rows, grid.1, read(epilogue.gelu_input))?;
            vectorize_lanes(Band {
                stencil,
                strip: &strip,
                weights,
                bias: epilogue.bias,
                out: &mut *out,
                out_w,
                c_out,
                onto,
            });
            epilogue.finish(n * image + i * band_len, out);
            Ok(())
        })
    })
}

/// A band of the output.
struct Band<'a, T: Float> {
    stencil: &'a Stencil,
    strip: &'a Strip<'a, T>,
    weights: &'a DirectWeights<T>,
    bias: Option<&'a [T]>,
    out: &'a mut [T],
    out_w: usize,
    c_out: usize,
    onto: bool,
}

impl<T: Float> LaneKernel<T> for Band<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) {
        let Self { stencil, strip, weights, bias, out, out_w, c_out, onto } = self;
        let out_rows = out.len() / (out_w * c_out);
        let pixel = stencil.in_step * strip.c;
        let blocks = weights.c_out.div_ceil(T::BLOCK);
        let mut taps: Vec<usize> = Vec::new();
        for (phase, packed) in stencil.phases.iter().zip(&weights.phases) {
            let rows = stencil.count(phase.origin.0, out_rows);
            let columns = stencil.count(phase.origin.1, out_w);
            if columns == 0 {
                // A map narrower than the stride has no pixels of this phase.
                continue;
            }
            let block_len = phase.taps.len() * weights.c_in * T::BLOCK;
            for (group, block) in (0..weights.groups).flat_map(|g| (0..blocks).map(move |b| (g, b)))
            {
                let w = &packed[(group * blocks + block) * block_len..][..block_len];
                let width = T::BLOCK.min(weights.c_out - block * T::BLOCK);
                let channel = group * weights.c_out + block * T::BLOCK;
                let start =
                    load_block::<L, V>(bias.map_or(&[], |bias| &bias[channel..channel + width]));
                for row in 0..rows {
                    let tap_start = |&tap: &(isize, isize)| {
                        strip.at(stencil, strip.rows.0 + row, tap) + group * weights.c_in
                    };
                    taps.clear();
                    taps.extend(phase.taps.iter().map(tap_start));
                    let first = (phase.origin.0 + row * stencil.out_step) * out_w + phase.origin.1;
                    let out = &mut out[first * c_out + channel..];
                    let tile = Tile {
                        data: strip.data(),
                        taps: &taps,
                        pixel,
                        w,
                        c_in: weights.c_in,
                        start,
                    };
                    let to = RowOutput { step: stencil.out_step * c_out, width, onto };
                    let mut column = 0;
                    while column + R <= columns {
                        tile.compute::<R>(column, to, out);
                        column += R;
                    }
                    if column < columns && columns >= R && !onto {
                        // The last tile overlaps the one before: the same sums, written again.
                        tile.compute::<R>(columns - R, to, out);
                    } else {
                        for column in column..columns {
                            tile.compute::<1>(column, to, out);
                        }
                    }
                }
            }
        }
    }
}

/// Neighboring pixels × a block of channels.
struct Tile<'a, L: Lanes, const V: usize> {
    data: &'a [L::Scalar],
    /// Where each tap of column 0 starts in `data`.
    taps: &'a [usize],
    /// Elements from one pixel to the next.
    pixel: usize,
    w: &'a [L::Scalar],
    c_in: usize,
    start: [L; V],
}

/// How the pixels of a row of the grid lie in the output.
#[derive(Clone, Copy)]
struct RowOutput {
    /// Elements from one pixel to the next.
    step: usize,
    /// Channels of the block.
    width: usize,
    /// Whether they are added onto the output.
    onto: bool,
}

impl<L: Lanes, const V: usize> Tile<'_, L, V> {
    /// The `P` pixels from `column` on, into `out`, which starts at column 0.
    #[inline(always)]
    fn compute<const P: usize>(&self, column: usize, to: RowOutput, out: &mut [L::Scalar]) {
        let mut sums = [self.start; P];
        let c_in = self.c_in;
        for (tap, w) in self.taps.iter().zip(self.w.chunks_exact((c_in * V * L::N).max(1))) {
            let pixels = &self.data[tap + column * self.pixel..];
            multiply(&mut sums, c_in, (pixels, self.pixel, 1), (w, V * L::N));
        }
        for (i, sums) in sums.iter().enumerate() {
            let pixel = &mut out[(column + i) * to.step..][..to.width];
            if to.onto { add_block(*sums, pixel) } else { store_block(*sums, pixel) }
        }
    }
}
