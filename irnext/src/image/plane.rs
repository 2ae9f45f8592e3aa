//! Maps of one value per pixel (depth, transmission, light), and filters that smooth them.

use std::ops::Range;

use engine::Rng;

use super::Image;

/// One value per pixel, in reading order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<f32>,
}

impl Plane {
    /// Zeros.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0.0; width * height] }
    }

    /// One of the three channels.
    pub fn channel(image: &Image, channel: usize) -> Self {
        Self {
            width: image.width,
            height: image.height,
            data: image.data.iter().skip(channel).step_by(3).copied().collect(),
        }
    }

    /// The mean of the three channels.
    pub fn gray(image: &Image) -> Self {
        Self {
            width: image.width,
            height: image.height,
            data: image.pixels().map(|[r, g, b]| (r + g + b) / 3.0).collect(),
        }
    }

    /// A straight line from `top` in the first row to `bottom` in the last.
    pub fn ramp(width: usize, height: usize, top: f32, bottom: f32) -> Self {
        let mut plane = Self::new(width, height);
        let last = (height - 1).max(1) as f32;
        for (y, row) in plane.data.chunks_exact_mut(width).enumerate() {
            row.fill(top + (bottom - top) * y as f32 / last);
        }
        plane
    }

    /// Smooth noise: `cells` x `cells` uniform values in [0, 1), joined by cubic curves (which
    /// overshoot a little).
    pub fn noise(width: usize, height: usize, cells: usize, rng: &mut Rng) -> Self {
        let grid: Vec<f32> = (0..cells * cells).map(|_| rng.uniform() as f32).collect();
        let columns = cubic_taps(cells, width);
        let rows = cubic_taps(cells, height);
        let mut wide = vec![0.0; cells * width];
        for (row, out) in grid.chunks_exact(cells).zip(wide.chunks_exact_mut(width)) {
            for (value, (places, weights)) in out.iter_mut().zip(&columns) {
                *value = (0..4).map(|k| weights[k] * row[places[k]]).sum();
            }
        }
        let mut plane = Self::new(width, height);
        for (out, (places, weights)) in plane.data.chunks_exact_mut(width).zip(&rows) {
            for k in 0..4 {
                let row = &wide[places[k] * width..][..width];
                for (value, &sample) in out.iter_mut().zip(row) {
                    *value += weights[k] * sample;
                }
            }
        }
        plane
    }

    /// The plane at another size, no smaller than it: bilinear, pixel centers aligned.
    pub fn enlarged(&self, width: usize, height: usize) -> Self {
        let columns = linear_taps(self.width, width);
        let mut plane = Self::new(width, height);
        let row = |y: usize| &self.data[y * self.width..][..self.width];
        let rows = linear_taps(self.height, height);
        for (out, (above, below, down)) in plane.data.chunks_exact_mut(width).zip(rows) {
            let (above, below) = (row(above), row(below));
            for (value, &(left, right, across)) in out.iter_mut().zip(&columns) {
                let between = |row: &[f32]| row[left] + across * (row[right] - row[left]);
                let above = between(above);
                *value = above + down * (between(below) - above);
            }
        }
        plane
    }

    /// The plane with `f` applied to each value.
    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        for value in &mut self.data {
            *value = f(*value);
        }
        self
    }

    /// The plane with `f` applied to each value and `other`'s value there.
    pub fn zip(mut self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for (value, &other) in self.data.iter_mut().zip(&other.data) {
            *value = f(*value, other);
        }
        self
    }

    /// The mean over all pixels.
    pub fn mean(&self) -> f32 {
        let sum: f64 = self.data.iter().map(|&v| f64::from(v)).sum();
        (sum / self.data.len().max(1) as f64) as f32
    }

    /// The standard deviation over all pixels.
    pub fn deviation(&self) -> f32 {
        let mean = self.mean();
        self.clone().map(|v| (v - mean).powi(2)).mean().sqrt()
    }

    /// The mean over the square of `2 * radius + 1` pixels a side around each pixel, as far as it
    /// is in the image.
    pub fn box_blur(&self, radius: usize) -> Self {
        self.box_rows(radius).box_columns(radius)
    }

    fn box_rows(&self, radius: usize) -> Self {
        let mut out = Self::new(self.width, self.height);
        let windows = windows(self.width, radius);
        let mut sums = vec![0.0f64; self.width + 1];
        let rows = self.data.chunks_exact(self.width);
        for (row, out) in rows.zip(out.data.chunks_exact_mut(self.width)) {
            for (x, &value) in row.iter().enumerate() {
                sums[x + 1] = sums[x] + f64::from(value);
            }
            for (value, (window, share)) in out.iter_mut().zip(&windows) {
                *value = ((sums[window.end] - sums[window.start]) * share) as f32;
            }
        }
        out
    }

    fn box_columns(&self, radius: usize) -> Self {
        let mut out = Self::new(self.width, self.height);
        let row = |y: usize| &self.data[y * self.width..][..self.width];
        // The window's sum for each column: rows enter at the bottom and leave at the top.
        let mut sums = vec![0.0f64; self.width];
        let (mut first, mut end) = (0, 0);
        let windows = windows(self.height, radius);
        for (out, (window, share)) in out.data.chunks_exact_mut(self.width).zip(windows) {
            for y in end..window.end {
                for (sum, &value) in sums.iter_mut().zip(row(y)) {
                    *sum += f64::from(value);
                }
            }
            for y in first..window.start {
                for (sum, &value) in sums.iter_mut().zip(row(y)) {
                    *sum -= f64::from(value);
                }
            }
            (first, end) = (window.start, window.end);
            for (value, &sum) in out.iter_mut().zip(&sums) {
                *value = (sum * share) as f32;
            }
        }
        out
    }

    /// Smooths the plane but for the edges that `guide` has: within each window, the result is the
    /// best straight-line function of the guide ([`Self::lines`]).
    pub fn guided(&self, guide: &Self, radius: usize, epsilon: f32) -> Self {
        let level = Self::new(self.width, self.height);
        let (slope, offset) = self.lines(guide, radius, epsilon, &level);
        slope.zip(guide, |slope, guide| slope * guide).zip(&offset, |line, offset| line + offset)
    }

    /// Slope and offset of the straight lines `slope * guide + offset` that are nearest to the
    /// plane: one is fitted in each window, and the means of all around a pixel are its own (He,
    /// Sun, Tang: "Guided image filtering", 2010). Where the guide's variance is below `epsilon`,
    /// the slope is rather that of `prior`.
    pub fn lines(&self, guide: &Self, radius: usize, epsilon: f32, prior: &Self) -> (Self, Self) {
        let product = |a: &Self, b: &Self| a.clone().zip(b, |a, b| a * b);
        let mean_guide = guide.box_blur(radius);
        let mean = self.box_blur(radius);
        let variance = product(guide, guide)
            .box_blur(radius)
            .zip(&mean_guide, |square, mean| (square - mean * mean).max(0.0));
        let covariance = product(guide, self)
            .box_blur(radius)
            .zip(&product(&mean_guide, &mean), |product, means| product - means);
        let slope = covariance
            .zip(prior, |covariance, prior| covariance + epsilon * prior)
            .zip(&variance, |covariance, variance| covariance / (variance + epsilon));
        let offset = mean.zip(&product(&slope, &mean_guide), |mean, line| mean - line);
        (slope.box_blur(radius), offset.box_blur(radius))
    }
}

