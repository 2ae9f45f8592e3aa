//! Scores after alignment, as benchmarks of photographed blur define them.
//!
//! RealBlur and RSBlur were taken by two cameras behind a beam splitter: the ground truth of a
//! blurred photograph differs in brightness and, often, by fractions of a pixel. So their scripts
//! (RSBlur's `evaluate_RSBlur.py`, Restormer's `evaluate_realblur.py`, after Köhler et al.'s for
//! their benchmark of 2012) align the restored image z with the ground truth x before they compare.
//! [`aligned`] does the arithmetic of those scripts:
//!
//! 1. Both are what an 8-bit file holds, scaled to [0, 1]. z is multiplied by Σxz / Σzz, the factor
//!    of the least squared error.
//! 2. The homography W from the ground truth's pixels to their places in z is that of the largest
//!    *enhanced correlation coefficient* (Evangelidis and Psarakis, "Parametric image alignment
//!    using enhanced correlation coefficient maximization", IEEE TPAMI 30(10), 2008) of the gray
//!    images, both blurred by five taps:
//!
//!    ρ(W) = x̄ᵀ z̄(W) / (‖x̄‖ ‖z̄(W)‖),
//!
//!    where z(W) is z read at the places W gives and a bar takes the mean away: ρ does not see
//!    brightness and contrast. With z̄(W) linearized by its Jacobian G, the maximum is a step away
//!    in closed form,
//!
//!    Δ = (GᵀG)⁻¹ Gᵀ (λ x̄ − z̄), λ = (z̄ᵀz̄ − z̄ᵀP z̄) / (x̄ᵀz̄ − x̄ᵀP z̄), P = G (GᵀG)⁻¹ Gᵀ,
//!
//!    and up to 100 such steps are taken from the identity, each adding Δ to W's eight free
//!    entries.
//! 3. z is read at those places by bicubic interpolation, and limited to [0, 1]. (RSBlur's script
//!    limits, Restormer's does not.)
//! 4. PSNR and SSIM (Gaussian window) are means over the pixels whose place is in z; the others are
//!    0 in both images.
//!
//! The scripts call OpenCV, and RSBlur's insists on version 4.2, which rounds positions to 1/32 of
//! a pixel before it interpolates. That makes a hundredth of a decibel, so it is done here as well;
//! OpenCV 5 no longer rounds. Its treatment of the border of z is reproduced, too: pixels there are
//! mixed with the black outside, which shifts W by hundredths of a pixel where the images do not
//! show the same part of the scene.

mod ecc;
mod warp;

#[cfg(test)]
mod tests;

pub use warp::Homography;

use rayon::prelude::*;

use super::{Error, Result, Ssim, View, check, psnr};
use crate::image::Image;
use warp::{NO_OVERLAP, Raster};

/// The scores of a restored image that was aligned with its ground truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignedScores {
    /// PSNR on RGB in dB; infinite if nothing differs.
    pub psnr: f64,
    /// SSIM on RGB, Gaussian window.
    pub ssim: f64,
    /// The factor applied to the values of the restored image.
    pub gain: f64,
    /// From the ground truth's pixels to their places in the restored image.
    pub homography: Homography,
}

/// Aligns `restored` with `truth` in intensity and by a homography, and scores what overlaps; see
/// the module.
///
/// [`Error::Unaligned`] if the images cannot be aligned: if one has a single color or too little
/// structure, if they are unrelated, or if a value is not a number.
pub fn aligned(restored: &Image, truth: &Image) -> Result<AlignedScores> {
    check(restored, truth)?;
    let (width, height) = (truth.width, truth.height);
    if width.min(height) < WINDOW {
        return Err(Error::SmallerThanWindow { window: WINDOW, width, height });
    }
    let (restored, truth) = (pixels(restored), pixels(truth));
    let gain = product(&truth, &restored) / product(&restored, &restored);
    if gain.is_nan() {
        return unaligned("the restored one is black, or has a value that is not a number");
    }
    let restored: Vec<_> = restored.iter().map(|pixel| pixel.map(|value| gain * value)).collect();
    let homography =
        ecc::maximize(&gray(&truth), &gray(&restored), width, height).or_else(unaligned)?;
    let raster = Raster { width, height, pixels: restored };
    // None where the ground truth's pixel has no position in the restored image.
    let warped = |index| {
        let place = homography.apply((index % width) as f64, (index / width) as f64);
        raster.covers(place).then(|| raster.cubic(place).map(|value| value.clamp(0.0, 1.0)))
    };
    let warped: Vec<_> = (0..width * height).into_par_iter().map(warped).collect();
    let mask: Vec<bool> = warped.iter().map(Option::is_some).collect();
    let masked = |pixels: &[[f64; 3]]| {
        let pixel = |i: usize| if mask[i] { pixels[i].map(|value| value as f32) } else { [0.0; 3] };
        Image::from_fn(width, height, |x, y| pixel(y * width + x))
    };
    let restored = masked(&warped.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>());
    let truth = masked(&truth);
    // Pixels outside the overlap add nothing to the error, but count in its divisor.
    let share = mask.iter().filter(|inside| **inside).count() as f64 / mask.len() as f64;
    let psnr = psnr(&restored, &truth, View::Rgb)? + 10.0 * share.log10();
    Ok(AlignedScores { psnr, ssim: ssim(&restored, &truth, &mask)?, gain, homography })
}

fn unaligned<T>(reason: &'static str) -> Result<T> {
    Err(Error::Unaligned { reason })
}

/// The image as an 8-bit file holds it, in [0, 1].
fn pixels(image: &Image) -> Vec<[f64; 3]> {
    let planes = View::Rgb8.planes(image);
    (0..planes[0].len()).map(|i| [0, 1, 2].map(|c| planes[c][i] / 255.0)).collect()
}

fn product(a: &[[f64; 3]], b: &[[f64; 3]]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
}

/// OpenCV's gray: BT.601 luma in [0, 1].
fn gray(pixels: &[[f64; 3]]) -> Vec<f64> {
    pixels.iter().map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect()
}

/// Pixels along a side of the window of [`Ssim::Gaussian`].
const WINDOW: usize = 11;
const MARGIN: usize = WINDOW / 2;

/// The mean over the windows that lie in the image and whose middle the `mask` holds.
fn ssim(a: &Image, b: &Image, mask: &[bool]) -> Result<f64> {
    // A strip as high as the window has one row of windows: its mean is that of a run of middles.
    let row = |y: usize| -> Result<(f64, usize)> {
        let (mut sum, mut count, mut x) = (0.0, 0, 0);
        let middles = &mask[y * a.width..(y + 1) * a.width][MARGIN..a.width - MARGIN];
        for run in middles.chunk_by(|inside, next| inside == next) {
            if run[0] {
                let strip =
                    |image: &Image| image.part(x, y - MARGIN, run.len() + 2 * MARGIN, WINDOW);
                sum += run.len() as f64 * Ssim::Gaussian.score(&strip(a), &strip(b), View::Rgb)?;
                count += run.len();
            }
            x += run.len();
        }
        Ok((sum, count))
    };
    let rows = (MARGIN..a.height - MARGIN).into_par_iter().map(row).collect::<Result<Vec<_>>>()?;
    let (sum, count) = rows.iter().fold((0.0, 0), |total, row| (total.0 + row.0, total.1 + row.1));
    if count == 0 { unaligned(NO_OVERLAP) } else { Ok(sum / count as f64) }
}
