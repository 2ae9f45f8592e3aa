//! Images in memory: three channels, interleaved, in sRGB.
//!
//! The network, the degradations and the metrics work on an [`Image`]. A [`Photo`] has the contents
//! of an image file: its [`Pixels`], which become an image as a whole or by rows, and the data that
//! restoration must preserve (bit depth, alpha, whether it is gray, profile, metadata).
//!
//! ```
//! use irnext::image::{Image, Photo};
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("ramp.png");
//! Photo::new(Image::build(256, 8, |x, _| [x as f32 / 255.0; 3])?).write(&path)?;
//! let mut photo = Photo::read(&path)?;
//! assert_eq!(photo.pixels.image().pixel(51, 0), Some([0.2; 3]));
//! photo.pixels = photo.pixels.resize(128, 4)?.into();
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
mod pixels;
mod plane;
mod profile;
mod resample;
mod segments;
mod source;

pub use encode::{Format, WriteOptions};
pub use kind::FileKind;
pub use metadata::{Metadata, Resolution, Unit};
pub use note::Note;
pub use photo::{Depth, Limits, Photo};
pub use pixels::Pixels;
pub(crate) use plane::{Plane, linear_taps};
pub use profile::PhotoProfile;
pub(crate) use resample::{Rows, whole_factor};
pub use source::{JpegCoding, SourceFile, TiffCompression};

use crate::error::{Error, Result};
use std::ops::Range;

/// An RGB image: `data[(y * width + x) * 3 + channel]`, values nominally in [0, 1], sRGB-encoded.
///
/// The layout is that of one channels-last tensor, so that an image becomes a tensor by a copy.
///
/// ```
/// use irnext::image::Image;
/// let image = Image::build(3, 2, |x, y| [x as f32, y as f32, 0.5])?;
/// assert_eq!((image.width(), image.height(), image.data().len()), (3, 2, 18));
/// assert_eq!(image.pixel(2, 1), Some([2.0, 1.0, 0.5]));
/// assert_eq!(image.pixel(3, 1), None);
/// let part = image.crop(1, 0, 2, 2).unwrap();
/// assert_eq!(part, Image::from_data(2, 2, part.data().to_vec())?);
/// # Ok::<(), irnext::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `height * width * 3` values.
    pub(crate) data: Vec<f32>,
}

/// For any size and place: one that does not fit gives an error, or nothing.
impl Image {
    /// The image of these values: `height * width * 3` of them. See [`Image`] for an example.
    ///
    /// # Errors
    /// If there are more or fewer.
    pub fn from_data(width: usize, height: usize, data: Vec<f32>) -> Result<Self> {
        if values(width, height) == Some(data.len()) {
            return Ok(Self { width, height, data });
        }
        let values = data.len();
        let reason = format!("{values} values do not make an image of {width}×{height} pixels");
        Err(Error::Config { reason })
    }

    /// The image whose pixel in column `x` of row `y` is `f(x, y)`; called row by row. See
    /// [`Image`] for an example.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn build(
        width: usize,
        height: usize,
        f: impl FnMut(usize, usize) -> [f32; 3],
    ) -> Result<Self> {
        require_memory(width, height)?;
        Ok(Self::from_fn(width, height, f))
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// `height * width * 3` values, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values, to be changed.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The pixel in column `x` of row `y`; `None` outside the image. See [`Image`] for an example.
    pub fn pixel(&self, x: usize, y: usize) -> Option<[f32; 3]> {
        (x < self.width && y < self.height).then(|| self.at(x, y))
    }

    /// The `width` x `height` part whose top left pixel is (`x`, `y`); `None` if that is not inside
    /// the image. See [`Image`] for an example.
    pub fn crop(&self, x: usize, y: usize, width: usize, height: usize) -> Option<Self> {
        let inside = |start: usize, length: usize, side: usize| {
            start.checked_add(length).is_some_and(|end| end <= side)
        };
        let is_inside = inside(x, width, self.width) && inside(y, height, self.height);
        is_inside.then(|| self.part(x, y, width, height))
    }

    /// Resizes to `width` x `height`, pixel centers aligned as OpenCV and Pillow align them.
    /// Enlarging is bilinear; shrinking widens the same triangle to the ratio of the sizes, so that
    /// nothing aliases. Neither overshoots: values stay in the range of the input's. Either size 0
    /// gives an empty image.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn resize(&self, width: usize, height: usize) -> Result<Self> {
        if width > 0 && height > 0 {
            require_memory(width, height.max(self.height))?;
        }
        Ok(self.resampled(width, height))
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

    /// The mirror image: left and right swapped.
    pub fn flip_horizontal(&self) -> Self {
        Self::from_fn(self.width, self.height, |x, y| self.at(self.width - 1 - x, y))
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

/// For code that knows its sizes: what lies outside an image panics, as it does with a slice.
impl Image {
    /// A black image.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0.0; width * height * 3] }
    }

    /// Like [`Image::build`].
    pub(crate) fn from_fn(
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

    /// The pixel in column `x` of row `y`.
    pub(crate) fn at(&self, x: usize, y: usize) -> [f32; 3] {
        let row = self.row(y);
        [row[3 * x], row[3 * x + 1], row[3 * x + 2]]
    }

    /// Sets the pixel in column `x` of row `y`.
    #[cfg(test)]
    pub(crate) fn set_pixel(&mut self, x: usize, y: usize, pixel: [f32; 3]) {
        let row = &mut self.data[y * self.width * 3..][..self.width * 3];
        row[3 * x..3 * x + 3].copy_from_slice(&pixel);
    }

    /// Row `y`: `width * 3` values.
    pub(crate) fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width * 3..][..self.width * 3]
    }

    /// Like [`Image::crop`].
    pub(crate) fn part(&self, x: usize, y: usize, width: usize, height: usize) -> Self {
        let mut data = Vec::with_capacity(width * height * 3);
        for row in y..y + height {
            data.extend_from_slice(&self.row(row)[3 * x..3 * (x + width)]);
        }
        Self { width, height, data }
    }

    /// Grows the image to the right and downwards to `width` x `height` by reflection about its
    /// last column and row (which are not repeated), as often as it takes; a side of one pixel is
    /// repeated. A side that is already as long is left alone. An empty image stays empty.
    pub(crate) fn pad_reflect(&self, width: usize, height: usize) -> Self {
        if self.data.is_empty() {
            return self.clone();
        }
        self.padded_rows(width.max(self.width), 0..height.max(self.height))
    }

    /// These rows of [`Image::pad_reflect`] to a width of `width`. The image is not empty.
    pub(crate) fn padded_rows(&self, width: usize, rows: Range<usize>) -> Self {
        Self::from_fn(width, rows.len(), |x, y| {
            self.at(reflect(x, self.width), reflect(rows.start + y, self.height))
        })
    }
}

