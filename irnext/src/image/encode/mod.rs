//! From a [`Photo`] to the bytes of an image file.

mod format;
mod jpeg;
mod options;
mod pnm;
mod samples;
mod tiff;

use std::io::Cursor;

use ::image::codecs::bmp::BmpEncoder;
use ::image::codecs::png::PngEncoder;
use ::image::codecs::webp::WebPEncoder;

use super::metadata::{Metadata, containers, png};
use super::{Note, Photo};
pub use format::Format;
pub(super) use jpeg::{QUALITY, plain as jpeg};
pub use options::WriteOptions;
use samples::FileSamples;

/// The whole file, and the losses of its format.
pub(super) fn photo(
    photo: &Photo,
    format: Format,
    options: &WriteOptions,
) -> Result<(Vec<u8>, Vec<Note>), String> {
    let mut notes = Vec::new();
    let samples = FileSamples::new(photo, format, &mut notes)?;
    let empty = Metadata::default();
    let metadata = if options.strip { &empty } else { &photo.metadata };
    // Formats without a place for profiles hold no metadata, either, and note that.
    if !metadata.segments.is_empty() && format.has_profile() {
        notes.push(Note::SegmentsLeftOut(metadata.segments.clone()));
    }
    let mut file = Cursor::new(Vec::new());
    let bytes = match format {
        Format::Png => {
            samples.write(PngEncoder::new(&mut file))?;
            png::into_png(file.into_inner(), metadata, &samples.chunks, &mut notes)?
        }
        Format::WebP => {
            samples.write(WebPEncoder::new_lossless(&mut file))?;
            containers::into_webp(file.into_inner(), metadata, &mut notes)?
        }
        Format::Jpeg => jpeg::encode(&samples, photo.source, options, metadata, &mut notes)?,
        Format::Tiff => tiff::encode(&samples, photo.source, metadata, &mut notes)?,
        Format::Bmp => {
            samples.write(BmpEncoder::new(&mut file))?;
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
