//! The gradient of the weights: dg = Gᵀ \[ Σ over tiles of (Bᵀ d B) ⊙ (A dy Aᵀ) \] G.

use super::forward::transform_tile;
use super::strip::{Bytes, Cut, Strip};
use super::transform::{self, Input, OutputGradient};
use super::{IN, OUT, PLANES};
use crate::cpu::convolution::{Map, PARTIALS, Read, sum_of_partials};
use crate::simd::{
    LaneKernel, Lanes, load_block, load_strided, multiply, store_block, store_strided,
    vectorize_lanes,
};
use crate::{Buffer, Float, Result};
use rayon::prelude::*;

/// Larger than in the convolution: all sums, which are as many as weights, are read and written
/// once for every block.
const BYTES: Bytes = Bytes { strip: 1 << 20, block: 512 << 10 };

/// Σ over pixels of `x`, with `read` applied, at each kernel element times `dy`, as
/// `[element][c_in][c_out]`; pixel (r, c) of dy read x from (r − padding, c − padding) on.
pub(crate) fn weight_gradient<T: Float>(
    x: Map<'_, T>,
    dy: Map<'_, T>,
    padding: isize,
    read: Option<Read<T>>,
) -> Result<Buffer> {
    let cut = Cut::new::<T>(dy.n, dy.h, dy.w, x.c.max(dy.c), BYTES);
    let strips: Vec<_> = (0..dy.n)
        .flat_map(|n| (0..cut.bands()).flat_map(move |b| cut.strips(b).map(move |s| (n, s))))
        .collect();
    let wide = dy.c.next_multiple_of(T::BLOCK);
    // Strips are dealt out in order to a number of partial sums that depends on the shape alone. A
    // partial sum takes memory and time of its own, about as much as two dozen tiles.
    let partials = (dy.n * cut.tiles.0 * cut.tiles.1 / 128).clamp(1, PARTIALS);
    let per_partial = strips.len().div_ceil(partials).max(1);
    let partials: Vec<Buffer> = strips
        .par_chunks(per_partial)
        .map(|strips| -> Result<Buffer> {
            let mut sums = Buffer::new::<T>((PLANES * x.c).saturating_mul(wide))?;
            sums.as_mut_slice::<T>().fill(T::zero());
            for &(n, [rows, columns]) in strips {
                let origin = ((rows.0 * OUT) as isize, (columns.0 * OUT) as isize);
                let size = ((rows.1 - rows.0) * OUT, (columns.1 - columns.0) * OUT);
                let dy = Strip::new(dy, n, origin, size, None)?;
                let x = Strip::new(
                    x,
                    n,
                    (origin.0 - padding, origin.1 - padding),
                    (size.0 + 2, size.1 + 2),
                    read,
                )?;
                let tiles = (rows.1 - rows.0, columns.1 - columns.0);
                vectorize_lanes(Products {
                    cut,
                    x: &x,
                    dy: &dy,
                    tiles,
                    sums: sums.as_mut_slice::<T>(),
                })?;
            }
            let mut gradient = Buffer::new::<T>(9 * x.c * wide)?;
            vectorize_lanes(Back {
                c_in: x.c,
                wide,
                sums: sums.as_slice::<T>(),
                out: gradient.as_mut_slice::<T>(),
            });
            Ok(gradient)
        })
        .collect::<Result<_>>()?;
    sum_of_partials::<T>(&partials, 9 * x.c, wide, dy.c)
}

/// The contribution of a strip to the sums of products, `[plane][c_in][c_out]`.
struct Products<'a, T> {
    cut: Cut,
    x: &'a Strip<'a, T>,
    dy: &'a Strip<'a, T>,
    /// Along the strip's axes.
    tiles: (usize, usize),
    sums: &'a mut [T],
}

