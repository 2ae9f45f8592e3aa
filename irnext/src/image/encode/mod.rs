//! From a [`Photo`] to the bytes of an image file.

mod format;
mod jpeg;
mod pnm;
mod samples;
mod tiff;

use std::io::Cursor;

use ::image::codecs::bmp::BmpEncoder;
use ::image::codecs::png::PngEncoder;
use ::image::codecs::webp::WebPEncoder;
use ::image::{ExtendedColorType, ImageEncoder};

use super::metadata::{Metadata, containers};
use super::{Depth, Note, Photo};
pub use format::Format;
pub(super) use jpeg::plain as jpeg;
use samples::Samples;

/// How a photo is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The quality of a JPEG file, 1 to 100. If none, that of the JPEG file that the photo was read
    /// from, but at least 90; and 95 for other photos.
    pub quality: Option<u8>,
    /// Leaves out the metadata. The color profile stays, as the colors depend on it.
    pub strip: bool,
    /// The format; if none, the extension of the file's name decides.
    pub format: Option<Format>,
}

/// The whole file, and what it could not hold.
pub(super) fn photo(
    photo: &Photo,
    format: Format,
    options: &WriteOptions,
) -> Result<(Vec<u8>, Vec<Note>), String> {
    let mut notes = Vec::new();
    let samples = Samples::new(photo, format, &mut notes)?;
    let empty = Metadata::default();
    let metadata = if options.strip { &empty } else { &photo.metadata };
    let mut file = Cursor::new(Vec::new());
    let bytes = match format {
        Format::Png => {
            write(PngEncoder::new(&mut file), &samples)?;
            containers::into_png(file.into_inner(), metadata, &mut notes)?
        }
        Format::WebP => {
            write(WebPEncoder::new_lossless(&mut file), &samples)?;
            containers::into_webp(file.into_inner(), metadata, &mut notes)?
        }
        Format::Jpeg => jpeg::encode(&samples, photo.source, options, metadata, &mut notes)?,
        Format::Tiff => tiff::encode(&samples, photo.source, metadata, &mut notes)?,
        Format::Bmp => {
            write(BmpEncoder::new(&mut file), &samples)?;
            leave_out(metadata, format, &mut notes);
            file.into_inner()
        }
        Format::Pgm | Format::Ppm | Format::Pam | Format::Pnm => {
            leave_out(metadata, format, &mut notes);
            pnm::encode(&samples, format == Format::Pam)
        }
    };
    Ok((bytes, notes))
}

/// Notes the metadata that a format without a place for any cannot hold.
fn leave_out(metadata: &Metadata, format: Format, notes: &mut Vec<Note>) {
    if *metadata != Metadata::default() {
        notes.push(Note::LeftOut { what: "metadata", kind: format.kind() });
    }
}

fn write(mut encoder: impl ImageEncoder, samples: &Samples) -> Result<(), String> {
    use ExtendedColorType as Color;
    let color = match (samples.depth, samples.channels) {
        (Depth::Eight, 1) => Color::L8,
        (Depth::Eight, 2) => Color::La8,
        (Depth::Eight, 3) => Color::Rgb8,
        (Depth::Eight, _) => Color::Rgba8,
        (Depth::Sixteen, 1) => Color::L16,
        (Depth::Sixteen, 2) => Color::La16,
        (Depth::Sixteen, 3) => Color::Rgb16,
        (Depth::Sixteen, _) => Color::Rgba16,
    };
    if let Some(icc) = &samples.icc {
        encoder.set_icc_profile(icc.clone()).map_err(|error| error.to_string())?;
    }
    encoder
        .write_image(&samples.bytes, samples.width, samples.height, color)
        .map_err(|error| format!("cannot write: {error}"))
}
