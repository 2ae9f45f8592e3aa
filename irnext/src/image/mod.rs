//! Images in memory: three channels of f32, interleaved, in sRGB.
//!
//! The network, the degradations and the metrics work on an [`Image`]. A [`Photo`] has the contents
//! of an image file: an [`Image`], and the data that restoration must preserve (bit depth, alpha,
//! whether it is gray, profile, metadata).
//!
//! ```
//! use irnext::image::{Image, Photo};
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("ramp.png");
//! Photo::new(Image::from_fn(256, 8, |x, _| [x as f32 / 255.0; 3])).write(&path)?;
//! let mut photo = Photo::read(&path)?;
//! assert_eq!((photo.rgb.width, photo.rgb.pixel(51, 0)), (256, [0.2; 3]));
//! photo.rgb = photo.rgb.resize(128, 4);
//! photo.write(path.with_extension("jpg"))?;
//! # Ok::<(), irnext::Error>(())
//! ```

mod decode;
mod encode;
mod hidden;
mod io;
mod kind;
mod metadata;
mod note;
mod photo;
mod plane;
mod profile;
mod resample;
mod segments;
mod source;

pub use encode::{Format, WriteOptions};
pub use kind::Kind;
pub use metadata::{Metadata, Resolution, Unit};
pub use note::Note;
pub use photo::{Depth, Limits, Photo};
pub(crate) use plane::{Plane, linear_taps};
pub use profile::Profile;
pub use source::{JpegCoding, Source, TiffCompression};

use crate::error::{Error, Result};

/// An RGB image: `data[(y * width + x) * 3 + channel]`, values nominally in [0, 1], sRGB-encoded.
///
/// The layout is that of one channels-last tensor, so that an image becomes a tensor by a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` values.
    pub data: Vec<f32>,
}

impl Image {
    /// A black image.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0.0; width * height * 3] }
    }

    /// An error unless the image has three values for each pixel.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { width, height, data } = self;
        match width.checked_mul(*height).and_then(|pixels| pixels.checked_mul(3)) {
            Some(values) if values == data.len() => Ok(()),
            _ => {
                let values = data.len();
                let reason = format!("an image of {width}×{height} pixels has {values} values");
                Err(Error::Config { reason })
            }
        }
    }

    /// The image whose pixel in column `x` of row `y` is `f(x, y)`; called row by row.
    pub fn from_fn(
        width: usize,
        height: usize,
        mut f: impl FnMut(usize, usize) -> [f32; 3],
    ) -> Self {
        let mut data = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                data.extend(f(x, y));
            }
        }
        Self { width, height, data }
    }

    /// The pixel in column `x` of row `y`. Panics outside the image, as indexing a slice does.
    pub fn pixel(&self, x: usize, y: usize) -> [f32; 3] {
        let row = self.row(y);
        [row[3 * x], row[3 * x + 1], row[3 * x + 2]]
    }

    /// Sets the pixel in column `x` of row `y`. Panics outside the image, as indexing a slice does.
    pub fn set_pixel(&mut self, x: usize, y: usize, pixel: [f32; 3]) {
        let row = &mut self.data[y * self.width * 3..][..self.width * 3];
        row[3 * x..3 * x + 3].copy_from_slice(&pixel);
    }

    /// Row `y`: `width * 3` values.
    pub fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width * 3..][..self.width * 3]
    }

    /// The pixels in reading order.
    pub fn pixels(&self) -> impl ExactSizeIterator<Item = [f32; 3]> + '_ {
        self.data.chunks_exact(3).map(|p| [p[0], p[1], p[2]])
    }

    /// Limits every value to [0, 1].
    pub fn clamp(mut self) -> Self {
        for value in &mut self.data {
            *value = value.clamp(0.0, 1.0);
        }
        self
    }

    /// The `width` x `height` part whose top left pixel is (`x`, `y`).
    /// Panics if that is not inside the image, as slicing does.
    pub fn crop(&self, x: usize, y: usize, width: usize, height: usize) -> Self {
        let mut data = Vec::with_capacity(width * height * 3);
        for row in y..y + height {
            data.extend_from_slice(&self.row(row)[3 * x..3 * (x + width)]);
        }
        Self { width, height, data }
    }

    /// The mirror image: left and right swapped.
    pub fn flip_horizontal(&self) -> Self {
        Self::from_fn(self.width, self.height, |x, y| self.pixel(self.width - 1 - x, y))
    }

    /// Grows the image to the right and downwards to `width` x `height` by reflection about its
    /// last column and row (which are not repeated), as often as it takes; a side of one pixel is
    /// repeated. A side that is already as long is left alone. An empty image stays empty.
    pub fn pad_reflect(&self, width: usize, height: usize) -> Self {
        if self.data.is_empty() {
            return self.clone();
        }
        Self::from_fn(width.max(self.width), height.max(self.height), |x, y| {
            self.pixel(reflect(x, self.width), reflect(y, self.height))
        })
    }

    /// [`pad_reflect`](Self::pad_reflect) to sides that `multiple` divides.
    pub fn pad_to_multiple(&self, multiple: usize) -> Self {
        let multiple = multiple.max(1);
        self.pad_reflect(
            self.width.next_multiple_of(multiple),
            self.height.next_multiple_of(multiple),
        )
    }

    /// The luma of each pixel on the scale of 8-bit video, black 16 and white 235:
    /// Y = 65.481 R + 128.553 G + 24.966 B + 16 (ITU-R BT.601; deraining is scored on it).
    pub fn luma(&self) -> Vec<f64> {
        self.pixels()
            .map(|[r, g, b]| {
                65.481 * f64::from(r) + 128.553 * f64::from(g) + 24.966 * f64::from(b) + 16.0
            })
            .collect()
    }
}

