//! Resizing images.

use super::Image;
use rayon::prelude::*;
use std::borrow::Cow;

/// A picture that can be read by rows of f32, three values a pixel.
pub(crate) trait Rows: Sync {
    /// Width and height.
    fn size(&self) -> (usize, usize);

    /// Row `y`.
    fn row(&self, y: usize) -> Cow<'_, [f32]>;
}

impl Rows for Image {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn row(&self, y: usize) -> Cow<'_, [f32]> {
        Cow::Borrowed(Self::row(self, y))
    }
}

impl Image {
    /// Shrinks by a whole factor: each output pixel is the mean of `factor` x `factor` input
    /// pixels. Rows and columns left over at the right and bottom are dropped.
    pub(crate) fn shrink(&self, factor: usize) -> Self {
        shrink(self, factor)
    }

    /// Like [`Image::resize`].
    pub(crate) fn resampled(&self, width: usize, height: usize) -> Self {
        resample(self, width, height)
    }
}

/// The least whole factor by which an image of this size shrinks to at most `pixels` pixels. A thin
/// one is not shrunk to nothing.
pub(crate) fn whole_factor(width: usize, height: usize, pixels: usize) -> usize {
    let factor = (1..).find(|f| width * height <= pixels * f * f).unwrap_or(1);
    factor.min(width).min(height).max(1)
}

/// See [`Image::shrink`].
pub(super) fn shrink(image: &impl Rows, factor: usize) -> Image {
    let factor = factor.max(1);
    let (width, height) = image.size();
    let (width, height) = (width / factor, height / factor);
    let scale = 1.0 / (factor * factor) as f32;
    let mut out = Image::new(width, height);
    if width == 0 {
        return out;
    }
    out.data.par_chunks_exact_mut(width * 3).enumerate().for_each(|(y, out_row)| {
        for y in y * factor..(y + 1) * factor {
            let row = image.row(y);
            let blocks = row.chunks_exact(factor * 3);
            for (sum, block) in out_row.chunks_exact_mut(3).zip(blocks) {
                for pixel in block.chunks_exact(3) {
                    for (sum, &value) in sum.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
            }
        }
        for value in out_row {
            *value *= scale;
        }
    });
    out
}

/// See [`Image::resize`].
pub(super) fn resample(image: &impl Rows, width: usize, height: usize) -> Image {
    let (from_width, from_height) = image.size();
    if from_width == 0 || from_height == 0 {
        return Image::new(width, height);
    }
    if width == 0 || height == 0 {
        return Image { width, height, data: Vec::new() };
    }
    let columns = Taps::triangle(from_width, width);
    let rows = Taps::triangle(from_height, height);
    let mut wide = Image::new(width, from_height);
    wide.data.par_chunks_exact_mut(width * 3).enumerate().for_each(|(y, out)| {
        let row = image.row(y);
        for (x, (first, weights)) in columns.iter().enumerate() {
            for (i, weight) in weights.iter().enumerate() {
                for channel in 0..3 {
                    out[3 * x + channel] += weight * row[3 * (first + i) + channel];
                }
            }
        }
    });
    let mut out = Image::new(width, height);
    out.data.par_chunks_exact_mut(width * 3).zip(&rows.0).for_each(|(out, (first, weights))| {
        for (i, weight) in weights.iter().enumerate() {
            for (sum, value) in out.iter_mut().zip(wide.row(first + i)) {
                *sum += weight * value;
            }
        }
    });
    out
}

/// For each place on the output axis, the first input place it reads and the weights from there on
/// (sum 1).
struct Taps(Vec<(usize, Vec<f32>)>);

impl Taps {
    fn triangle(from: usize, to: usize) -> Self {
        let ratio = from as f64 / to as f64;
        let radius = ratio.max(1.0);
        let taps = (0..to).map(|place| {
            let center = (place as f64 + 0.5) * ratio - 0.5;
            // Weights that fall outside the image are left out and the rest scaled up.
            let first = (center - radius).ceil().max(0.0) as usize;
            let last = ((center + radius).floor() as usize).min(from - 1);
            let weight = |i: usize| (1.0 - (i as f64 - center).abs() / radius).max(0.0);
            let sum: f64 = (first..=last).map(weight).sum();
            let weights = (first..=last).map(|i| (weight(i) / sum) as f32);
            (first, weights.collect())
        });
        Self(taps.collect())
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.0.iter().map(|(first, weights)| (*first, weights.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red(image: &Image) -> Vec<f32> {
        image.pixels().map(|[r, _, _]| r).collect()
    }

    #[test]
    fn shrink_averages_blocks_and_drops_the_rest() {
        let image = Image::from_fn(5, 3, |x, y| [(10 * y + x) as f32; 3]);
        assert_eq!(red(&image.shrink(2)), [5.5, 7.5]);
        assert_eq!(image.shrink(1), image);
        assert_eq!(image.shrink(6), Image::new(0, 0));
    }

    #[test]
    fn resize_to_the_same_size_changes_nothing() {
        let image = Image::from_fn(7, 4, |x, y| [x as f32, y as f32, (x * y) as f32]);
        assert_eq!(image.resampled(7, 4), image);
    }

    #[test]
    fn resize_matches_the_hand_computed_weights() {
        // Doubling two pixels: centers at -0.25, 0.25, 0.75, 1.25.
        let two = Image::from_fn(2, 1, |x, _| [x as f32; 3]);
        assert_eq!(red(&two.resampled(4, 1)), [0.0, 0.25, 0.75, 1.0]);
        // Halving four: the triangle of radius 2 about 0.5 weighs places 0, 1, 2 by 3 : 3 : 1.
        let four = Image::from_fn(4, 1, |x, _| [[0.0, 7.0, 14.0, 0.0][x]; 3]);
        let halved = red(&four.resampled(2, 1));
        assert!((halved[0] - 5.0).abs() < 1e-5, "{halved:?}");
    }

    #[test]
    fn resize_keeps_a_flat_image_flat() {
        let image = Image::from_fn(13, 9, |_, _| [0.25, 0.5, 1.0]);
        for (width, height) in [(1, 1), (5, 20), (40, 3)] {
            for [r, g, b] in image.resampled(width, height).pixels() {
                assert!(
                    (r - 0.25).abs() < 1e-6 && (g - 0.5).abs() < 1e-6 && (b - 1.0).abs() < 1e-6
                );
            }
        }
    }
}