/// The number of values of an image of this size, if it can be counted.
fn values(width: usize, height: usize) -> Option<usize> {
    width.checked_mul(height)?.checked_mul(3)
}

/// An error if there is no memory for an image of this size.
fn require_memory(width: usize, height: usize) -> Result<()> {
    let bytes = values(width, height).and_then(|values| values.checked_mul(size_of::<f32>()));
    if bytes.is_some_and(can_allocate) {
        return Ok(());
    }
    let reason = format!("there is no memory for an image of {width}×{height} pixels");
    Err(Error::Config { reason })
}

/// Whether the system has this many bytes in one piece at the moment.
pub(crate) fn can_allocate(bytes: usize) -> bool {
    let mut buffer = Vec::<u8>::new();
    let reserved = buffer.try_reserve_exact(bytes).is_ok();
    // A compiler may leave out an allocation that nobody looks at, and say that it succeeded.
    std::hint::black_box(buffer.as_ptr());
    reserved
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
        let part = counting(4, 3).crop(1, 1, 2, 2).unwrap();
        assert_eq!((part.width, part.height), (2, 2));
        assert_eq!(red(&part), [5.0, 6.0, 9.0, 10.0]);
    }

    #[test]
    fn nothing_is_outside_an_image() {
        let image = counting(4, 3);
        assert_eq!(image.pixel(3, 2), Some([11.0, 0.0, 1.0]));
        assert_eq!([image.pixel(4, 0), image.pixel(0, 3), image.pixel(usize::MAX, 0)], [None; 3]);
        assert_eq!(image.crop(0, 0, 4, 3).as_ref(), Some(&image));
        for (x, y, width, height) in
            [(1, 0, 4, 3), (0, 1, 4, 3), (0, 0, 5, 1), (4, 3, 1, 1), (1, 1, usize::MAX, 1)]
        {
            assert_eq!(image.crop(x, y, width, height), None);
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let message = |image: Result<Image>| image.unwrap_err().to_string();
        assert_eq!(
            message(Image::from_data(4, 3, vec![0.0; 35])),
            "35 values do not make an image of 4×3 pixels"
        );
        assert!(Image::from_data(4, 3, vec![0.0; 37]).is_err());
        assert!(Image::from_data(usize::MAX, usize::MAX, vec![0.0; 3]).is_err());
        let black = |_, _| [0.0; 3];
        let no_memory = "there is no memory for an image of ";
        assert!(message(Image::build(usize::MAX, 2, black)).starts_with(no_memory));
        assert!(message(Image::build(1 << 40, 1 << 20, black)).starts_with(no_memory));
        assert!(message(counting(4, 3).resize(usize::MAX, 1)).starts_with(no_memory));
        assert!(message(counting(4, 3).resize(1 << 60, 1)).starts_with(no_memory));
        // Rows are resized before columns, so that in between it is as wide and as high.
        assert!(message(counting(1, 1 << 20).resize(1 << 25, 1)).starts_with(no_memory));
        assert!(counting(4, 3).resize(usize::MAX, 0).unwrap().data.is_empty());
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
        // A side of one pixel is repeated; a side that is long enough stays.
        assert_eq!(red(&counting(1, 1).pad_reflect(2, 2)), [0.0; 4]);
        assert_eq!(counting(4, 8).pad_reflect(3, 8), counting(4, 8));
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
