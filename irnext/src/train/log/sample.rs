//! A validation pair as a picture.

use crate::data::Source;
use crate::error::Result;
use crate::image::Image;
use serde::{Deserialize, Serialize};

/// The number of validation pairs that are shown.
pub const SHOWN: usize = 3;

/// The longer side of each of the three images, pixels. They fit side by side on a screen, and the
/// log of a long run stays small.
const SIDE: usize = 320;

/// The white gap between them, pixels.
const GAP: usize = 4;

/// A validation pair as a picture.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "EncodedPicture", into = "EncodedPicture")]
pub struct ValidationPicture {
    /// The pair.
    pub name: String,
    /// From left to right: the degraded image, the restored one, the ground truth.
    pub image: Image,
}

/// A picture encoded for another process: as bits, since JSON has no NaN.
#[derive(Serialize, Deserialize)]
struct EncodedPicture {
    name: String,
    width: usize,
    height: usize,
    data: Vec<u32>,
}

impl From<ValidationPicture> for EncodedPicture {
    fn from(
        ValidationPicture { name, image: Image { width, height, data } }: ValidationPicture,
    ) -> Self {
        Self { name, width, height, data: data.into_iter().map(f32::to_bits).collect() }
    }
}

impl From<EncodedPicture> for ValidationPicture {
    fn from(EncodedPicture { name, width, height, data }: EncodedPicture) -> Self {
        Self {
            name,
            image: Image { width, height, data: data.into_iter().map(f32::from_bits).collect() },
        }
    }
}

impl ValidationPicture {
    /// The picture of pair `index` of `pairs`, whose degraded image was restored to `restored`.
    pub fn new(pairs: &dyn Source, index: usize, restored: &Image) -> Result<Self> {
        let (input, target) = pairs.full(index)?;
        Ok(Self { name: pairs.name(index), image: side_by_side([&input, restored, &target]) })
    }
}

/// The three, shrunk to the size of the first if that is not larger than [`SIDE`], with a gap in
/// between.
fn side_by_side(images: [&Image; 3]) -> Image {
    let (width, height) = (images[0].width, images[0].height);
    let ratio = (SIDE as f64 / width.max(height) as f64).min(1.0);
    let shrunk = |side: usize| ((side as f64 * ratio).round() as usize).max(1);
    let (width, height) = (shrunk(width), shrunk(height));
    let images = images.map(|image| image.resampled(width, height));
    Image::from_fn(3 * width + 2 * GAP, height, |x, y| {
        let (which, x) = (x / (width + GAP), x % (width + GAP));
        if x < width { images[which].at(x, y) } else { [1.0; 3] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_stand_in_order_and_keep_their_proportions() {
        let gray = |level: f32| Image::from_fn(640, 160, |_, _| [level; 3]);
        let image = side_by_side([&gray(0.2), &gray(0.5), &gray(0.8)]);
        assert_eq!((image.width, image.height), (3 * 320 + 2 * 4, 80));
        for (x, level) in [(160, 0.2), (322, 1.0), (484, 0.5), (808, 0.8)] {
            assert!((image.at(x, 40)[0] - level).abs() < 1e-5, "{x}");
        }
        // Small ones are left alone.
        assert_eq!(
            side_by_side([&Image::new(1, 7), &Image::new(1, 7), &Image::new(1, 7)]).height,
            7
        );
    }
}
