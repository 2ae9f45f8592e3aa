//! JPEG files, compressed as the file that the photo came from.

use ::image::codecs::jpeg::JpegEncoder;
use jpeg_encoder::{
    ColorType, Encoder, EncodingError, PixelDensity, PixelDensityUnit, SamplingFactor,
};

use super::format::Format;
use super::options::WriteOptions;
use super::samples::FileSamples;
use crate::image::metadata::{Metadata, Unit, containers};
use crate::image::{Note, Photo, SourceFile};

/// The quality of photos that were no JPEG.
pub(in crate::image) const QUALITY: u8 = 95;

/// The least quality, unless another is requested: each compression takes a little more.
const LEAST_QUALITY: u8 = 90;

pub(super) fn encode(
    samples: &FileSamples,
    source: Option<SourceFile>,
    options: &WriteOptions,
    metadata: &Metadata,
    notes: &mut Vec<Note>,
) -> Result<Vec<u8>, String> {
    let coding = source.and_then(|source| source.jpeg);
    let quality = coding.map_or(QUALITY, |coding| coding.quality.max(LEAST_QUALITY));
    let quality = options.quality.unwrap_or(quality).clamp(1, 100);
    let sampling = coding.map_or((1, 1), |coding| coding.sampling);
    let mut file = Vec::new();
    let refuse = |error: EncodingError| format!("cannot write: {error}");

    let mut encoder = Encoder::new(&mut file, quality);
    let sampling = SamplingFactor::from_factors(sampling.0, sampling.1);
    encoder.set_sampling_factor(sampling.unwrap_or(SamplingFactor::F_1_1));
    if let Some(density) = density(metadata) {
        encoder.set_density(density);
    }
    for (number, contents) in containers::jpeg_segments(metadata, notes) {
        encoder.add_app_segment(number, contents).map_err(refuse)?;
    }
    if let Some(icc) = &samples.icc
        && encoder.add_icc_profile(icc).is_err()
    {
        notes.push(Note::ProfileIgnored);
    }
    let side = |side: u32| {
        u16::try_from(side).map_err(|_| format!("a JPEG cannot have a side of {side} pixels"))
    };
    let (width, height) = (side(samples.width)?, side(samples.height)?);
    let color = if samples.channels == 1 { ColorType::Luma } else { ColorType::Rgb };
    encoder.encode(&samples.bytes, width, height, color).map_err(refuse)?;
    if let Some(comment) = &metadata.comment {
        put_comment(&mut file, comment);
    }
    Ok(file)
}

/// Puts a comment behind the first segment, which stays the first.
fn put_comment(file: &mut Vec<u8>, comment: &[u8]) {
    let first = file.get(4..6).map_or(0, |len| usize::from(u16::from_be_bytes([len[0], len[1]])));
    if let Ok(len) = u16::try_from(comment.len() + 2)
        && 4 + first <= file.len()
    {
        let segment = [&[0xFF, 0xFE], &len.to_be_bytes()[..], comment].concat();
        file.splice(4 + first..4 + first, segment);
    }
}

fn density(metadata: &Metadata) -> Option<PixelDensity> {
    let resolution = metadata.resolution?;
    let whole = |value: f64| (1.0..=65535.0).contains(&value).then_some(value.round() as u16);
    let unit = match resolution.unit {
        Unit::None => PixelDensityUnit::PixelAspectRatio,
        Unit::Inch => PixelDensityUnit::Inches,
        Unit::Centimeter => PixelDensityUnit::Centimeters,
    };
    Some(PixelDensity { density: (whole(resolution.x)?, whole(resolution.y)?), unit })
}

/// A JPEG file of this quality without chroma sub-sampling and metadata, of the colors alone, by
/// the encoder that synthetic photographs have always come from.
pub(in crate::image) fn plain(photo: &Photo, quality: u8) -> Result<Vec<u8>, String> {
    let mut notes = Vec::new();
    let samples = FileSamples::new(photo, Format::Jpeg, &mut notes)?;
    let mut file = Vec::new();
    samples.write(JpegEncoder::new_with_quality(&mut file, quality))?;
    Ok(file)
}
