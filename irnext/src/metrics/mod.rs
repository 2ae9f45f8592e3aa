//! Scores of a restored image against its ground truth: PSNR, SSIM and MAE, computed in f64, and
//! LPIPS; and NIQE, which takes no ground truth.
//!
//! Papers score different values (RGB or luma, floats or 8-bit numbers) and call all of it PSNR.
//! Here a [`View`] names the values, and an [`Ssim`] the variant of structural similarity.
//! [`Lpips`] compares the features of a network; [`aligned`] aligns the images first. [`Niqe`]
//! compares an image with clean photographs in general.
//!
//! ```
//! use irnext::image::Image;
//! use irnext::metrics::{Ssim, View, psnr};
//! let truth = Image::build(16, 16, |_, _| [0.5; 3])?;
//! let restored = Image::build(16, 16, |_, _| [0.6; 3])?;
//! assert!((psnr(&restored, &truth, View::Rgb)? - 20.0).abs() < 1e-5);
//! assert!(Ssim::Gaussian.score(&restored, &truth, View::Rgb)? < 1.0);
//! # Ok::<(), irnext::Error>(())
//! ```

mod align;
mod lpips;
mod measure;
mod niqe;
mod ssim;
mod view;

#[cfg(test)]
mod reference;

pub use align::{AlignedScores, Homography, aligned};
pub use lpips::Lpips;
pub use measure::{Measure, Scorer};
pub use niqe::Niqe;
pub use ssim::{PooledSize, Ssim};
pub use view::View;

pub use crate::error::ScoreError as Error;
use crate::image::Image;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Peak signal-to-noise ratio in dB: 10 log₁₀(range² / mean squared error), the mean over all
/// pixels and channels. Infinite for identical images.
pub fn psnr(a: &Image, b: &Image, view: View) -> Result<f64> {
    let error = mean(a, b, view, |difference| difference * difference)?;
    Ok(10.0 * (view.range() * view.range() / error).log10())
}

/// Mean absolute error as a fraction of the view's range.
pub fn mae(a: &Image, b: &Image, view: View) -> Result<f64> {
    Ok(mean(a, b, view, f64::abs)? / view.range())
}

/// The mean of `f(difference)` over all pixels and channels.
fn mean(a: &Image, b: &Image, view: View, f: impl Fn(f64) -> f64) -> Result<f64> {
    check(a, b)?;
    let (a, b) = (view.planes(a), view.planes(b));
    let mut sum = 0.0;
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        sum += f(a - b);
    }
    Ok(sum / a.iter().map(Vec::len).sum::<usize>() as f64)
}

fn check(a: &Image, b: &Image) -> Result<()> {
    let (size_a, size_b) = ((a.width, a.height), (b.width, b.height));
    if size_a != size_b {
        return Err(Error::Sizes(size_a, size_b));
    }
    if a.data.is_empty() {
        return Err(Error::Empty);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWS: [View; 4] = [View::Rgb, View::Rgb8, View::Luma, View::Luma8];

    fn flat(value: f32) -> Image {
        Image::from_fn(3, 2, |_, _| [value; 3])
    }

    #[test]
    fn psnr_of_known_errors() {
        // One value of eighteen is wrong by a half: mean squared error 1/72.
        let mut image = flat(0.0);
        image.data[4] = 0.5;
        let expected = 10.0 * 72f64.log10();
        assert!((psnr(&image, &flat(0.0), View::Rgb).unwrap() - expected).abs() < 1e-12);
        // Black and white are 219 apart in luma.
        let expected = 20.0 * (255.0f64 / 219.0).log10();
        for view in [View::Luma, View::Luma8] {
            let found = psnr(&flat(1.0), &flat(0.0), view).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn eight_bits_round_and_limit() {
        let eight = |a, b| mae(&flat(a), &flat(b), View::Rgb8).unwrap();
        assert_eq!(eight(0.4 / 255.0, 0.0), 0.0);
        assert_eq!(eight(0.6 / 255.0, 0.0), 1.0 / 255.0);
        assert_eq!(eight(1.7, -0.3), 1.0);
        assert!((mae(&flat(1.7), &flat(-0.3), View::Rgb).unwrap() - 2.0).abs() < 1e-6);
    }

    #[test]
    fn identical_images_are_infinitely_good() {
        for view in VIEWS {
            assert_eq!(psnr(&flat(0.3), &flat(0.3), view).unwrap(), f64::INFINITY);
            assert_eq!(mae(&flat(0.3), &flat(0.3), view).unwrap(), 0.0);
        }
    }

    #[test]
    fn a_value_that_is_no_number_shows_in_every_score() {
        for view in VIEWS {
            assert!(psnr(&flat(f32::NAN), &flat(0.3), view).unwrap().is_nan());
            assert!(mae(&flat(f32::NAN), &flat(0.3), view).unwrap().is_nan());
        }
    }

    #[test]
    fn images_that_have_no_score_are_errors() {
        let error = psnr(&flat(0.0), &Image::new(2, 3), View::Rgb).unwrap_err();
        assert_eq!(error, Error::Sizes((3, 2), (2, 3)));
        assert!(error.to_string().contains("3x2") && error.to_string().contains("2x3"));
        let none = Image::new(0, 4);
        assert_eq!(mae(&none, &none, View::Luma), Err(Error::Empty));
    }
}
