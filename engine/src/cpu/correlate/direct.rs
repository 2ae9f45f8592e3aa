//! The correlation itself: bands of output rows, blocks of channels, tiles of pixels.

use super::plan::Phase;
use super::strip::{Strip, band_rows};
use super::{Map, Plan, put};
use crate::Float;
use crate::simd::{LaneKernel, Lanes, vectorize_lanes};
use rayon::prelude::*;

/// Output pixels of a tile: 6 × 2 accumulators, 2 weights and a value take 15 of the 16 registers of AVX2.
const PIXELS: usize = 6;

/// Weights in the order in which the inner loop reads them: `[phase][group][block][tap][c_in][lanes]`,
/// a block being two registers of output channels, the last one filled up with zeros.
pub(crate) struct Packed<T> {
    phases: Vec<Vec<T>>,
    groups: usize,
    c_in: usize,
    c_out: usize,
}

/// Output channels of a block.
fn block<T: Float>() -> usize {
    2 * <T::Portable as Lanes>::N
}

impl<T: Float> Packed<T> {
    /// Packs `weight(group, kernel element, c_in, c_out)`; channel counts are those of one group.
    pub(crate) fn new(
        plan: &Plan,
        groups: usize,
        c_in: usize,
        c_out: usize,
        weight: impl Fn(usize, usize, usize, usize) -> T,
    ) -> Self {
        let lanes = block::<T>();
        let blocks = c_out.div_ceil(lanes);
        let pack = |phase: &Phase| {
            let mut packed = Vec::with_capacity(groups * blocks * phase.taps.len() * c_in * lanes);
            for (g, b) in (0..groups).flat_map(|g| (0..blocks).map(move |b| (g, b))) {
                for (&element, i) in phase.elements.iter().flat_map(|e| (0..c_in).map(move |i| (e, i))) {
                    packed.extend(
                        (b * lanes..(b + 1) * lanes)
                            .map(|o| if o < c_out { weight(g, element, i, o) } else { T::zero() }),
                    );
                }
            }
            packed
        };
        Self { phases: plan.phases.iter().map(pack).collect(), groups, c_in, c_out }
    }
}

/// Correlates `x` into `out`, the memory of an `[n, out_h, out_w, groups·c_out]` map, starting from `bias`.
pub(crate) fn correlate<T: Float>(
    plan: &Plan,
    x: Map<'_, T>,
    weights: &Packed<T>,
    bias: Option<&[T]>,
    out: &mut [T],
    (out_h, out_w): (usize, usize),
) {
    let c_out = weights.groups * weights.c_out;
    if out.is_empty() {
        return;
    }
    let grid = (out_h.div_ceil(plan.out_step), out_w.div_ceil(plan.out_step));
    let band = band_rows::<T>(plan, x, grid);
    let row_len = out_w * c_out;
    let image = out_h * row_len;
    out.par_chunks_mut(image).enumerate().for_each(|(n, out)| {
        out.par_chunks_mut(band * plan.out_step * row_len).enumerate().for_each(|(i, out)| {
            let rows = (i * band, ((i + 1) * band).min(grid.0));
            let strip = Strip::new(plan, x, n, rows, grid.1);
            vectorize_lanes(Band { plan, strip: &strip, weights, bias, out, out_w, c_out });
        });
    });
}

/// A band of the output.
struct Band<'a, T: Float> {
    plan: &'a Plan,
    strip: &'a Strip<'a, T>,
    weights: &'a Packed<T>,
    bias: Option<&'a [T]>,
    out: &'a mut [T],
    out_w: usize,
    c_out: usize,
}

