//! Structural similarity: luminance, contrast and structure compared in a window around each pixel.
//!
//! Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
//! IEEE Transactions on Image Processing 13(4), 2004.

use rayon::prelude::*;

use super::{Error, Result, View, check};
use crate::image::Image;

/// Which variant of structural similarity. All take the mean over the places where the whole window lies in the
/// image, and the mean over channels. (k₁, k₂) = (0.01, 0.03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ssim {
    /// The paper's: an 11x11 Gaussian window of σ 1.5. As Wang's MATLAB script (without its down-sampling), BasicSR,
    /// pytorch_msssim, and scikit-image with `gaussian_weights` and without `use_sample_covariance`.
    Gaussian,
    /// scikit-image's default: the 7x7 pixels weigh the same, and variances are those of a sample (÷ 48, not 49).
    Uniform,
}

impl Ssim {
    /// The mean similarity of two images: 1 for identical ones, less for all others.
    pub fn score(self, a: &Image, b: &Image, view: View) -> Result<f64> {
        check(a, b)?;
        let window = Window::new(self, view.range());
        let (width, height, side) = (a.width, a.height, window.taps.len());
        if width.min(height) < side {
            return Err(Error::SmallerThanWindow { window: side, width, height });
        }
        let (planes_a, planes_b) = (view.planes(a), view.planes(b));
        let mut sum = 0.0;
        for (a, b) in planes_a.iter().zip(&planes_b) {
            // Rows in parallel, their sums added in order: the same bits for any number of threads.
            let rows = (0..=height - side).into_par_iter();
            let sums: Vec<f64> = rows.map(|y| window.row(a, b, width, y)).collect();
            sum += sums.iter().sum::<f64>();
        }
        let places = (width - side + 1) * (height - side + 1);
        Ok(sum / (places * planes_a.len()) as f64)
    }
}

/// A separable window and the constants of the formula.
struct Window {
    /// One side's weights, whose sum is 1.
    taps: Vec<f64>,
    /// What a variance over the window is multiplied by.
    variance_scale: f64,
    c1: f64,
    c2: f64,
}

impl Window {
    fn new(variant: Ssim, range: f64) -> Self {
        let (taps, variance_scale) = match variant {
            Ssim::Gaussian => (gaussian(11, 1.5), 1.0),
            Ssim::Uniform => (vec![1.0 / 7.0; 7], 49.0 / 48.0),
        };
        Self { taps, variance_scale, c1: (0.01 * range).powi(2), c2: (0.03 * range).powi(2) }
    }

    /// The sum of the similarities of the windows whose first row is `y`.
    fn row(&self, a: &[f64], b: &[f64], width: usize, y: usize) -> f64 {
        // a, b, a², b², ab, weighted down the columns.
        let mut columns = vec![[0.0; 5]; width];
        for (i, tap) in self.taps.iter().enumerate() {
            let row = (y + i) * width..(y + i + 1) * width;
            for ((column, a), b) in columns.iter_mut().zip(&a[row.clone()]).zip(&b[row]) {
                for (sum, value) in column.iter_mut().zip([*a, *b, a * a, b * b, a * b]) {
                    *sum += tap * value;
                }
            }
        }
        let mut sum = 0.0;
        for window in columns.windows(self.taps.len()) {
            let mut means = [0.0; 5];
            for (tap, column) in self.taps.iter().zip(window) {
                for (mean, value) in means.iter_mut().zip(column) {
                    *mean += tap * value;
                }
            }
            sum += self.similarity(means);
        }
        sum
    }

    /// Equation 13 of the paper, from the means of a, b, a², b², ab in a window.
    fn similarity(&self, [a, b, aa, bb, ab]: [f64; 5]) -> f64 {
        let variance_a = (aa - a * a) * self.variance_scale;
        let variance_b = (bb - b * b) * self.variance_scale;
        let covariance = (ab - a * b) * self.variance_scale;
        let luminance = (2.0 * a * b + self.c1) / (a * a + b * b + self.c1);
        let structure = (2.0 * covariance + self.c2) / (variance_a + variance_b + self.c2);
        luminance * structure
    }
}

/// `side` (odd) values of a Gaussian about the middle one, scaled to the sum 1.
fn gaussian(side: usize, sigma: f64) -> Vec<f64> {
    let middle = (side / 2) as f64;
    let weight = |i: usize| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp();
    let sum: f64 = (0..side).map(weight).sum();
    (0..side).map(|i| weight(i) / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANTS: [(Ssim, usize); 2] = [(Ssim::Gaussian, 11), (Ssim::Uniform, 7)];

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
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn one_uniform_window_by_hand() {
        // 49 pixels, one of them white in the first image: mean 1/49, sample variance 48/49² · 49/48 = 1/49.
        let dot = Image::from_fn(7, 7, |x, y| [f32::from(u8::from(x + 7 * y == 10)); 3]);
        let mean: f64 = 1.0 / 49.0;
        let (c1, c2) = (1e-4, 9e-4);
        let expected = c1 / (mean * mean + c1) * c2 / (mean + c2);
        let found = Ssim::Uniform.score(&dot, &Image::new(7, 7), View::Rgb).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    /// The definition: the weighted mean and covariances of each window, one window after the other.
    fn naive(a: &[f64], b: &[f64], width: usize, height: usize) -> f64 {
        let weight = |i: usize| (-(i as f64 - 5.0).powi(2) / 4.5).exp();
        let total: f64 = (0..121).map(|i| weight(i / 11) * weight(i % 11)).sum();
        let (mut sum, mut places) = (0.0, 0.0);
        for (y, x) in (0..=height - 11).flat_map(|y| (0..=width - 11).map(move |x| (y, x))) {
            let mean = |f: &dyn Fn(usize) -> f64| -> f64 {
                let at = |i: usize| f((y + i / 11) * width + x + i % 11);
                (0..121).map(|i| weight(i / 11) * weight(i % 11) / total * at(i)).sum()
            };
            let (ma, mb) = (mean(&|i| a[i]), mean(&|i| b[i]));
            let va = mean(&|i| (a[i] - ma).powi(2));
            let vb = mean(&|i| (b[i] - mb).powi(2));
            let cov = mean(&|i| (a[i] - ma) * (b[i] - mb));
            sum += (2.0 * ma * mb + 1e-4) * (2.0 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
            places += 1.0;
        }
        sum / places
    }

    #[test]
    fn the_separable_window_is_the_definition() {
        let (a, b) = (noise(17, 13, 1), noise(17, 13, 2));
        let channels = (0..3).map(|c| {
            let plane = |image: &Image| -> Vec<f64> { image.pixels().map(|p| f64::from(p[c])).collect() };
            naive(&plane(&a), &plane(&b), 17, 13)
        });
        let expected = channels.sum::<f64>() / 3.0;
        let found = Ssim::Gaussian.score(&a, &b, View::Rgb).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn images_smaller_than_the_window_are_an_error() {
        for (ssim, side) in VARIANTS {
            let fits = noise(side, side, 1);
            assert!(ssim.score(&fits, &fits, View::Luma).is_ok());
            let short = noise(side + 5, side - 1, 1);
            let error = ssim.score(&short, &short, View::Luma).unwrap_err();
            assert!(matches!(error, Error::SmallerThanWindow { window, .. } if window == side));
        }
    }
}
