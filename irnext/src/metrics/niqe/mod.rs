//! NIQE: how far the statistics of an image are from those of clean photographs. It needs no ground
//! truth.
//!
//! Mittal, Soundararajan and Bovik, "Making a 'completely blind' image quality analyzer", IEEE
//! Signal Processing Letters 20(3), 2013, as the MATLAB code published with it computes it:
//!
//! 1. The gray image, 0 to 255, loses the rows and columns beyond whole blocks of 96x96 pixels.
//! 2. x̂ = (x − μ) / (σ + 1), where μ and σ are mean and deviation in a Gaussian window of 7x7
//!    pixels, σ 7/6; border values are repeated.
//! 3. 18 features describe x̂ in each block ([`features`]); 18 more are those of the image at half
//!    the size, in blocks of 48x48.
//! 4. With mean ν and covariance Σ of the features over blocks, and ν₀ and Σ₀ over the sharp blocks
//!    of 125 clean photographs ([`model`]), NIQE = √((ν − ν₀)ᵀ ((Σ + Σ₀) / 2)⁻¹ (ν − ν₀)).
//!
//! All is computed in f64. Where all pixels of a window are equal, x̂ is 0, so a difference to the
//! mean that only rounding makes counts as 0: signs decide on features, and what a convolution
//! rounds to is left to chance.

mod features;
mod model;
#[cfg(test)]
mod tests;

use super::ssim::gaussian;
use super::view::{gray_8, luma_8};
use super::{Error, Result};
use crate::image::Image;
use features::{FEATURES, of_block};
use rayon::prelude::*;

/// The side of a block, in pixels.
const BLOCK: usize = 96;

/// The side of the window, and its radius.
const WINDOW: usize = 7;
const RADIUS: usize = WINDOW / 2;

/// A smaller difference to the mean comes from rounding.
const ROUNDING: f64 = 1e-9;

/// The weights of the two middle ones of eight pixels in the one between them at half the size, and
/// of those further away: Keys's cubic kernel (a = −1/2), twice as wide against aliasing, as
/// MATLAB's `imresize` has it. They are exact, and so is the smaller image.
const HALVING: [f64; 4] = [111.0 / 256.0, 29.0 / 256.0, -9.0 / 256.0, -3.0 / 256.0];

/// Which variant of NIQE: the gray that it looks at.
///
/// ```
/// use irnext::image::Image;
/// use irnext::metrics::Niqe;
///
/// let texture = |x: usize, y: usize| (((x * x + 3 * y) ^ (y * y + x)) % 97) as f32 / 96.0;
/// let image = Image::build(192, 96, |x, y| [texture(x, y); 3])?;
/// println!("{:.4}", Niqe::Gray.score(&image)?);
/// # Ok::<(), irnext::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Niqe {
    /// The gray of the authors' code: MATLAB's `rgb2gray` of 8-bit values, rounded.
    Gray,
    /// [`View::Luma8`](super::View::Luma8), as in BasicSR and in scripts for super-resolution.
    Luma,
}

impl Niqe {
    /// The distance of `image` from clean photographs: rarely below 2, and the lower, the more like
    /// them. It reads the values that an 8-bit file would hold, and takes 3 bytes a pixel.
    ///
    /// # Errors
    /// [`Error::TooFewBlocks`] if features exist in less than two blocks;
    /// [`Error::NotANumber`] if a value is NaN.
    pub fn score(self, image: &Image) -> Result<f64> {
        let (width, height) = (image.width, image.height);
        let blocks = [height, width].map(|side| side / BLOCK);
        let [rows, columns] = blocks.map(|blocks| blocks * BLOCK);
        let gray: Vec<u8> = (0..rows)
            .into_par_iter()
            .flat_map_iter(|y| image.row(y)[..3 * columns].chunks_exact(3))
            .map(|pixel| self.of_pixel([pixel[0], pixel[1], pixel[2]]))
            .collect::<Result<_>>()?;
        let whole = of_blocks(&gray, columns, BLOCK);
        let half = of_blocks(&halved(&gray, columns), columns / 2, BLOCK / 2);
        let features: Vec<_> = whole.into_iter().zip(half).map(|(a, b)| [a, b].concat()).collect();
        model::distance(&features).ok_or_else(|| {
            let blocks = model::complete(&features).count();
            Error::TooFewBlocks { blocks, width, height }
        })
    }

