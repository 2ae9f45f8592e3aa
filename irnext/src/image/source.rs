//! A photo's record of the file that it came from, so that the next one can be written alike.

use super::FileKind;

/// The file that a photo was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its format.
    pub kind: FileKind,
    /// Whether its pixels were compressed with loss.
    pub lossy: bool,
    /// How it was compressed, if it is a JPEG.
    pub jpeg: Option<JpegCoding>,
    /// How it was compressed, if it is a TIFF.
    pub tiff: Option<TiffCompression>,
}

impl SourceFile {
    /// A file of this format, of which nothing else is known.
    pub fn new(kind: FileKind) -> Self {
        Self { kind, lossy: false, jpeg: None, tiff: None }
    }
}

/// How a JPEG file was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegCoding {
    /// Its quality, 1 to 100, estimated from the quantization table.
    pub quality: u8,
    /// How many pixels across and down share one value of color.
    pub sampling: (u8, u8),
}

/// A compression of TIFF files that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TiffCompression {
    /// None.
    None,
    /// LZW.
    Lzw,
    /// Deflate.
    Deflate,
    /// PackBits.
    PackBits,
}
