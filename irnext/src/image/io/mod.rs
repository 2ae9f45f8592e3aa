//! Image files: reading and writing them.
//!
//! The contents of a file decide its type, not its name. If the file cannot be used (missing,
//! empty, truncated, of another type, too large for memory), the error names the file and the
//! cause.

#[cfg(all(test, feature = "avif"))]
mod avif;
#[cfg(all(test, any(feature = "avif", feature = "heic")))]
mod compare;
#[cfg(all(test, feature = "heic"))]
mod heic;
#[cfg(test)]
mod jxl;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod odd;
#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use ::image::ImageFormat;

use super::Image;
use super::decode::{self, guarded};
use super::encode::{self, Format, WriteOptions};
use super::kind::FileKind;
use super::note::Note;
use super::photo::{Limits, Photo};
use crate::error::{Error, Result};

impl Photo {
    /// Reads a PNG, JPEG, WebP, BMP, TIFF, GIF, PNM, JPEG XL, AVIF (feature `avif`) or HEIC
    /// (feature `heic`) file within the default [`Limits`], turns it upright and converts its
    /// colors to sRGB. Of a file with several images, such as an animation, the first.
    /// [`Photo::notes`] say so, and list losses and damage.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_within(path, &Limits::default())
    }

    /// [`read`](Self::read) with other limits.
    pub fn read_within(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        let bytes = contents(path, limits)?;
        Self::from_bytes(&bytes, limits).map_err(|reason| Error::image(path, reason))
    }

    /// Reads the bytes of a file, or says why it cannot.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> std::result::Result<Self, String> {
        decode::photo(bytes, limits)
    }

    /// The width and height of the upright image, from the file's header: quick, and what
    /// [`read`](Self::read) would refuse for its type or size is refused here.
    pub fn size(path: impl AsRef<Path>) -> Result<(usize, usize)> {
        let path = path.as_ref();
        let (file, kind) = open(path)?;
        decode::size(BufReader::new(file), kind, &Limits::default())
            .map_err(|reason| Error::image(path, reason))
    }

    /// Like [`size`](Self::size), but of the bytes of a file; or the reason why there is none.
    pub fn size_of_bytes(bytes: &[u8]) -> std::result::Result<(usize, usize), String> {
        decode::size(Cursor::new(bytes), FileKind::of(bytes), &Limits::default())
    }

    /// Writes the photo in the format that the extension of `path` names, as close to the file it
    /// came from as that format can be, and returns the losses. See
    /// [`write_with`](Self::write_with).
    pub fn write(&self, path: impl AsRef<Path>) -> Result<Vec<Note>> {
        self.write_with(path, &WriteOptions::default())
    }

    /// Writes the photo, and returns the losses of the format. Values are limited to [0, 1] and
    /// rounded to the nearest. A JPEG that came from a JPEG is compressed alike, but at a quality
    /// of at least 90; others at 95 without chroma sub-sampling. WebP is written without loss, TIFF
    /// with the compression of the TIFF file it came from. `path` is replaced only once the new
    /// file is whole and on the disk.
    pub fn write_with(&self, path: impl AsRef<Path>, options: &WriteOptions) -> Result<Vec<Note>> {
        let path = path.as_ref();
        let written = self.to_bytes(Format::of(path)?, options);
        let (bytes, notes) = written.map_err(|reason| Error::image(path, reason))?;
        nn::write_atomically(path, &bytes).map_err(Error::io(path))?;
        Ok(notes)
    }

    /// The bytes of a file, and the losses of the format; or the reason why there is none.
    pub fn to_bytes(
        &self,
        format: Format,
        options: &WriteOptions,
    ) -> std::result::Result<(Vec<u8>, Vec<Note>), String> {
        self.check().map_err(|error| error.to_string())?;
        encode::photo(self, format, options)
    }

    /// The bytes of a JPEG file of the usual quality, or the reason why it cannot be made.
    pub(crate) fn to_jpeg(&self) -> std::result::Result<Vec<u8>, String> {
        encode::jpeg(self, encode::QUALITY)
    }

    /// The picture after JPEG compression of this quality, 1 to 100, or the reason why it cannot
    /// be.
    pub(crate) fn through_jpeg(&self, quality: u8) -> std::result::Result<Image, String> {
        let bytes = encode::jpeg(self, quality)?;
        guarded(|| {
            let pixels = ::image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg);
            let pixels = pixels.map_err(|error| error.to_string())?.into_rgb8();
            let (width, height) = (pixels.width() as usize, pixels.height() as usize);
            let data = pixels.into_raw().into_iter().map(|v| f32::from(v) / 255.0).collect();
            Ok(Image { width, height, data })
        })
    }

    /// Whether the extension of `path` names a format that [`write`](Self::write) can make, so that
    /// this is known before the work: png, tif and tiff, pam and pnm hold everything (16 bits,
    /// alpha, gray; pam and pnm neither profile nor metadata); webp has no 16 bits; bmp neither
    /// these nor profile and metadata; jpg and jpeg no 16 bits and no alpha; ppm no alpha; pgm
    /// holds gray photos without alpha only. Anything that a format cannot hold is left out, and
    /// noted.
    pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
        Format::of(path.as_ref()).map(|_| ())
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

/// Opens an image file and detects its kind from its first bytes.
fn open(path: &Path) -> Result<(File, FileKind)> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_dir() {
        return Err(Error::image(path, "is a folder, not an image file"));
    }
    // A pipe or a device may never end.
    if !metadata.is_file() {
        return Err(Error::image(path, "is not a regular file"));
    }
    let mut file = File::open(path).map_err(Error::io(path))?;
    let kind = FileKind::read(&mut file).map_err(Error::io(path))?;
    if let Some(refusal) = kind.refusal() {
        return Err(Error::image(path, refusal));
    }
    file.rewind().map_err(Error::io(path))?;
    Ok((file, kind))
}
