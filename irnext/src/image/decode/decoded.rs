//! The common part of the decoders of all formats: their result, and the check of its size.

use crate::image::metadata::Metadata;
use crate::image::photo::Limits;
use crate::image::profile::chunks::Chunk;
use crate::image::{FileKind, Note, SourceFile};
use ::image::DynamicImage;

/// Errors are plain text.
pub(super) type Result<T> = std::result::Result<T, String>;

/// The result of a format's decoder.
pub(super) struct Decoded {
    pub pixels: DynamicImage,
    /// As in EXIF, 1 to 8.
    pub orientation: Option<u8>,
    pub icc: Option<Vec<u8>>,
    /// What a PNG file says about its colors.
    pub chunks: Vec<Chunk>,
    pub metadata: Metadata,
    pub source: SourceFile,
    pub notes: Vec<Note>,
}

impl Decoded {
    pub fn new(pixels: DynamicImage, source: SourceFile) -> Self {
        let (icc, metadata, notes) = (None, Metadata::default(), Vec::new());
        let chunks = Vec::new();
        Self { pixels, orientation: None, icc, chunks, metadata, source, notes }
    }
}

/// The refusal of a file that ends early.
pub(super) fn truncated(kind: FileKind) -> String {
    format!("the file is truncated: the rest of the {kind} is missing. Copy or download it again")
}

/// The refusal of a damaged file.
pub(super) fn damaged(kind: FileKind) -> String {
    format!("a damaged {kind}, of which no picture can be made. Copy or download it again")
}

pub(super) fn check_size((width, height): (u32, u32), limits: &Limits) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(format!("the image has no pixels ({width}x{height})"));
    }
    if width.max(height) > limits.max_side || pixels > limits.max_pixels {
        return Err(format!(
            "the image is too large: {width}x{height}; up to {} pixels a side and {} megapixels \
             are read",
            limits.max_side,
            limits.max_pixels as f64 / 1e6
        ));
    }
    Ok(())
}
