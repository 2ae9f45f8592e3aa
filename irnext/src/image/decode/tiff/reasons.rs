//! The reasons why a TIFF file cannot be read, in plain words.

use ::tiff::tags::CompressionMethod;
use ::tiff::{TiffError, TiffUnsupportedError};

use super::super::decoded::{AGAIN, damaged};
use crate::image::FileKind;

pub(super) fn reason(error: TiffError) -> String {
    use std::io::ErrorKind::UnexpectedEof;
    match error {
        TiffError::IoError(error) if error.kind() == UnexpectedEof => cut(),
        TiffError::LimitsExceeded => "takes too much memory to decode".into(),
        TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(method)) => {
            rare(match method {
                CompressionMethod::Fax3 | CompressionMethod::Huffman => "a rare fax compression",
                _ => "a rare compression",
            })
        }
        TiffError::UnsupportedError(TiffUnsupportedError::UnknownInterpretation) => {
            rare("a rare color model")
        }
        TiffError::UnsupportedError(_) | TiffError::UsageError(_) => rare("a rare kind"),
        _ => damaged(FileKind::Tiff),
    }
}

/// The refusal of a file that ends early, or whose addresses lead nowhere.
pub(super) fn cut() -> String {
    format!("the file is truncated, or damaged. {AGAIN}")
}

/// The refusal of a sort of TIFF.
pub(super) fn rare(what: &str) -> String {
    format!(
        "a TIFF that cannot be read ({what}); open it in an image program and save it as PNG, or \
         as an ordinary TIFF of 8 or 16 bits"
    )
}
