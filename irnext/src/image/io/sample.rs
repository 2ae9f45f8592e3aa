//! The files in `samples/`, for tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::image::{Limits, Photo};

/// The place of a sample.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/image/io/samples").join(name)
}

/// Its bytes.
pub(in crate::image) fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

/// The photo in it.
pub(super) fn photo(name: &str) -> Photo {
    Photo::from_bytes(&bytes(name), &Limits::default()).unwrap()
}
