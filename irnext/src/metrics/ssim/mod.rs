//! Structural similarity: luminance, contrast and structure compared in a window around each pixel.
//!
//! Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
//! structural similarity", IEEE Transactions on Image Processing 13(4), 2004. All variants share
//! its formula with (k₁, k₂) = (0.01, 0.03). They differ in the window, at the border, and in any
//! downscaling beforehand, and so do their scores, in the third decimal and beyond: compare only
//! scores of the same variant.

mod downscaled;
mod variant;
mod window;

pub use downscaled::PooledSize;
pub use variant::Ssim;
pub(super) use window::gaussian;

use rayon::prelude::*;

use super::{Error, Result, View, check};
use crate::image::Image;
use window::Window;

impl Ssim {
    /// The mean similarity of two images: 1 for identical ones, less for all others.
    pub fn score(self, a: &Image, b: &Image, view: View) -> Result<f64> {
        check(a, b)?;
        let window = Window::new(self, view.range());
        let (side, size) = (window.side(), [a.height, a.width]);
        let (a, b) = (view.planes(a), view.planes(b));
        match self {
            Self::Cube => {
                let pad = |planes| repeat_border(planes, size, side / 2);
                Ok(mean(&window, &pad(a), &pad(b), size.map(|length| length + side - 1)))
            }
            Self::Downscaled => {
                let to = downscaled::PooledSize::of(size).pooled;
                let pool = |planes| downscaled::pool(planes, size, to);
                Ok(mean(&window, &pool(a)?, &pool(b)?, to))
            }
            _ if size[0].min(size[1]) < side => {
                Err(Error::SmallerThanWindow { window: side, width: size[1], height: size[0] })
            }
            _ => Ok(mean(&window, &a, &b, size)),
        }
    }
}

/// The mean over channels and over the places where the whole window lies in `[height, width]`.
fn mean(window: &Window, a: &[Vec<f64>], b: &[Vec<f64>], [height, width]: [usize; 2]) -> f64 {
    let places = [height, width].map(|length| length + 1 - window.side());
    // Rows in parallel, their sums added in order: the same bits for any number of threads.
    let sums: Vec<f64> =
        (0..places[0]).into_par_iter().map(|y| window.row(a, b, width, y)).collect();
    sums.iter().sum::<f64>() / (places[0] * places[1] * a.len()) as f64
}