impl<T: Float> LaneKernel<T> for Band<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>>(self) {
        let Self { plan, strip, weights, bias, out, out_w, c_out } = self;
        let lanes = 2 * L::N;
        let out_rows = out.len() / (out_w * c_out);
        let pixel = plan.in_step * strip.c;
        let mut taps: Vec<usize> = Vec::new();
        for (phase, packed) in plan.phases.iter().zip(&weights.phases) {
            let rows = plan.count(phase.origin.0, out_rows);
            let columns = plan.count(phase.origin.1, out_w);
            let block_len = phase.taps.len() * weights.c_in * lanes;
            for group in 0..weights.groups {
                for block in 0..weights.c_out.div_ceil(lanes) {
                    let index = group * weights.c_out.div_ceil(lanes) + block;
                    let w = &packed[index * block_len..][..block_len];
                    let width = lanes.min(weights.c_out - block * lanes);
                    let channel = group * weights.c_out + block * lanes;
                    let start = starting_values::<L>(bias, channel, width);
                    for row in 0..rows {
                        taps.clear();
                        taps.extend(
                            phase
                                .taps
                                .iter()
                                .map(|&tap| strip.at(plan, strip.rows.0 + row, tap) + group * weights.c_in),
                        );
                        let out_row = (phase.origin.0 + row * plan.out_step) * out_w;
                        let mut store = |column: usize, tile: &[[L; 2]]| {
                            for (i, value) in tile.iter().enumerate() {
                                let x = phase.origin.1 + (column + i) * plan.out_step;
                                put(*value, &mut out[(out_row + x) * c_out + channel..][..width]);
                            }
                        };
                        let tile = Tile { data: strip.data(), taps: &taps, pixel, w, c_in: weights.c_in, start };
                        let mut column = 0;
                        while column + PIXELS <= columns {
                            store(column, &tile.compute::<PIXELS>(column));
                            column += PIXELS;
                        }
                        if column < columns && columns >= PIXELS {
                            // The last tile overlaps the one before: the same sums, written again.
                            store(columns - PIXELS, &tile.compute::<PIXELS>(columns - PIXELS));
                        } else {
                            (column..columns).for_each(|column| store(column, &tile.compute::<1>(column)));
                        }
                    }
                }
            }
        }
    }
}

/// The bias of the `width` channels from `channel` on, then zeros.
#[inline(always)]
fn starting_values<L: Lanes>(bias: Option<&[L::Scalar]>, channel: usize, width: usize) -> [L; 2] {
    let mut values = [<L::Scalar as num_traits::Zero>::zero(); 32];
    if let Some(bias) = bias {
        values[..width].copy_from_slice(&bias[channel..channel + width]);
    }
    [L::load(&values), L::load(&values[L::N..])]
}

/// The inner loop: `P` neighbouring pixels × two registers of channels.
struct Tile<'a, L: Lanes> {
    data: &'a [L::Scalar],
    /// Where each tap of column 0 starts in `data`.
    taps: &'a [usize],
    /// Elements from one pixel to the next.
    pixel: usize,
    w: &'a [L::Scalar],
    c_in: usize,
    start: [L; 2],
}

impl<L: Lanes> Tile<'_, L> {
    #[inline(always)]
    fn compute<const P: usize>(&self, column: usize) -> [[L; 2]; P] {
        let mut sums = [self.start; P];
        let c_in = self.c_in;
        for (tap, w) in self.taps.iter().zip(self.w.chunks_exact((c_in * 2 * L::N).max(1))) {
            let first = tap + column * self.pixel;
            let mut values: [&[L::Scalar]; P] = [&[]; P];
            for (p, pixel) in values.iter_mut().enumerate() {
                *pixel = &self.data[first + p * self.pixel..][..c_in];
            }
            for (i, w) in w.chunks_exact(2 * L::N).enumerate() {
                let w = [L::load(w), L::load(&w[L::N..])];
                for p in 0..P {
                    let x = L::splat(values[p][i]);
                    sums[p][0] = x.mul_add(w[0], sums[p][0]);
                    sums[p][1] = x.mul_add(w[1], sums[p][1]);
                }
            }
        }
        sums
    }
}
