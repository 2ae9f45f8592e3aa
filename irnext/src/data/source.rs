//! A set of images to train on or to score.

use super::crops::CropSpec;
use crate::error::Result;
use crate::image::Image;
use engine::Rng;

/// A set of images to make training samples from. Threads may share it.
pub trait Source: Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file name of image `index`, for messages and tables.
    fn name(&self, index: usize) -> String;

    /// The width and height of image `index`; from its file's header, where it is a file. The error
    /// names the file. Panics if `index` is not below `len()`.
    fn size(&self, index: usize) -> Result<(usize, usize)> {
        let (input, _) = self.full(index)?;
        Ok((input.width, input.height))
    }

    /// A training sample (input, target) made of image `index`, both of the size that `crop` names.
    /// Random choices are drawn from `rng` and from nowhere else. The error names the file. Panics
    /// if `index` is not below `len()`.
    fn sample(&self, index: usize, rng: &mut Rng, crop: &CropSpec) -> Result<(Image, Image)>;

    /// The pair (input, target) of image `index` that scores are computed on, the same at every
    /// call. The error names the file. Panics if `index` is not below `len()`.
    fn full(&self, index: usize) -> Result<(Image, Image)>;
}