/// Where `index` falls in 0..`len` when the axis is mirrored at both ends: 0 1 2 1 0 1 2 … for
/// `len` 3.
fn reflect(index: usize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    let place = index % period;
    place.min(period - place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `width` x `height` image whose red channel counts the pixels.
    fn counting(width: usize, height: usize) -> Image {
        Image::from_fn(width, height, |x, y| [(y * width + x) as f32, 0.0, 1.0])
    }

    fn red(image: &Image) -> Vec<f32> {
        image.pixels().map(|[r, _, _]| r).collect()
    }

    #[test]
    fn crop_takes_the_named_pixels() {
        let part = counting(4, 3).crop(1, 1, 2, 2);
        assert_eq!((part.width, part.height), (2, 2));
        assert_eq!(red(&part), [5.0, 6.0, 9.0, 10.0]);
    }

    #[test]
    fn flip_mirrors_each_row() {
        assert_eq!(red(&counting(3, 2).flip_horizontal()), [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
    }

    #[test]
    fn padding_reflects_without_the_edge_and_as_often_as_needed() {
        let padded = counting(3, 1).pad_reflect(8, 2);
        assert_eq!((padded.width, padded.height), (8, 2));
        let row = [0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0];
        assert_eq!(red(&padded), [row, row].concat());
    }

    #[test]
    fn padding_to_a_multiple_keeps_what_fits() {
        let image = counting(4, 8);
        assert_eq!(image.pad_to_multiple(4), image);
        let padded = image.pad_to_multiple(32);
        assert_eq!((padded.width, padded.height), (32, 32));
        assert_eq!(padded.crop(0, 0, 4, 8), image);
        assert_eq!(counting(1, 1).pad_to_multiple(32).pixel(31, 31)[0], 0.0);
    }

    #[test]
    fn luma_runs_from_16_to_235() {
        let image = Image::from_fn(2, 1, |x, _| [x as f32; 3]);
        assert_eq!(image.luma(), [16.0, 235.0]);
    }

    #[test]
    fn clamp_removes_everything_outside() {
        let image = Image::from_fn(1, 1, |_, _| [0.5, -1.0, f32::INFINITY]);
        assert_eq!(image.clamp().data, [0.5, 0.0, 1.0]);
    }
}