impl<T: Float> LaneKernel<T> for Products<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) -> Result<()> {
        let Self { cut, x, dy, tiles, sums } = self;
        let size = cut.block::<T>(x.c.max(dy.c), R);
        let (x_plane, dy_plane) = (size * x.c + T::BLOCK, size * dy.c + T::BLOCK);
        let (mut x_tiles, mut dy_tiles) =
            (Buffer::new::<T>(PLANES * x_plane)?, Buffer::new::<T>(PLANES * dy_plane)?);
        let mut edge = Buffer::new::<T>(IN * IN * x.c.max(dy.c))?;
        let c_in = sums.len() / (PLANES * dy.c);
        let all = tiles.0 * tiles.1;
        for first in (0..all).step_by(size) {
            let block = first..(first + size).min(all);
            let (v, d) = (x_tiles.as_mut_slice::<T>(), dy_tiles.as_mut_slice::<T>());
            for (i, tile) in block.clone().enumerate() {
                let (row, column) = (tile / tiles.1 * OUT, tile % tiles.1 * OUT);
                let edge = edge.as_mut_slice::<T>();
                let (pixels, step) = x.tile(IN, row, column, edge);
                transform_tile::<L, IN, Input>(pixels, step, x.c, &mut v[i * x.c..], x_plane);
                let (pixels, step) = dy.tile(OUT, row, column, edge);
                transform_tile::<L, OUT, OutputGradient>(
                    pixels,
                    step,
                    dy.c,
                    &mut d[i * dy.c..],
                    dy_plane,
                );
            }
            for (p, sums) in sums.chunks_exact_mut(c_in * dy.c).enumerate() {
                let (v, d) = (&v[p * x_plane..], &d[p * dy_plane..]);
                for channel in (0..dy.c).step_by(T::BLOCK) {
                    let d = (&d[channel..], dy.c);
                    let mut c = 0;
                    while c < c_in {
                        let (v, sums) = ((&v[c..], x.c), &mut sums[c * dy.c + channel..]);
                        c += match c_in - c {
                            left if left >= R => rows::<L, V, R>(block.len(), v, d, sums),
                            8.. => rows::<L, V, 8>(block.len(), v, d, sums),
                            4.. => rows::<L, V, 4>(block.len(), v, d, sums),
                            2.. => rows::<L, V, 2>(block.len(), v, d, sums),
                            _ => rows::<L, V, 1>(block.len(), v, d, sums),
                        };
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds the products of `tiles` tiles of `R` input channels and a block of output channels. Returns
/// `R`.
#[inline(always)]
fn rows<L: Lanes, const V: usize, const R: usize>(
    tiles: usize,
    (v, v_step): (&[L::Scalar], usize),
    (d, d_step): (&[L::Scalar], usize),
    sums: &mut [L::Scalar],
) -> usize {
    let mut tile = [[L::splat(num_traits::Zero::zero()); V]; R];
    for r in 0..R {
        tile[r] = load_block(&sums[r * d_step..]);
    }
    multiply(&mut tile, tiles, (v, 1, v_step), (d, d_step));
    for (r, values) in tile.into_iter().enumerate() {
        store_block(values, &mut sums[r * d_step..][..V * L::N]);
    }
    R
}

/// The transform from sums `[plane][c_in][wide]` to kernels `[element][c_in][wide]`.
struct Back<'a, T> {
    c_in: usize,
    wide: usize,
    sums: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> LaneKernel<T> for Back<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) {
        let size = self.c_in * self.wide;
        for at in (0..size).step_by(L::N) {
            let mut columns = [[L::splat(T::zero()); IN]; 3];
            for x in 0..IN {
                let column = transform::kernel_gradient(load_strided::<L, IN>(
                    &self.sums[x * size + at..],
                    IN * size,
                ));
                for y in 0..3 {
                    columns[y][x] = column[y];
                }
            }
            for y in 0..3 {
                store_strided(
                    transform::kernel_gradient(columns[y]),
                    &mut self.out[y * 3 * size + at..],
                    size,
                );
            }
        }
    }
}
