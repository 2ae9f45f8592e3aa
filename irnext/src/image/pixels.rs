//! The colors of a photograph in the bits of its file, and work on them row by row.
//!
//! An [`Image`] takes twelve bytes a pixel: too many for a photograph of a hundred megapixels, its
//! result and the buffers between files and both. So a photograph stays in its own bits, and its
//! rows become f32 one at a time.

use super::resample::{Rows, resample, shrink, whole_factor};
use super::{Image, require_memory};
use crate::error::Result;
use rayon::prelude::*;
use std::borrow::Cow;

/// The colors of a photograph, three channels in sRGB: in 8 or 16 bits, as in its file, which takes
/// a quarter or half of the memory of an [`Image`], or in f32, if it was made from one.
///
/// ```
/// use irnext::image::{Image, Pixels};
/// let image = Image::build(3, 2, |x, y| [x as f32 / 2.0, y as f32, 0.5])?;
/// let pixels = Pixels::from(image.clone());
/// assert_eq!((pixels.width(), pixels.height()), (3, 2));
/// assert_eq!(pixels.image(), image);
/// # Ok::<(), irnext::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    pub(crate) width: usize,
    pub(crate) height: usize,
    samples: Samples,
}

/// `height * width * 3` values.
#[derive(Clone, Debug, PartialEq)]
enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
    Float(Vec<f32>),
}

impl From<Image> for Pixels {
    fn from(image: Image) -> Self {
        let Image { width, height, data } = image;
        Self { width, height, samples: Samples::Float(data) }
    }
}

impl Pixels {
    /// Those with these `height * width * 3` samples.
    pub(super) fn eight_bits(width: usize, height: usize, samples: Vec<u8>) -> Self {
        Self { width, height, samples: Samples::Eight(samples) }
    }

    /// Like [`Self::eight_bits`], with 16.
    pub(super) fn sixteen_bits(width: usize, height: usize, samples: Vec<u16>) -> Self {
        Self { width, height, samples: Samples::Sixteen(samples) }
    }

    /// The picture whose row `y` is made by `f(y, row)`, on all cores: in 16 bits, or in f32 if
    /// `like` is. Values are limited to [0, 1] and rounded to the nearest that fits.
    pub(crate) fn build(
        (width, height): (usize, usize),
        like: &Self,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let len = (width * 3).max(1);
        let samples = match like.samples {
            Samples::Float(_) => {
                let mut samples = vec![0.0; width * height * 3];
                samples.par_chunks_exact_mut(len).enumerate().for_each(|(y, row)| {
                    f(y, row);
                    row.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
                });
                Samples::Float(samples)
            }
            _ => {
                let mut samples = vec![0; width * height * 3];
                samples.par_chunks_exact_mut(len).enumerate().for_each_init(
                    || vec![0.0; len],
                    |row, (y, out)| {
                        f(y, row);
                        out.iter_mut().zip(row).for_each(|(out, value)| *out = sixteen(*value));
                    },
                );
                Samples::Sixteen(samples)
            }
        };
        Self { width, height, samples }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Whether they are in f32.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self.samples, Samples::Float(_))
    }

    /// The bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        match &self.samples {
            Samples::Eight(samples) => samples.len(),
            Samples::Sixteen(samples) => 2 * samples.len(),
            Samples::Float(samples) => 4 * samples.len(),
        }
    }

    /// The whole picture in f32.
    pub fn image(&self) -> Image {
        self.part(0, 0, self.width, self.height)
    }

    /// Like [`Self::image`], but those in f32 are not copied.
    pub(crate) fn into_image(self) -> Image {
        match self.samples {
            Samples::Float(data) => Image { width: self.width, height: self.height, data },
            _ => self.image(),
        }
    }

    /// The `width` x `height` part whose top left pixel is (`x`, `y`), inside the picture, in f32.
    pub(crate) fn part(&self, x: usize, y: usize, width: usize, height: usize) -> Image {
        let mut data = vec![0.0; width * height * 3];
        for (i, row) in data.chunks_exact_mut((width * 3).max(1)).enumerate() {
            self.read(3 * ((y + i) * self.width + x), row);
        }
        Image { width, height, data }
    }

    /// Puts as many values as `out` has into it, from the value `first` on.
    pub(crate) fn read(&self, first: usize, out: &mut [f32]) {
        let range = first..first + out.len();
        match &self.samples {
            Samples::Eight(samples) => {
                let values = samples[range].iter().map(|&v| f32::from(v) / 255.0);
                out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
            }
            Samples::Sixteen(samples) => {
                let values = samples[range].iter().map(|&v| f32::from(v) / 65535.0);
                out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
            }
            Samples::Float(samples) => out.copy_from_slice(&samples[range]),
        }
    }

    /// Pixel `i` in reading order.
    pub(crate) fn nth(&self, i: usize) -> [f32; 3] {
        let mut pixel = [0.0; 3];
        self.read(3 * i, &mut pixel);
        pixel
    }

    /// The pixels in reading order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = [f32; 3]> + '_ {
        (0..self.width * self.height).map(|i| self.nth(i))
    }

    /// Resizes like [`Image::resize`], to f32.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn resize(&self, width: usize, height: usize) -> Result<Image> {
        require_memory(width, height.max(self.height))?;
        Ok(resample(self, width, height))
    }

    /// In f32, shrunk by the least whole factor to at most `pixels` pixels. A thin one keeps one
    /// pixel a side.
    pub(crate) fn at_most(&self, pixels: usize) -> Image {
        match whole_factor(self.width, self.height, pixels) {
            1 => self.image(),
            factor => shrink(self, factor),
        }
    }

    /// Changes the rows by `f(y, row)`, on all cores, as by [`Self::build`].
    pub(crate) fn change(&mut self, f: impl Fn(usize, &mut [f32]) + Sync) {
        let len = (self.width * 3).max(1);
        if let Samples::Eight(samples) = &self.samples {
            let wide = samples.iter().map(|&sample| u16::from(sample) * 257);
            self.samples = Samples::Sixteen(wide.collect());
        }
        match &mut self.samples {
            Samples::Eight(_) => {}
            Samples::Sixteen(samples) => {
                samples.par_chunks_exact_mut(len).enumerate().for_each_init(
                    || vec![0.0; len],
                    |row, (y, samples)| {
                        let values = samples.iter().map(|&sample| f32::from(sample) / 65535.0);
                        row.iter_mut().zip(values).for_each(|(out, value)| *out = value);
                        f(y, row);
                        samples.iter_mut().zip(row).for_each(|(out, value)| *out = sixteen(*value));
                    },
                );
            }
            Samples::Float(samples) => {
                samples.par_chunks_exact_mut(len).enumerate().for_each(|(y, row)| f(y, row));
            }
        }
    }

    /// Gives each pixel the color of the one that `from` names for it.
    pub(super) fn rearranged(&self, from: &[u32]) -> Self {
        fn pick<T: Copy>(samples: &[T], from: &[u32]) -> Vec<T> {
            let pixel = |&from: &u32| &samples[3 * from as usize..][..3];
            from.iter().flat_map(pixel).copied().collect()
        }
        let samples = match &self.samples {
            Samples::Eight(samples) => Samples::Eight(pick(samples, from)),
            Samples::Sixteen(samples) => Samples::Sixteen(pick(samples, from)),
            Samples::Float(samples) => Samples::Float(pick(samples, from)),
        };
        Self { samples, ..*self }
    }
}