/// Planes of `[height, width]` with `margin` more pixels on every side, equal to the nearest that
/// there was.
fn repeat_border(
    planes: Vec<Vec<f64>>,
    [height, width]: [usize; 2],
    margin: usize,
) -> Vec<Vec<f64>> {
    let nearest = |place: usize, length: usize| place.saturating_sub(margin).min(length - 1);
    let pad = |plane: Vec<f64>| {
        let rows = (0..height + 2 * margin).map(|y| nearest(y, height) * width);
        rows.flat_map(|row| (0..width + 2 * margin).map(move |x| row + nearest(x, width)))
            .map(|i| plane[i])
            .collect()
    };
    planes.into_iter().map(pad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each with the smallest side that it has a score at.
    const VARIANTS: [(Ssim, usize); 6] = [
        (Ssim::Gaussian, 11),
        (Ssim::GaussianSample, 11),
        (Ssim::Uniform, 7),
        (Ssim::Msssim, 11),
        (Ssim::Cube, 1),
        (Ssim::Downscaled, 1),
    ];

    fn noise(width: usize, height: usize, seed: u64) -> Image {
        let mut rng = engine::Rng::new(seed);
        Image::from_fn(width, height, |_, _| [0; 3].map(|_| rng.uniform() as f32))
    }

    #[test]
    fn identical_images_score_one() {
        let image = noise(20, 15, 1);
        for (ssim, _) in VARIANTS {
            for view in [View::Rgb, View::Rgb8, View::Luma, View::Luma8] {
                assert_eq!(ssim.score(&image, &image, view).unwrap(), 1.0);
            }
        }
    }

    #[test]
    fn flat_images_leave_the_luminance_term() {
        let flat = |value: f32| Image::from_fn(12, 12, |_, _| [value; 3]);
        let expected = (2.0 * 0.25 * 0.75 + 1e-4) / (0.25 * 0.25 + 0.75 * 0.75 + 1e-4);
        for (ssim, _) in VARIANTS {
            let found = ssim.score(&flat(0.25), &flat(0.75), View::Rgb).unwrap();
            // A rounded window's weights miss the sum 1, and a flat image then seems to have a
            // variance.
            let tolerance =
                if matches!(ssim, Ssim::Msssim | Ssim::Downscaled) { 1e-4 } else { 1e-12 };
            assert!((found - expected).abs() < tolerance, "{ssim:?}: {found}");
        }
    }

    #[test]
    fn one_uniform_window_by_hand() {
        // 49 pixels, one of them white in the first image: mean 1/49, sample variance 48/49² ·
        // 49/48 = 1/49.
        let dot = Image::from_fn(7, 7, |x, y| [f32::from(u8::from(x + 7 * y == 10)); 3]);
        let mean: f64 = 1.0 / 49.0;
        let (c1, c2) = (1e-4, 9e-4);
        let expected = c1 / (mean * mean + c1) * c2 / (mean + c2);
        let found = Ssim::Uniform.score(&dot, &Image::new(7, 7), View::Rgb).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    /// The definition: the weighted mean and covariances of each window, one window after the
    /// other. `sample` is what variances are multiplied by.
    fn naive(a: &[f64], b: &[f64], width: usize, height: usize, sample: f64) -> f64 {
        let weight = |i: usize| (-(i as f64 - 5.0).powi(2) / 4.5).exp();
        let total: f64 = (0..121).map(|i| weight(i / 11) * weight(i % 11)).sum();
        let (mut sum, mut places) = (0.0, 0.0);
        for (y, x) in (0..=height - 11).flat_map(|y| (0..=width - 11).map(move |x| (y, x))) {
            let mean = |f: &dyn Fn(usize) -> f64| -> f64 {
                let at = |i: usize| f((y + i / 11) * width + x + i % 11);
                (0..121).map(|i| weight(i / 11) * weight(i % 11) / total * at(i)).sum()
            };
            let (ma, mb) = (mean(&|i| a[i]), mean(&|i| b[i]));
            let va = mean(&|i| (a[i] - ma).powi(2)) * sample;
            let vb = mean(&|i| (b[i] - mb).powi(2)) * sample;
            let cov = mean(&|i| (a[i] - ma) * (b[i] - mb)) * sample;
            sum += (2.0 * ma * mb + 1e-4) * (2.0 * cov + 9e-4)
                / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
            places += 1.0;
        }
        sum / places
    }

    #[test]
    fn the_separable_window_is_the_definition() {
        let (a, b) = (noise(17, 13, 1), noise(17, 13, 2));
        for (ssim, sample) in [(Ssim::Gaussian, 1.0), (Ssim::GaussianSample, 121.0 / 120.0)] {
            let (a, b) = (View::Rgb.planes(&a), View::Rgb.planes(&b));
            let expected =
                a.iter().zip(&b).map(|(a, b)| naive(a, b, 17, 13, sample)).sum::<f64>() / 3.0;
            let found = ssim.score(&noise(17, 13, 1), &noise(17, 13, 2), View::Rgb).unwrap();
            assert!((found - expected).abs() < 1e-12, "{ssim:?}: {found} {expected}");
        }
    }

    /// The definition of [`Ssim::Cube`]: around each value, the 11³ nearest, indices held at the
    /// border.
    fn naive_cube(a: &Image, b: &Image) -> f64 {
        let weight = |i: i32| (-f64::from((i - 5).pow(2)) / 4.5).exp();
        let total = (0..11).map(weight).sum::<f64>().powi(3);
        let at = |i: usize, offset: i32, length: usize| {
            (i as i32 + offset - 5).clamp(0, length as i32 - 1) as usize
        };
        let (width, height) = (a.width, a.height);
        let mut sum = 0.0;
        for place in 0..a.data.len() {
            let (y, x, c) = (place / (3 * width), place / 3 % width, place % 3);
            let window = (0..1331).map(|i| {
                let (i, j, k) = (i / 121, i / 11 % 11, i % 11);
                let from = (at(y, i, height) * width + at(x, j, width)) * 3 + at(c, k, 3);
                let weight = weight(i) * weight(j) * weight(k) / total;
                (weight, f64::from(a.data[from]), f64::from(b.data[from]))
            });
            let mean = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                window.clone().map(|(w, a, b)| w * f(a, b)).sum()
            };
            let (ma, mb) = (mean(&|a, _| a), mean(&|_, b| b));
            let variances = mean(&|a, _| (a - ma).powi(2)) + mean(&|_, b| (b - mb).powi(2));
            let cov = mean(&|a, b| (a - ma) * (b - mb));
            sum += (2.0 * ma * mb + 1e-4) * (2.0 * cov + 9e-4)
                / ((ma * ma + mb * mb + 1e-4) * (variances + 9e-4));
        }
        sum / a.data.len() as f64
    }

    #[test]
    fn the_cube_is_the_definition() {
        for (width, height) in [(13, 9), (4, 1)] {
            let (a, b) = (noise(width, height, 1), noise(width, height, 2));
            let (found, expected) =
                (Ssim::Cube.score(&a, &b, View::Rgb).unwrap(), naive_cube(&a, &b));
            assert!((found - expected).abs() < 1e-12, "{width}x{height}: {found} {expected}");
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (a, b) = (noise(70, 45, 1), noise(70, 45, 2));
        for (ssim, _) in VARIANTS {
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| ssim.score(&a, &b, View::Rgb).unwrap())
            };
            assert_eq!(run(1), run(3), "{ssim:?}");
        }
    }

    #[test]
    fn images_smaller_than_the_window_are_an_error() {
        for (ssim, side) in VARIANTS {
            let fits = noise(side, side, 1);
            assert!(ssim.score(&fits, &fits, View::Luma).is_ok());
            if side > 1 {
                let short = noise(side + 5, side - 1, 1);
                let error = ssim.score(&short, &short, View::Luma).unwrap_err();
                assert_eq!(
                    error,
                    Error::SmallerThanWindow { window: side, width: side + 5, height: side - 1 }
                );
            }
        }
    }
}
