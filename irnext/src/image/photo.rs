//! The contents of an image file, and the limits on its size.

use super::metadata::Metadata;
use super::{Image, Note, PhotoProfile, Pixels, SourceFile};
use crate::error::{Error, Result};

/// The contents of an image file: the picture, upright, and the data that must survive beside it.
/// `io` reads and writes it.
#[derive(Clone, Debug)]
pub struct Photo {
    /// The picture, in sRGB whatever the profile. A gray file has its one channel in all three;
    /// alpha is not multiplied in.
    pub pixels: Pixels,
    /// Opacity of each pixel in reading order, 0 to 1, if the file has an alpha channel.
    pub alpha: Option<Vec<f32>>,
    /// Bits of a sample.
    pub depth: Depth,
    /// Whether the file has one channel of color. Such a photo is written as gray.
    pub gray: bool,
    /// The ICC color profile, which the file is written with again. None for CMYK files, whose
    /// profile does not describe `rgb`.
    pub profile: Option<PhotoProfile>,
    /// The metadata of the file.
    pub metadata: Metadata,
    /// The file that it was read from.
    pub source: Option<SourceFile>,
    /// What reading and restoring changed or left out.
    pub notes: Vec<Note>,
}

impl Photo {
    /// An ordinary photo: eight bits, color, opaque, sRGB.
    pub fn new(image: Image) -> Self {
        Self::of(image.into())
    }

    /// Like [`Self::new`].
    pub(crate) fn of(pixels: Pixels) -> Self {
        Self {
            pixels,
            alpha: None,
            depth: Depth::Eight,
            gray: false,
            profile: None,
            metadata: Metadata::default(),
            source: None,
            notes: Vec::new(),
        }
    }

    /// Everything but the pixels' colors.
    pub(crate) fn without_pixels(&self) -> Self {
        Self {
            pixels: Image::new(0, 0).into(),
            alpha: self.alpha.clone(),
            profile: self.profile.clone(),
            metadata: self.metadata.clone(),
            notes: self.notes.clone(),
            ..*self
        }
    }

    /// An error unless opacities, if there are any, are there for each pixel, and no others.
    pub(crate) fn check(&self) -> Result<()> {
        let pixels = self.pixels.width * self.pixels.height;
        match &self.alpha {
            Some(alpha) if alpha.len() != pixels => {
                let opacities = alpha.len();
                let reason = format!("a photo of {pixels} pixels has {opacities} opacities");
                Err(Error::Config { reason })
            }
            _ => Ok(()),
        }
    }

    /// The picture in f32.
    pub fn image(&self) -> Image {
        self.pixels.image()
    }

    /// Width and height.
    pub(crate) fn sides(&self) -> (usize, usize) {
        (self.pixels.width, self.pixels.height)
    }

    /// Whether a pixel is not opaque.
    pub fn is_transparent(&self) -> bool {
        self.alpha.as_ref().is_some_and(|alpha| alpha.iter().any(|&opacity| opacity < 1.0))
    }

    /// Whether the visible part of the picture has no color, within the rounding of 8 bits,
    /// whichever way it is stored.
    pub fn is_colorless(&self) -> bool {
        const STEP: f32 = 1.001 / 255.0;
        let is_hidden = |i: usize| self.alpha.as_ref().is_some_and(|alpha| alpha[i] == 0.0);
        self.gray
            || self.pixels.iter().enumerate().all(|(i, [r, g, b])| {
                let (low, high) = (r.min(g).min(b), r.max(g).max(b));
                high - low <= STEP || is_hidden(i)
            })
    }

    /// The usual extension of a file like the one that this photo was read from, in a format that
    /// can be written: png for those that cannot, or jpg if they were compressed with loss.
    pub fn output_extension(&self) -> &'static str {
        match self.source {
            Some(source) if source.lossy => source.kind.extension().unwrap_or("jpg"),
            Some(source) => source.kind.extension().unwrap_or("png"),
            None => "png",
        }
    }
}

/// The bits per sample in the file; fewer than eight are widened to eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 0 to 255.
    Eight,
    /// 0 to 65535.
    Sixteen,
}

impl Depth {
    /// As a number.
    pub fn bits(self) -> u8 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// The largest image that is read, checked against the file's header before memory is taken for
/// the pixels; and how much of it must be there.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels along either side.
    pub max_side: u32,
    /// Pixels altogether. One takes 12 bytes as [`Image`].
    pub max_pixels: u64,
    /// Whether to read the existing part of a truncated file.
    pub keep_going: bool,
    /// The option of a program that sets `keep_going`. The refusal of a file that could be read
    /// with it names it.
    pub keep_going_option: Option<&'static str>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_side: 65_535,
            max_pixels: 200_000_000,
            keep_going: false,
            keep_going_option: None,
        }
    }
}
