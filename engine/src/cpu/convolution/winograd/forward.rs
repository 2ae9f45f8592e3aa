//! The convolution: strips of tiles through the input's transform, 36 matrix products and the
//! output's transform.

use super::strip::{Bytes, Cut, Strip};
use super::transform::{self, Input, Transform};
use super::{IN, OUT, PLANES, WinogradWeights};
use crate::conv::Epilogue;
use crate::cpu::convolution::{Map, read};
use crate::cpu::gelu::Gelu;
use crate::cpu::try_for_each_piece;
use crate::simd::{
    LaneKernel, Lanes, load_block, load_strided, multiply, store_block, store_strided,
    vectorize_lanes,
};
use crate::{Buffer, Result};

/// Transformed tiles, their products and the weights of a block of channels should fit a usual
/// second cache together.
const BYTES: Bytes = Bytes { strip: 256 << 10, block: 128 << 10 };

/// Convolves `x` into `out`, the memory of an `[n, out_h, out_w, c_out]` map, or `onto` the numbers
/// there; output pixel (r, c) reads the input from (⌊r/step⌋ − padding, ⌊c/step⌋ − padding) on,
/// with the kernel of its phase (r mod step, c mod step).
pub(crate) fn convolve<T: Gelu>(
    x: Map<'_, T>,
    weights: &WinogradWeights,
    padding: isize,
    out: &mut [T],
    (out_h, out_w): (usize, usize),
    epilogue: Epilogue<&[T]>,
    onto: bool,
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let step = weights.step;
    let cut = Cut::new::<T>(x.n, out_h.div_ceil(step), out_w.div_ceil(step), x.c, BYTES);
    let row = out_w * weights.c_out;
    let band_len = cut.strip.0 * OUT * step * row;
    try_for_each_piece(out, out_h * row, &|n, image| {
        try_for_each_piece(image, band_len, &|band, out| {
            let start = n * out_h * row + band * band_len;
            for [rows, columns] in cut.strips(band) {
                let origin =
                    ((rows.0 * OUT) as isize - padding, (columns.0 * OUT) as isize - padding);
                let size = ((rows.1 - rows.0) * OUT + 2, (columns.1 - columns.0) * OUT + 2);
                let strip = &Strip::new(x, n, origin, size, read(epilogue.gelu_input))?;
                let tiles = (rows.1 - rows.0, columns.1 - columns.0);
                let column = columns.0;
                vectorize_lanes(Tiles {
                    cut,
                    strip,
                    tiles,
                    weights,
                    column,
                    out,
                    start,
                    out_w,
                    epilogue,
                    onto,
                })?;
            }
            Ok(())
        })
    })
}

/// The tiles of a strip.
struct Tiles<'a, T> {
    cut: Cut,
    strip: &'a Strip<'a, T>,
    /// Along the strip's axes.
    tiles: (usize, usize),
    weights: &'a WinogradWeights,
    /// The first tile's column in the image.
    column: usize,
    /// The strip's rows of the output, which start at `start` of all of it.
    out: &'a mut [T],
    start: usize,
    out_w: usize,
    epilogue: Epilogue<&'a [T]>,
    onto: bool,
}

impl<T: Gelu> LaneKernel<T> for Tiles<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) -> Result<()> {
        let Self { cut, strip, tiles, weights, column, out, start, out_w, epilogue, onto } = self;
        let size = cut.block::<T>(strip.c, R);
        let (plane, sums_plane) = (size * strip.c + T::BLOCK, size * T::BLOCK + T::BLOCK);
        let mut transformed = Buffer::new::<T>(PLANES * plane)?;
        let mut products = Buffer::new::<T>(PLANES * sums_plane)?;
        let mut edge = Buffer::new::<T>(IN * IN * strip.c)?;
        let (c_in, c_out, step) = (weights.c_in, weights.c_out, weights.step);
        let all = tiles.0 * tiles.1;
        for first in (0..all).step_by(size) {
            let block = first..(first + size).min(all);
            let v = transformed.as_mut_slice::<T>();
            for (i, tile) in block.clone().enumerate() {
                let (tile, row) = strip.tile(
                    IN,
                    tile / tiles.1 * OUT,
                    tile % tiles.1 * OUT,
                    edge.as_mut_slice::<T>(),
                );
                transform_tile::<L, IN, Input>(tile, row, strip.c, &mut v[i * strip.c..], plane);
            }
            let v = &*v;
            for (b, u) in weights.data::<T>().chunks_exact(PLANES * c_in * T::BLOCK).enumerate() {
                let m = products.as_mut_slice::<T>();
                for p in 0..PLANES {
                    let (v, u, m) =
                        (&v[p * plane..], &u[p * c_in * T::BLOCK..], &mut m[p * sums_plane..]);
                    let mut i = 0;
                    while i < block.len() {
                        let (v, m) = (&v[i * strip.c..], &mut m[i * T::BLOCK..]);
                        i += match block.len() - i {
                            left if left >= R => rows::<L, V, R>(c_in, strip.c, v, u, m),
                            8.. => rows::<L, V, 8>(c_in, strip.c, v, u, m),
                            4.. => rows::<L, V, 4>(c_in, strip.c, v, u, m),
                            2.. => rows::<L, V, 2>(c_in, strip.c, v, u, m),
                            _ => rows::<L, V, 1>(c_in, strip.c, v, u, m),
                        };
                    }
                }
                let (phase, channel) =
                    (b / c_out.div_ceil(T::BLOCK), b % c_out.div_ceil(T::BLOCK) * T::BLOCK);
                let width = T::BLOCK.min(c_out - channel);
                let bias = load_block::<L, V>(
                    epilogue.bias.map_or(&[], |bias| &bias[channel..channel + width]),
                );
                for (i, tile) in block.clone().enumerate() {
                    let to = TileOutput {
                        row: tile / tiles.1 * OUT * step + phase / step,
                        column: (column + tile % tiles.1) * OUT * step + phase % step,
                        step,
                        channel,
                        width,
                        out_w,
                        c_out,
                        onto,
                    };
                    finish_tile::<L, V>(&m[i * T::BLOCK..], sums_plane, bias, to, out);
                }
            }
            // All channels of these tiles are complete, and still in the cache.
            let mut tile = block.start;
            while epilogue.has_finish() && tile < block.end {
                let (row, from) = (tile / tiles.1, tile % tiles.1);
                let to = (from + block.end - tile).min(tiles.1);
                let columns = (column + from) * OUT * step * c_out
                    ..((column + to) * OUT * step).min(out_w) * c_out;
                for (y, line) in out
                    .chunks_exact_mut(out_w * c_out)
                    .enumerate()
                    .skip(row * OUT * step)
                    .take(OUT * step)
                {
                    epilogue.finish(
                        start + y * out_w * c_out + columns.start,
                        &mut line[columns.clone()],
                    );
                }
                tile += to - from;
            }
        }
        Ok(())
    }
}

