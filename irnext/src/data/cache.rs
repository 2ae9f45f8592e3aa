//! Decoded photographs kept in memory, since decoding one costs more than cropping a training
//! sample.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::image::{Photo, Pixels};

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
        let pixels = Arc::new(Photo::read(path)?.pixels);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Depth, Image};

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
            let decoded = Photo::read(&path).unwrap().image();
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