/// The 16-bit sample nearest to a value. A cast from float limits to the range of the integer.
pub(super) fn sixteen(value: f32) -> u16 {
    (value * 65535.0).round() as u16
}

impl Rows for Pixels {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn row(&self, y: usize) -> Cow<'_, [f32]> {
        let range = 3 * y * self.width..3 * (y + 1) * self.width;
        match &self.samples {
            Samples::Float(samples) => Cow::Borrowed(&samples[range]),
            _ => {
                let mut row = vec![0.0; range.len()];
                self.read(range.start, &mut row);
                Cow::Owned(row)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same picture in each kind of samples.
    fn kinds() -> [Pixels; 3] {
        let samples: Vec<u8> = (0..7 * 5 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let deep = samples.iter().map(|&sample| u16::from(sample) * 257).collect();
        let eight = Pixels::eight_bits(7, 5, samples);
        [eight.clone(), Pixels::sixteen_bits(7, 5, deep), eight.image().into()]
    }

    #[test]
    fn the_kinds_of_samples_are_the_same_picture() {
        let [eight, sixteen, float] = kinds();
        let image = float.clone().into_image();
        assert_eq!(image.at(1, 0), [21.0 / 255.0, 28.0 / 255.0, 35.0 / 255.0]);
        for pixels in [&eight, &sixteen, &float] {
            assert_eq!(pixels.image(), image);
            assert_eq!(pixels.clone().into_image(), image);
            assert_eq!(pixels.part(2, 1, 4, 3), image.part(2, 1, 4, 3));
            assert!(pixels.iter().eq(image.pixels()));
            assert_eq!(pixels.nth(9), image.at(2, 1));
            assert_eq!(pixels.row(4), image.row(4));
            assert_eq!(pixels.resize(3, 2).unwrap(), image.resize(3, 2).unwrap());
            assert_eq!(pixels.at_most(35), image);
            assert_eq!(pixels.at_most(34), image.shrink(2));
            let from: Vec<u32> = (0..35).rev().collect();
            let turned = pixels.rearranged(&from).image();
            assert!(turned.pixels().eq(image.pixels().collect::<Vec<_>>().into_iter().rev()));
        }
        assert_eq!([eight.bytes(), sixteen.bytes(), float.bytes()], [105, 210, 420]);
    }

    #[test]
    fn rows_are_made_and_changed_in_sixteen_bits_or_as_they_were() {
        for (pixels, step) in kinds().into_iter().zip([0.5001 / 65535.0, 0.5001 / 65535.0, 0.0]) {
            let double = |y: usize, row: &mut [f32]| {
                row.copy_from_slice(&pixels.row(y));
                row.iter_mut().for_each(|value| *value = 2.0 * *value - 0.3);
            };
            let expected: Vec<f32> =
                pixels.image().data.iter().map(|v| (2.0 * v - 0.3).clamp(0.0, 1.0)).collect();
            let near = |image: Image| {
                assert_eq!((image.width, image.height), (7, 5));
                image.data.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= step)
            };
            let made = Pixels::build((7, 5), &pixels, double);
            assert!(near(made.image()));
            let mut changed = pixels.clone();
            changed.change(double);
            assert!(near(changed.image().clamp()));
            // Rows that stay are the same to the bit.
            let mut same = pixels.clone();
            same.change(|_, _| ());
            assert_eq!(same.image(), pixels.image());
        }
    }

    #[test]
    fn an_empty_picture_has_no_rows() {
        let none = Pixels::eight_bits(0, 0, Vec::new());
        let made = Pixels::build((0, 0), &none, |_, _| unreachable!());
        assert_eq!((made.image(), none.at_most(10)), (Image::new(0, 0), Image::new(0, 0)));
    }
}
