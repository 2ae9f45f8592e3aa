//! The window of structural similarity, and the formula in it.

use super::variant::Ssim;

/// A separable window and the constants of the formula.
pub(super) struct Window {
    /// The weights along one side.
    taps: Vec<f64>,
    /// Whether it extends over channels as well.
    cube: bool,
    /// The factor of variances over the window.
    variance_scale: f64,
    c1: f64,
    c2: f64,
}

/// Means, or parts of them, of a, b, a², b², ab.
type Moments = [f64; 5];

impl Window {
    /// The window of `variant` for values whose range is `range`.
    pub(super) fn new(variant: Ssim, range: f64) -> Self {
        let (taps, pixels) = match variant {
            Ssim::Gaussian | Ssim::Cube => (gaussian(11, 1.5), None),
            Ssim::GaussianSample => (gaussian(11, 1.5), Some(121.0)),
            Ssim::Uniform => (vec![1.0 / 7.0; 7], Some(49.0)),
            Ssim::Msssim | Ssim::Downscaled => (PYTORCH_MSSSIM.map(f64::from).to_vec(), None),
        };
        Self {
            taps,
            cube: variant == Ssim::Cube,
            variance_scale: pixels.map_or(1.0, |n| n / (n - 1.0)),
            c1: (0.01 * range).powi(2),
            c2: (0.03 * range).powi(2),
        }
    }

    /// Pixels along a side.
    pub(super) fn side(&self) -> usize {
        self.taps.len()
    }

    /// The sum of the similarities of the windows whose first row is `y`, over all channels. Planes
    /// are rows of `width`.
    pub(super) fn row(&self, a: &[Vec<f64>], b: &[Vec<f64>], width: usize, y: usize) -> f64 {
        let rows = |(a, b): (&Vec<f64>, &Vec<f64>)| self.down(a, b, width, y);
        let mut channels: Vec<_> = a.iter().zip(b).map(rows).collect();
        if self.cube {
            channels =
                (0..channels.len()).map(|channel| self.through(&channels, channel)).collect();
        }
        channels
            .iter()
            .flat_map(|columns| columns.windows(self.side()))
            .map(|part| self.similarity(part))
            .sum()
    }

    /// The window's first pass, down the columns from row `y` on.
    fn down(&self, a: &[f64], b: &[f64], width: usize, y: usize) -> Vec<Moments> {
        let mut columns = vec![[0.0; 5]; width];
        for (i, tap) in self.taps.iter().enumerate() {
            let row = (y + i) * width..(y + i + 1) * width;
            for ((column, a), b) in columns.iter_mut().zip(&a[row.clone()]).zip(&b[row]) {
                add(column, *tap, &[*a, *b, a * a, b * b, a * b]);
            }
        }
        columns
    }

    /// The pass through the channels about `channel`, the first and the last repeated beyond the
    /// ends.
    fn through(&self, channels: &[Vec<Moments>], channel: usize) -> Vec<Moments> {
        let mut columns = vec![[0.0; 5]; channels[channel].len()];
        for (i, tap) in self.taps.iter().enumerate() {
            let from = (channel + i).saturating_sub(self.side() / 2).min(channels.len() - 1);
            for (column, from) in columns.iter_mut().zip(&channels[from]) {
                add(column, *tap, from);
            }
        }
        columns
    }

    /// The last pass, along a row, and equation 13 of the paper.
    fn similarity(&self, columns: &[Moments]) -> f64 {
        let mut means = [0.0; 5];
        for (tap, column) in self.taps.iter().zip(columns) {
            add(&mut means, *tap, column);
        }
        let [a, b, aa, bb, ab] = means;
        let variance_a = (aa - a * a) * self.variance_scale;
        let variance_b = (bb - b * b) * self.variance_scale;
        let covariance = (ab - a * b) * self.variance_scale;
        let luminance = (2.0 * a * b + self.c1) / (a * a + b * b + self.c1);
        let structure = (2.0 * covariance + self.c2) / (variance_a + variance_b + self.c2);
        luminance * structure
    }
}

fn add(sum: &mut Moments, weight: f64, values: &Moments) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

/// `side` (odd) values of a Gaussian about the middle one, scaled to the sum 1.
pub(in crate::metrics) fn gaussian(side: usize, sigma: f64) -> Vec<f64> {
    let middle = (side / 2) as f64;
    let weight = |i: usize| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp();
    let sum: f64 = (0..side).map(weight).sum();
    (0..side).map(|i| weight(i) / sum).collect()
}

/// `gaussian(11, 1.5)` as pytorch_msssim computes it, in f32 from exponential to division.
/// Constants, since the last bits depend on PyTorch's exponential and on the order of its sum. They
/// add up to 1 − 3.1e-8.
const PYTORCH_MSSSIM: [f32; 11] = [
    0.0010283804,
    0.007598758,
    0.036000773,
    0.10936069,
    0.21300553,
    0.26601171,
    0.21300553,
    0.10936069,
    0.036000773,
    0.007598758,
    0.0010283804,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounded_window_is_the_gaussian_to_rounding() {
        for (rounded, exact) in PYTORCH_MSSSIM.into_iter().zip(gaussian(11, 1.5)) {
            // The exponent, down to −5.6, is rounded as well.
            assert!((f64::from(rounded) / exact - 1.0).abs() < 4.0 * f64::from(f32::EPSILON));
        }
        let sum: f64 = PYTORCH_MSSSIM.into_iter().map(f64::from).sum();
        assert!((sum - (1.0 - 3.07e-8)).abs() < 1e-10, "{sum}");
    }
}
