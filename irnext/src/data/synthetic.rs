//! Synthetic pairs, made on the fly: a clean photograph is the target, its degraded version the
//! input.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::Rng;

use super::files::{file_name, image_files};
use super::{CropSpec, PhotoCache, Source};
use crate::error::{Error, Result};
use crate::image::{Image, Photo};

/// Makes a pair (degraded, clean) of a photograph, both of its size; every random choice comes from
/// the generator.
pub type MakePair = Arc<dyn Fn(Image, &mut Rng) -> (Image, Image) + Send + Sync>;

/// The generator's seed and stream for [`Source::full`]: the same in every run, so that scores can
/// be compared.
const FULL_SEED: u64 = 0;
const FULL_STREAM: u32 = u32::from_be_bytes(*b"full");

/// Clean photographs and a way to make pairs of them.
pub struct Synthetic {
    files: Vec<PathBuf>,
    make_pair: MakePair,
    cache: Arc<PhotoCache>,
    full_side: usize,
}

impl Synthetic {
    /// The photographs in `folder` (not in its sub-folders), in the order of their names. Fails if
    /// there are none.
    pub fn open(folder: &Path, make_pair: MakePair, cache: Arc<PhotoCache>) -> Result<Self> {
        let files = image_files(folder)?;
        if files.is_empty() {
            return Err(Error::data(folder, "contains no images"));
        }
        Ok(Self::from_files(files, make_pair, cache))
    }

    /// These photographs, in this order.
    pub fn from_files(files: Vec<PathBuf>, make_pair: MakePair, cache: Arc<PhotoCache>) -> Self {
        Self { files, make_pair, cache, full_side: 512 }
    }

    /// Limits the sides of the pairs of [`Source::full`] to `side` pixels; the default is 512.
    pub fn with_full_side(mut self, side: usize) -> Self {
        self.full_side = side.max(1);
        self
    }

    /// (degraded, clean), provided that both have the size of the photograph.
    fn pair(&self, index: usize, photograph: Image, rng: &mut Rng) -> Result<(Image, Image)> {
        let (width, height) = (photograph.width, photograph.height);
        let (degraded, clean) = (self.make_pair)(photograph, rng);
        for image in [&degraded, &clean] {
            if (image.width, image.height) != (width, height) {
                let reason = format!(
                    "the degradation made {}x{} pixels of {width}x{height}",
                    image.width, image.height
                );
                return Err(Error::image(&self.files[index], reason));
            }
        }
        Ok((degraded, clean))
    }
}

impl Source for Synthetic {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, index: usize) -> String {
        file_name(&self.files[index])
    }

    fn size(&self, index: usize) -> Result<(usize, usize)> {
        Photo::size(&self.files[index])
    }

    /// Degrades the crop, not the photograph, since the cost of a degradation grows with the size.
    fn sample(&self, index: usize, rng: &mut Rng, crop: &CropSpec) -> Result<(Image, Image)> {
        let pixels = self.cache.read(&self.files[index])?;
        let window = crop.window(pixels.width, pixels.height, rng);
        self.pair(index, crop.cut(&pixels, &window), rng)
    }

    /// The center of the photograph, degraded with draws that depend on `index` alone.
    fn full(&self, index: usize) -> Result<(Image, Image)> {
        let pixels = self.cache.read(&self.files[index])?;
        let width = pixels.width.min(self.full_side);
        let height = pixels.height.min(self.full_side);
        let (x, y) = ((pixels.width - width) / 2, (pixels.height - height) / 2);
        let clean = pixels.part(x, y, width, height);
        self.pair(index, clean, &mut Rng::at(FULL_SEED, FULL_STREAM, index as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Photo;

    fn noise() -> MakePair {
        Arc::new(|clean, rng| {
            let mut image = clean.clone();
            for value in &mut image.data {
                *value += rng.normal() as f32;
            }
            (image, clean)
        })
    }

    fn photographs(sizes: &[(usize, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (i, &(width, height)) in sizes.iter().enumerate() {
            let image =
                Image::from_fn(width, height, |x, y| [x as f32 / 255.0, y as f32 / 255.0, 0.0]);
            Photo::new(image).write(folder.path().join(format!("{i}.png"))).unwrap();
        }
        folder
    }

    #[test]
    fn the_target_is_the_clean_crop_and_the_input_what_was_made_of_it() {
        let folder = photographs(&[(20, 30)]);
        let negative: MakePair = Arc::new(|clean, _| {
            let negative = |x, y| clean.at(x, y).map(|v| 1.0 - v);
            (Image::from_fn(clean.width, clean.height, negative), clean)
        });
        let source = Synthetic::open(folder.path(), negative, PhotoCache::new(0)).unwrap();
        assert_eq!((source.len(), source.name(0)), (1, "0.png".into()));
        let (input, target) = source.sample(0, &mut Rng::new(9), &CropSpec::square(8)).unwrap();
        assert_eq!((target.width, target.height), (8, 8));
        for (a, b) in input.data.iter().zip(&target.data) {
            assert_eq!(*a, 1.0 - b);
        }
    }

    #[test]
    fn the_full_view_is_the_same_center_every_time() {
        let folder = photographs(&[(20, 30), (20, 30), (5, 6)]);
        let open = || Synthetic::open(folder.path(), noise(), PhotoCache::new(1 << 20)).unwrap();
        let source = open().with_full_side(10);
        let (input, target) = source.full(0).unwrap();
        assert_eq!((target.width, target.height), (10, 10));
        assert_eq!(target.at(0, 0), [5.0 / 255.0, 10.0 / 255.0, 0.0]);
        assert_eq!(open().with_full_side(10).full(0).unwrap().0, input);
        assert_ne!(source.full(1).unwrap().0, input, "another photograph, other draws");
        let small = source.full(2).unwrap().1;
        assert_eq!((small.width, small.height), (5, 6));
    }

    #[test]
    fn a_degradation_that_changes_the_size_is_an_error() {
        let folder = photographs(&[(8, 8)]);
        let halve_input: MakePair = Arc::new(|clean, _| (clean.shrink(2), clean));
        let halve_target: MakePair = Arc::new(|clean, _| (clean.clone(), clean.shrink(2)));
        for halve in [halve_input, halve_target] {
            let source = Synthetic::open(folder.path(), halve, PhotoCache::new(0)).unwrap();
            let error = source.full(0).unwrap_err().to_string();
            assert!(error.contains("0.png") && error.contains("4x4"), "{error}");
        }
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Synthetic::open(folder.path(), noise(), PhotoCache::new(0)).is_err());
    }
}