/// For each place on an axis, the places within `radius` of it and the share of each in their mean.
fn windows(len: usize, radius: usize) -> Vec<(Range<usize>, f64)> {
    let window = |i: usize| i.saturating_sub(radius)..(i + radius + 1).min(len);
    (0..len).map(|i| (window(i), 1.0 / window(i).len() as f64)).collect()
}

/// For each of `to` output places, the two places among `from` that it lies between, and how far
/// from the first: pixel centers aligned, edges repeated.
pub(crate) fn linear_taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let place = |i: usize| {
        let center = (i as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let center = center.clamp(0.0, (from - 1) as f32);
        let first = center as usize;
        (first, (first + 1).min(from - 1), center - first as f32)
    };
    (0..to).map(place).collect()
}

/// For each of `to` output places, the four places among `from` that it reads and their weights:
/// Catmull-Rom interpolation, pixel centers aligned, edges repeated.
fn cubic_taps(from: usize, to: usize) -> Vec<([usize; 4], [f32; 4])> {
    let place = |i: usize| {
        let center = (i as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let first = center.floor();
        let t = center - first;
        let weights = [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ];
        let near = |k: i64| (first as i64 + k).clamp(0, from as i64 - 1) as usize;
        ([near(-1), near(0), near(1), near(2)], weights)
    };
    (0..to).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, data: &[f32]) -> Plane {
        Plane { width, height: data.len() / width, data: data.to_vec() }
    }

    #[test]
    fn box_blur_is_the_mean_of_what_is_there() {
        let blurred = plane(3, &[0.0, 3.0, 6.0, 0.0, 0.0, 0.0]).box_blur(1);
        assert_eq!(blurred.data, [0.75, 1.5, 2.25, 0.75, 1.5, 2.25]);
        assert_eq!(plane(1, &[5.0]).box_blur(9).data, [5.0]);
    }

    #[test]
    fn noise_of_one_cell_is_flat_and_of_many_stays_near_its_range() {
        let flat = Plane::noise(7, 5, 1, &mut Rng::new(1));
        assert!(flat.data.iter().all(|&v| (v - flat.data[0]).abs() < 1e-6));
        let noise = Plane::noise(64, 48, 5, &mut Rng::new(1));
        assert!(noise.data.iter().all(|v| (-0.3..1.3).contains(v)));
        assert!((noise.mean() - 0.5).abs() < 0.2);
        // Smooth: neighbors differ by less than the cells do.
        let steps = noise.data.chunks_exact(64).flat_map(|row| row.windows(2));
        assert!(steps.map(|w| (w[0] - w[1]).abs()).max_by(f32::total_cmp).unwrap_or(0.0) < 0.2);
    }

    #[test]
    fn enlarging_joins_the_values_by_straight_lines() {
        assert_eq!(plane(2, &[0.0, 1.0]).enlarged(4, 1).data, [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(plane(1, &[0.0, 1.0]).enlarged(1, 4).data, [0.0, 0.25, 0.75, 1.0]);
        let square = plane(2, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(square.enlarged(2, 2), square);
    }

    #[test]
    fn a_plane_that_follows_its_guide_passes_the_guided_filter_unchanged() {
        let guide =
            plane(8, &(0..64).map(|i| if i % 8 < 4 { 0.2 } else { 0.9 }).collect::<Vec<_>>());
        let depth = guide.clone().map(|v| 3.0 - 2.0 * v);
        let filtered = depth.guided(&guide, 2, 1e-8);
        for (a, b) in filtered.data.iter().zip(&depth.data) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
        // Under a flat guide there are no edges to keep.
        let flat = plane(8, &[0.5; 64]);
        let twice = depth.box_blur(2).box_blur(2);
        for (a, b) in depth.guided(&flat, 2, 1e-3).data.iter().zip(&twice.data) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn without_detail_to_follow_a_line_has_the_slope_of_the_prior() {
        let flat = plane(4, &[0.5; 16]);
        let prior = flat.clone().map(|_| 3.0);
        let (slope, offset) = plane(4, &[0.2; 16]).lines(&flat, 1, 1e-3, &prior);
        assert!(slope.data.iter().all(|v| (v - 3.0).abs() < 1e-5), "{slope:?}");
        assert!(offset.data.iter().all(|v| (v + 1.3).abs() < 1e-5), "{offset:?}");
    }
}
