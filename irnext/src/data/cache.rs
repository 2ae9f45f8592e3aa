//! Decoded photographs kept in memory, since decoding one costs more than cropping a training
//! sample.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::image::{Depth, Image, Photo};

/// Reads photographs and caches the first ones, up to a number of bytes. Threads and data sets may
/// share it.
///
/// Photographs are never replaced by newer ones: in a shuffled epoch all of them are equally far
/// from their next use, so the first ones are as good to cache as any.
#[derive(Debug)]
pub struct PhotoCache {
    budget: usize,
    kept: Mutex<CachedPhotos>,
}

#[derive(Debug, Default)]
struct CachedPhotos {
    bytes: usize,
    photos: HashMap<PathBuf, Arc<Pixels>>,
}

impl PhotoCache {
    /// A cache for `budget` bytes of pixels (3 bytes a pixel for 8-bit photographs). 0 caches
    /// nothing.
    pub fn new(budget: usize) -> Arc<Self> {
        Arc::new(Self { budget, kept: Mutex::default() })
    }

    /// The photograph in the file `path`, from the cache if possible. The error names the file.
    pub fn read(&self, path: &Path) -> Result<Arc<Pixels>> {
        if let Some(pixels) = self.lock().photos.get(path) {
            return Ok(Arc::clone(pixels));
        }
        // Decoded outside the lock: it is cheaper if two threads occasionally decode the same file
        // than if they wait.
        let pixels = Arc::new(Pixels::of(&Photo::read(path)?));
        let mut kept = self.lock();
        let bytes = pixels.bytes();
        if kept.bytes.saturating_add(bytes) <= self.budget && !kept.photos.contains_key(path) {
            kept.bytes += bytes;
            kept.photos.insert(path.to_owned(), Arc::clone(&pixels));
        }
        Ok(pixels)
    }

    /// The number of cached bytes.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CachedPhotos> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The colors of a photograph in the bit depth of its file: a quarter or half of the size of an
/// [`Image`].
#[derive(Clone, Debug)]
pub struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    samples: Samples,
}

/// `height * width * 3` values.
#[derive(Clone, Debug)]
enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Pixels {
    /// The colors of `photo`, without alpha.
    pub fn of(photo: &Photo) -> Self {
        let values = photo.rgb.data.iter();
        let samples = match photo.depth {
            Depth::Eight => Samples::Eight(values.map(|v| (v * 255.0).round() as u8).collect()),
            Depth::Sixteen => {
                Samples::Sixteen(values.map(|v| (v * 65535.0).round() as u16).collect())
            }
        };
        Self { width: photo.rgb.width, height: photo.rgb.height, samples }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The whole photograph.
    pub fn image(&self) -> Image {
        self.part(0, 0, self.width, self.height)
    }

    /// The `width` x `height` part whose top left pixel is (`x`, `y`), inside the photograph.
    pub(super) fn part(&self, x: usize, y: usize, width: usize, height: usize) -> Image {
        let mut data = Vec::with_capacity(width * height * 3);
        for row in y..y + height {
            let range = 3 * (row * self.width + x)..3 * (row * self.width + x + width);
            // The same division as in decoding, so that the values are the same to the last bit.
            match &self.samples {
                Samples::Eight(s) => data.extend(s[range].iter().map(|&v| f32::from(v) / 255.0)),
                Samples::Sixteen(s) => {
                    data.extend(s[range].iter().map(|&v| f32::from(v) / 65535.0));
                }
            }
        }
        Image { width, height, data }
    }

    fn bytes(&self) -> usize {
        match &self.samples {
            Samples::Eight(samples) => samples.len(),
            Samples::Sixteen(samples) => 2 * samples.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: usize, height: usize) -> Image {
        Image::from_fn(width, height, |x, y| {
            [x as f32 / 255.0, y as f32 / 255.0, (x * y) as f32 / 255.0]
        })
    }

    #[test]
    fn cached_pixels_equal_the_decoded_image() {
        let folder = tempfile::tempdir().unwrap();
        for depth in [Depth::Eight, Depth::Sixteen] {
            let path = folder.path().join(format!("{depth:?}.png"));
            let mut photo = Photo::new(gradient(7, 5));
            photo.depth = depth;
            photo.write(&path).unwrap();
            let decoded = Photo::read(&path).unwrap().rgb;
            let pixels = PhotoCache::new(1000).read(&path).unwrap();
            assert_eq!(pixels.image(), decoded);
            assert_eq!(pixels.part(2, 1, 3, 4), decoded.part(2, 1, 3, 4));
        }
    }

    #[test]
    fn keeps_no_more_than_its_budget() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        for name in ["a.png", "b.png"] {
            Photo::new(gradient(10, 10)).write(path(name)).unwrap();
        }
        let cache = PhotoCache::new(400);
        let first = cache.read(&path("a.png")).unwrap();
        cache.read(&path("b.png")).unwrap();
        assert_eq!(cache.bytes(), 300);
        let again = cache.read(&path("a.png")).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "the first stays");
        assert!(cache.read(&path("missing.png")).is_err());
    }
}
