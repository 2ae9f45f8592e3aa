//! From the bytes of an image file to a [`Photo`]. Errors are plain text; the caller adds the
//! file's name.

mod cmyk;
mod guard;
pub(super) mod jpeg;
mod others;
mod samples;
mod tiff;

use std::io::{BufRead, Seek};

use ::image::DynamicImage;
use ::image::metadata::Orientation;

use super::metadata::Metadata;
use super::photo::{Limits, Photo};
use super::profile::Profile;
use super::{Kind, Note, Source};
pub(super) use guard::guarded;
use samples::split;

type Result<T> = std::result::Result<T, String>;

/// What the decoder of a format gives.
struct Decoded {
    pixels: DynamicImage,
    /// As in EXIF, 1 to 8.
    orientation: Option<u8>,
    icc: Option<Vec<u8>>,
    metadata: Metadata,
    source: Source,
    notes: Vec<Note>,
}

impl Decoded {
    fn new(pixels: DynamicImage, source: Source) -> Self {
        let (icc, metadata, notes) = (None, Metadata::default(), Vec::new());
        Self { pixels, orientation: None, icc, metadata, source, notes }
    }
}

/// Decodes the whole file.
pub(super) fn photo(bytes: &[u8], limits: &Limits) -> Result<Photo> {
    let kind = Kind::of(&bytes[..bytes.len().min(super::kind::SIGNATURE_LEN as usize)]);
    if let Some(refusal) = kind.refusal() {
        return Err(refusal);
    }
    let mut decoded = guarded(|| match kind {
        Kind::Jpeg => jpeg::decode(bytes, limits),
        Kind::Tiff => tiff::decode(bytes, limits),
        kind => others::decode(bytes, kind, limits),
    })?;
    let orientation = decoded.orientation.and_then(Orientation::from_exif);
    decoded.pixels.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    let mut photo = split(decoded.pixels)?;
    photo.notes = decoded.notes;
    if let Some(icc) = decoded.icc {
        let (profile, note) = Profile::read(icc, &mut photo.rgb, photo.gray);
        photo.profile = profile;
        photo.notes.extend(note);
    }
    photo.metadata = decoded.metadata;
    photo.metadata.complete();
    photo.metadata.make_upright(photo.rgb.width, photo.rgb.height);
    photo.source = Some(decoded.source);
    Ok(photo)
}

/// The width and height of the upright image, from the header of a file of this kind.
pub(super) fn size(
    file: impl BufRead + Seek,
    kind: Kind,
    limits: &Limits,
) -> Result<(usize, usize)> {
    let ((width, height), orientation) = guarded(|| match kind {
        Kind::Tiff => tiff::size(file),
        kind => others::size(file, kind),
    })?;
    check_size((width, height), limits)?;
    let (width, height) = (width as usize, height as usize);
    Ok(if matches!(orientation, Some(5..=8)) { (height, width) } else { (width, height) })
}

fn check_size((width, height): (u32, u32), limits: &Limits) -> Result<()> {
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