    fn of_pixel(self, pixel: [f32; 3]) -> Result<u8> {
        let value = match self {
            Self::Gray => gray_8(pixel),
            Self::Luma => luma_8(pixel),
        };
        if value.is_nan() { Err(Error::NotANumber) } else { Ok(value.round() as u8) }
    }
}

/// The features of the blocks of `side` x `side` pixels in an image of whole blocks, row by row.
fn of_blocks<T>(data: &[T], width: usize, side: usize) -> Vec<[f64; FEATURES]>
where
    T: Copy + Into<f64> + Sync,
{
    let height = data.len() / width.max(1);
    let bands = (0..height).into_par_iter().step_by(side);
    let of_band = |top| {
        let band = normalized(data, width, top, side);
        let block = |left| {
            let rows = band.chunks_exact(width);
            let block: Vec<f64> = rows.flat_map(|row| &row[left..left + side]).copied().collect();
            of_block(&block, side)
        };
        (0..width).step_by(side).map(block).collect::<Vec<_>>()
    };
    bands.flat_map_iter(of_band).collect()
}

/// x̂ in the `rows` rows from `top` on.
fn normalized<T>(data: &[T], width: usize, top: usize, rows: usize) -> Vec<f64>
where
    T: Copy + Into<f64>,
{
    let window = gaussian(WINDOW, 7.0 / 6.0);
    let last = data.len() / width - 1;
    let mut out = Vec::with_capacity(rows * width);
    for y in top..top + rows {
        // The sums of x and x² down the columns, then along the row.
        let mut columns = vec![[0.0; 2]; width];
        for (i, weight) in window.iter().enumerate() {
            let row = (y + i).saturating_sub(RADIUS).min(last) * width;
            for (sums, &x) in columns.iter_mut().zip(&data[row..row + width]) {
                let x: f64 = x.into();
                sums[0] += weight * x;
                sums[1] += weight * x * x;
            }
        }
        for (x, &center) in data[y * width..(y + 1) * width].iter().enumerate() {
            let (mut mean, mut square) = (0.0, 0.0);
            for (i, weight) in window.iter().enumerate() {
                let column = columns[(x + i).saturating_sub(RADIUS).min(width - 1)];
                mean += weight * column[0];
                square += weight * column[1];
            }
            let difference: f64 = center.into() - mean;
            let deviation = (square - mean * mean).abs().sqrt();
            let is_rounding = difference.abs() < ROUNDING;
            out.push(if is_rounding { 0.0 } else { difference / (deviation + 1.0) });
        }
    }
    out
}

/// The image at half the size. Its sides are even; beyond the border it is mirrored.
fn halved(data: &[u8], width: usize) -> Vec<f64> {
    let height = data.len() / width.max(1);
    let half = width / 2;
    let mut out = vec![0.0; half * (height / 2)];
    out.par_chunks_exact_mut(half.max(1)).enumerate().for_each(|(y, out)| {
        let mut columns = vec![0.0; width];
        for (row, weight) in taps(y, height) {
            let row = &data[row * width..(row + 1) * width];
            columns.iter_mut().zip(row).for_each(|(sum, &x)| *sum += weight * f64::from(x));
        }
        for (x, out) in out.iter_mut().enumerate() {
            *out = taps(x, width).map(|(x, weight)| weight * columns[x]).sum();
        }
    });
    out
}

/// The eight of `len` places that place `i` at half the size is made of, and their weights.
fn taps(i: usize, len: usize) -> impl Iterator<Item = (usize, f64)> {
    HALVING.into_iter().enumerate().flat_map(move |(away, weight)| {
        let right = 2 * i + 1 + away;
        let right = if right < len { right } else { 2 * len - 1 - right };
        // Place −1 mirrors place 0.
        let left = (2 * i).checked_sub(away).unwrap_or_else(|| away - 2 * i - 1);
        [(left, weight), (right, weight)]
    })
}
