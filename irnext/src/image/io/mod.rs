//! Image files: reading and writing them.
//!
//! The contents of a file decide its type, not its name. If the file cannot be used (missing,
//! empty, truncated, of another type, too large for memory), the error names the file and the
//! cause.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use ::image::ImageFormat;

use super::photo::{Depth, Limits, Photo};
use super::{Image, decode, encode};
use crate::error::{Error, Result};

impl Photo {
    /// An ordinary photo: eight bits, color, opaque, sRGB.
    pub fn new(rgb: Image) -> Self {
        Self { rgb, alpha: None, depth: Depth::Eight, gray: false, icc: None, notes: Vec::new() }
    }

    /// Reads a PNG, JPEG, WebP, BMP, TIFF or PNM file within the default [`Limits`], and turns it
    /// upright (EXIF orientation). Of a file with several images, the first.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_within(path, &Limits::default())
    }

    /// [`read`](Self::read) with other limits.
    pub fn read_within(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        let bytes = contents(path, limits)?;
        decode::photo(&bytes, limits).map_err(|reason| Error::image(path, reason))
    }

    /// The width and height of the upright image, from the file's header: quick, and what
    /// [`read`](Self::read) would refuse for its type or size is refused here.
    pub fn size(path: impl AsRef<Path>) -> Result<(usize, usize)> {
        let path = path.as_ref();
        let (file, format) = open(path)?;
        decode::size(BufReader::new(file), format, &Limits::default())
            .map_err(|reason| Error::image(path, reason))
    }

    /// Writes the photo in the format that the extension of `path` names, as close to the file it
    /// came from as that format can be: see [`check_writable`](Self::check_writable). Values are
    /// limited to [0, 1] and rounded to the nearest; JPEG is written at quality 95 without chroma
    /// sub-sampling, WebP without loss. `path` is replaced only once the new file is whole and on
    /// the disk.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.to_bytes(path)?;
        nn::write_atomically(path, &bytes).map_err(Error::io(path))
    }

    /// Reads a photo from the bytes of an image file, as [`read`](Self::read) does; an error is the
    /// reason alone.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        decode::photo(bytes, &Limits::default())
    }

    /// The bytes of the file that [`write`](Self::write) would make of `path`.
    pub fn to_bytes(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        encode::photo(self, encode::Format::of(path)?).map_err(|reason| Error::image(path, reason))
    }

    /// The bytes of the JPEG file that [`write`](Self::write) would make, or the reason why it
    /// cannot.
    pub(crate) fn to_jpeg(&self) -> std::result::Result<Vec<u8>, String> {
        encode::photo(self, encode::Format::Jpeg)
    }

    /// The picture after JPEG compression of this quality, 1 to 100, or the reason why it cannot
    /// be.
    pub(crate) fn through_jpeg(&self, quality: u8) -> std::result::Result<Image, String> {
        decode::photo(&encode::jpeg(self, quality)?, &Limits::default()).map(|photo| photo.rgb)
    }

    /// Whether the extension of `path` names a format that [`write`](Self::write) can make, so that
    /// this is known before the work: png, tif and tiff, pam and pnm hold everything (16 bits,
    /// alpha, gray; pam and pnm no profile); webp has no 16 bits; bmp neither these nor a profile;
    /// jpg and jpeg no 16 bits and no alpha; ppm no alpha; pgm holds gray photos without alpha
    /// only. What a format cannot hold is left out.
    pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
        encode::Format::of(path.as_ref()).map(|_| ())
    }
}

/// The bytes of an image file. The first few are checked before the rest is read, in case a large
/// file is no image.
fn contents(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let (file, _) = open(path)?;
    // No format takes more than this for the most pixels that may be read.
    let largest = limits.max_pixels.saturating_mul(16).max(1 << 30);
    if file.metadata().map_err(Error::io(path))?.len() > largest {
        let reason = format!("is larger than {} MiB", largest >> 20);
        return Err(Error::image(path, reason));
    }
    let mut bytes = Vec::new();
    let result = file.take(largest).read_to_end(&mut bytes);
    result.map_err(Error::io(path))?;
    Ok(bytes)
}

/// Opens an image file and detects its format from its first bytes.
fn open(path: &Path) -> Result<(File, ImageFormat)> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_dir() {
        return Err(Error::image(path, "is a folder, not an image file"));
    }
    // A pipe or a device may never end.
    if !metadata.is_file() {
        return Err(Error::image(path, "is not a regular file"));
    }
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut head = Vec::new();
    let mut start = file.by_ref().take(decode::SIGNATURE_LEN);
    start.read_to_end(&mut head).map_err(Error::io(path))?;
    let format = decode::detect_format(&head).map_err(|reason| Error::image(path, reason))?;
    file.rewind().map_err(Error::io(path))?;
    Ok((file, format))
}
