//! The common part of the decoders of all formats: their result, and the check of its size.

use crate::image::metadata::Metadata;
use crate::image::photo::Limits;
use crate::image::profile::chunks::Chunk;
use crate::image::{FileKind, Note, SourceFile};
use ::image::{DynamicImage, ImageBuffer, Pixel};

/// Errors are plain text.
pub(super) type Result<T> = std::result::Result<T, String>;

/// The end of the refusals of files that are truncated or damaged.
pub(super) const AGAIN: &str = "Copy or download it again";

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
    format!("the file is truncated: the rest of the {kind} is missing. {AGAIN}")
}

/// The refusal of a file of which only this percentage is there.
pub(super) fn only(percent: u8) -> String {
    format!("the file is truncated: only {percent} % of the picture is there. {AGAIN}")
}

/// The refusal of a file that has its end, and of which only this percentage can be read.
pub(super) fn only_readable(percent: u8) -> String {
    format!("the file is damaged: only {percent} % of the picture can be read. {AGAIN}")
}

/// The refusal of a damaged file.
pub(super) fn damaged(kind: FileKind) -> String {
    format!("a damaged {kind}, of which no picture can be made. {AGAIN}")
}

/// The refusal of a file that is whole, but of a kind that the decoder does not know.
pub(super) fn rare(kind: FileKind) -> String {
    let article = if kind == FileKind::Avif { "an" } else { "a" };
    format!(
        "{article} {kind} of a rare kind, which cannot be read; open it in an image program and \
         save it as an ordinary PNG"
    )
}

/// A part of a picture, inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// Makes a part of the picture, which the file lacks, gray and opaque.
pub(super) fn gray_out(pixels: &mut DynamicImage, area: Area) {
    use DynamicImage as Image;
    match pixels {
        Image::ImageLuma8(image) => fill(image, area, &[1 << 7]),
        Image::ImageLumaA8(image) => fill(image, area, &[1 << 7, u8::MAX]),
        Image::ImageRgb8(image) => fill(image, area, &[1 << 7; 3]),
        Image::ImageRgba8(image) => fill(image, area, &[1 << 7, 1 << 7, 1 << 7, u8::MAX]),
        Image::ImageLuma16(image) => fill(image, area, &[1 << 15]),
        Image::ImageLumaA16(image) => fill(image, area, &[1 << 15, u16::MAX]),
        Image::ImageRgb16(image) => fill(image, area, &[1 << 15; 3]),
        Image::ImageRgba16(image) => fill(image, area, &[1 << 15, 1 << 15, 1 << 15, u16::MAX]),
        _ => {}
    }
}

fn fill<P: Pixel>(
    image: &mut ImageBuffer<P, Vec<P::Subpixel>>,
    area: Area,
    samples: &[P::Subpixel],
) {
    let row = image.width() as usize * samples.len();
    for line in image.chunks_exact_mut(row.max(1)).skip(area.y).take(area.height) {
        let part = &mut line[area.x * samples.len()..][..area.width * samples.len()];
        part.chunks_exact_mut(samples.len()).for_each(|pixel| pixel.copy_from_slice(samples));
    }
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