/// One plane of `R` tiles times the weights of a block. Returns `R`.
#[inline(always)]
fn rows<L: Lanes, const V: usize, const R: usize>(
    c_in: usize,
    c: usize,
    v: &[L::Scalar],
    u: &[L::Scalar],
    m: &mut [L::Scalar],
) -> usize {
    let mut sums = [[L::splat(num_traits::Zero::zero()); V]; R];
    multiply(&mut sums, c_in, (v, c, 1), (u, V * L::N));
    for (sums, m) in sums.iter().zip(m.chunks_exact_mut(V * L::N)) {
        store_block(*sums, m);
    }
    R
}

/// Transforms one `S`×`S` tile of all channels into the 36 planes, one register of channels after
/// the other.
#[inline(always)]
pub(super) fn transform_tile<L: Lanes, const S: usize, T: Transform<S>>(
    tile: &[L::Scalar],
    row: usize,
    c: usize,
    planes: &mut [L::Scalar],
    plane: usize,
) {
    let zero = L::splat(num_traits::Zero::zero());
    for channel in (0..c).step_by(L::N) {
        let mut columns = [[zero; S]; IN];
        for x in 0..S {
            let column = T::apply(load_strided::<L, S>(&tile[x * c + channel..], row));
            for y in 0..IN {
                columns[y][x] = column[y];
            }
        }
        for y in 0..IN {
            store_strided(T::apply(columns[y]), &mut planes[y * IN * plane + channel..], plane);
        }
    }
}

/// Where a tile of a block of channels lies in the output.
struct TileOutput {
    /// The row of its first pixel.
    row: usize,
    /// The column of its first pixel.
    column: usize,
    /// Output pixels from one pixel of the tile to the next.
    step: usize,
    channel: usize,
    width: usize,
    out_w: usize,
    c_out: usize,
    /// Whether it is added onto the output.
    onto: bool,
}

/// Transforms one tile of products back, and stores the part of it that lies inside the image.
#[inline(always)]
fn finish_tile<L: Lanes, const V: usize>(
    planes: &[L::Scalar],
    plane: usize,
    bias: [L; V],
    to: TileOutput,
    out: &mut [L::Scalar],
) {
    let TileOutput { row, column, step, channel, width, out_w, c_out, onto } = to;
    let inside = |first: usize, size: usize| size.saturating_sub(first).div_ceil(step).min(OUT);
    let (rows, columns) = (inside(row, out.len() / (out_w * c_out)), inside(column, out_w));
    if rows == 0 || columns == 0 {
        return;
    }
    let out = &mut out[(row * out_w + column) * c_out + channel..];
    let (row, pixel) = (step * out_w * c_out, step * c_out);
    if (rows, columns, width) == (OUT, OUT, V * L::N) {
        return transform_back(planes, plane, bias, out, row, pixel, onto);
    }
    let mut tile = [num_traits::Zero::zero(); OUT * OUT * 16];
    transform_back(planes, plane, bias, &mut tile, OUT * 16, 16, false);
    for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
        let (to, from) =
            (&mut out[y * row + x * pixel..][..width], &tile[(y * OUT + x) * 16..][..width]);
        for (to, from) in to.iter_mut().zip(from) {
            *to = if onto { *from + *to } else { *from };
        }
    }
}

/// Transforms one tile of products back, to rows `row` and pixels `pixel` numbers apart, or `onto`
/// the numbers there.
#[inline(always)]
fn transform_back<L: Lanes, const V: usize>(
    planes: &[L::Scalar],
    plane: usize,
    bias: [L; V],
    out: &mut [L::Scalar],
    row: usize,
    pixel: usize,
    onto: bool,
) {
    for v in 0..V {
        let mut columns = [[bias[v]; IN]; OUT];
        for x in 0..IN {
            let column = transform::output(load_strided::<L, IN>(
                &planes[x * plane + v * L::N..],
                IN * plane,
            ));
            for y in 0..OUT {
                columns[y][x] = column[y];
            }
        }
        for y in 0..OUT {
            let mut values = transform::output(columns[y]);
            for x in 0..OUT {
                values[x] = values[x].add(bias[v]);
            }
            let out = &mut out[y * row + v * L::N..];
            if onto {
                let there = load_strided::<L, OUT>(out, pixel);
                for x in 0..OUT {
                    values[x] = values[x].add(there[x]);
                }
            }
            store_strided(values, out, pixel);
        }
    }
}
