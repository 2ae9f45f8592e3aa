//! The formats that can be written.

use std::path::Path;

use crate::error::{Error, Result};
use crate::image::{Depth, FileKind, Photo};

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
    Bmp,
    Tiff,
    /// Portable gray map.
    Pgm,
    /// Portable pixel map.
    Ppm,
    /// Portable arbitrary map.
    Pam,
    /// Whichever of the three is the simplest that holds the photo.
    Pnm,
}

impl Format {
    /// The format that an extension names, in either case.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension.to_lowercase().as_str() {
            "png" => Self::Png,
            "jpg" | "jpeg" | "jpe" | "jfif" => Self::Jpeg,
            "webp" => Self::WebP,
            "bmp" | "dib" => Self::Bmp,
            "tif" | "tiff" => Self::Tiff,
            "pgm" => Self::Pgm,
            "ppm" => Self::Ppm,
            "pam" => Self::Pam,
            "pnm" => Self::Pnm,
            _ => return None,
        })
    }

    /// The format that the extension of `path` names.
    ///
    /// # Errors
    /// If it names none that can be written.
    pub fn of(path: &Path) -> Result<Self> {
        const WRITTEN: &str =
            "png, jpg, jpeg, webp, bmp, tif, tiff, ppm, pgm, pam and pnm can be written";
        let Some(extension) = path.extension() else {
            return Err(Error::image(path, format!("the name has no extension; {WRITTEN}")));
        };
        let extension = extension.to_string_lossy();
        Self::of_extension(&extension).ok_or_else(|| {
            let extension = extension.to_lowercase();
            Error::image(path, format!("cannot write \".{extension}\" files; {WRITTEN}"))
        })
    }

    /// The kind of file that it makes.
    pub fn kind(self) -> FileKind {
        match self {
            Self::Png => FileKind::Png,
            Self::Jpeg => FileKind::Jpeg,
            Self::WebP => FileKind::WebP,
            Self::Bmp => FileKind::Bmp,
            Self::Tiff => FileKind::Tiff,
            Self::Pgm | Self::Ppm | Self::Pam | Self::Pnm => FileKind::Pnm,
        }
    }

    /// Whether it holds opacity.
    pub fn has_alpha(self) -> bool {
        !matches!(self, Self::Jpeg | Self::Pgm | Self::Ppm)
    }

    /// Whether it holds a color profile.
    pub fn has_profile(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::WebP | Self::Tiff)
    }

    /// The depth in which it holds `photo`.
    pub(super) fn depth(self, photo: &Photo) -> Depth {
        match self {
            Self::Jpeg | Self::WebP | Self::Bmp => Depth::Eight,
            _ => photo.depth,
        }
    }

    /// Whether it holds `photo` as gray.
    pub(super) fn is_gray(self, photo: &Photo) -> bool {
        photo.gray
            && match self {
                Self::Ppm | Self::WebP => false,
                Self::Bmp => photo.alpha.is_none(),
                _ => true,
            }
    }
}
