//! The contents of an image file, and the limits on its size.

use super::{Image, Note};

/// The contents of an image file: the picture, upright, and the data that must survive beside it.
/// `io` reads and writes it.
#[derive(Clone, Debug)]
pub struct Photo {
    /// The picture. A gray file has its one channel in all three; alpha is not multiplied in.
    pub rgb: Image,
    /// Opacity of each pixel in reading order, 0 to 1, if the file has an alpha channel.
    pub alpha: Option<Vec<f32>>,
    /// Bits of a sample.
    pub depth: Depth,
    /// Whether the file has one channel of color. Such a photo is written as gray.
    pub gray: bool,
    /// The ICC color profile, where it describes `rgb` (that of a CMYK file does not, and is
    /// dropped).
    pub icc: Option<Vec<u8>>,
    /// What reading and restoring changed or left out.
    pub notes: Vec<Note>,
}

/// The bits per sample in the file; fewer than eight are widened to eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 0 to 255.
    Eight,
    /// 0 to 65535.
    Sixteen,
}

/// The largest image that is read. Checked against the file's header, before memory is taken for
/// the pixels.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels along either side.
    pub max_side: u32,
    /// Pixels altogether. One takes 12 bytes as [`Image`].
    pub max_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_side: 65_535, max_pixels: 200_000_000 }
    }
}
