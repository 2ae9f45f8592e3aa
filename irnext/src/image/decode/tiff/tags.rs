//! The tags of a TIFF file that define its samples, and its metadata.

use std::io::{BufRead, Seek};
use std::ops::Range;

use ::tiff::decoder::Decoder;
use ::tiff::decoder::ifd::Value;
use ::tiff::tags::Tag;

use super::super::decoded::Result;
use super::reasons::{rare, reason};
use crate::image::TiffCompression;
use crate::image::metadata::directory::Directory;
use crate::image::metadata::{Metadata, Resolution, iptc_as_resources};

/// The kind of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Gray, whichever end is white: the crate turns it.
    Gray,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
    CieLab,
    IccLab,
}

/// How a sample is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    Unsigned,
    Signed,
    Float,
}

pub(super) struct Tags {
    pub photometric: Photometric,
    pub numbers: Numbers,
    pub bits: u8,
    pub planar: bool,
    /// Whether the least significant bit of a byte comes first.
    pub reversed_bits: bool,
    /// The meaning of the first sample beyond the color: 1 for alpha that is multiplied in, 2 for
    /// alpha that is not.
    pub extra: Option<u16>,
    pub palette: Vec<u16>,
    pub orientation: Option<u8>,
    pub icc: Option<Vec<u8>>,
    pub compression: TiffCompression,
    pub lossy: bool,
    /// Where the chunks are in the file.
    pub chunks: Vec<Range<usize>>,
    xmp: Option<Vec<u8>>,
    iptc: Option<Vec<u8>>,
    photoshop: Option<Vec<u8>>,
    resolution: Option<Resolution>,
}

impl Tags {
    pub fn read<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Result<Self> {
        let mut numbers_of = |tag: u16| numbers(decoder, tag);
        let mut first = |tag: u16| numbers_of(tag).first().copied();
        let compression = first(259).unwrap_or(1);
        let photometric = match first(262) {
            Some(0 | 1) => Photometric::Gray,
            Some(2) => Photometric::Rgb,
            Some(3) => Photometric::Palette,
            Some(5) if first(332).unwrap_or(1) == 1 => Photometric::Cmyk,
            Some(5) => return Err(rare("inks other than CMYK")),
            Some(6) => Photometric::YCbCr,
            Some(8) => Photometric::CieLab,
            Some(9) => Photometric::IccLab,
            Some(32803) => return Err(rare("a raw photo")),
            _ => return Err(rare("a rare color model")),
        };
        if compression == 6 {
            return Err(rare("the old kind of JPEG compression"));
        }
        let orientation = first(274).and_then(|value| u8::try_from(value).ok());
        let planar = first(284) == Some(2);
        let fill_order = first(266);
        let extra = first(338).map(|value| value as u16);
        let (unit, bits) = (first(296).unwrap_or(2), first(258).unwrap_or(1));
        let formats = numbers_of(339);
        let starts = [numbers_of(273), numbers_of(324)].concat();
        let lengths = [numbers_of(279), numbers_of(325)].concat();
        let palette = numbers_of(320).into_iter().map(|value| value as u16).collect();
        let chunk = |(&start, &length): (&u64, &u64)| {
            start as usize..(start as usize).saturating_add(length as usize)
        };
        let resolution = ratio(decoder, 282).zip(ratio(decoder, 283));
        Ok(Self {
            photometric,
            numbers: match formats.first() {
                None | Some(1 | 4) => Numbers::Unsigned,
                Some(2) => Numbers::Signed,
                Some(3) => Numbers::Float,
                _ => return Err(rare("complex numbers")),
            },
            bits: u8::try_from(bits).map_err(|_| rare("more than 64 bits"))?,
            planar,
            reversed_bits: fill_order == Some(2),
            extra,
            palette,
            orientation: orientation.filter(|value| (1..=8).contains(value)),
            icc: bytes(decoder, 34675),
            compression: match compression {
                5 => TiffCompression::Lzw,
                8 | 32946 => TiffCompression::Deflate,
                32773 => TiffCompression::PackBits,
                // A well-packed file should not become large.
                2..=4 | 7.. => TiffCompression::Deflate,
                _ => TiffCompression::None,
            },
            lossy: compression == 7,
            chunks: starts.iter().zip(&lengths).map(chunk).collect(),
            xmp: bytes(decoder, 700),
            iptc: bytes(decoder, 33723),
            photoshop: bytes(decoder, 34377),
            resolution: resolution.and_then(|(x, y)| Resolution::of_tiff(x, y, unit as u32)),
        })
    }

    pub fn orientation<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Option<u8> {
        numbers(decoder, 274).first().and_then(|&value| u8::try_from(value).ok())
    }

    /// The file's metadata; `file` is the whole of it.
    pub fn metadata(&self, file: &[u8]) -> Metadata {
        let directory = Directory::read(file).filter(|directory| !directory.is_empty());
        let iptc = self.iptc.as_deref().map(iptc_as_resources);
        Metadata {
            exif: directory.and_then(|directory| directory.to_block()),
            xmp: self.xmp.clone(),
            photoshop: self.photoshop.clone().or(iptc),
            resolution: self.resolution,
            texts: Vec::new(),
        }
    }
}

/// The whole numbers of a field; none if it is missing or damaged.
fn numbers<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: u16) -> Vec<u64> {
    let field = decoder.find_tag_unsigned_vec::<u64>(Tag::from_u16_exhaustive(tag));
    field.map_err(reason).ok().flatten().unwrap_or_default()
}

fn bytes<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: u16) -> Option<Vec<u8>> {
    let bytes = decoder.get_tag_u8_vec(Tag::from_u16_exhaustive(tag)).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

fn ratio<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: u16) -> Option<f64> {
    let value = match decoder.get_tag(Tag::from_u16_exhaustive(tag)).ok()? {
        Value::Rational(above, below) => f64::from(above) / f64::from(below),
        Value::Float(value) => value.into(),
        Value::Double(value) => value,
        value => value.into_u32().ok()?.into(),
    };
    (value.is_finite() && value > 0.0).then_some(value)
}
