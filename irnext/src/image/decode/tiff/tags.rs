//! The tags of a TIFF file that define its samples, and its metadata.

use std::io::{BufRead, Seek};
use std::ops::Range;

use ::tiff::decoder::Decoder;
use ::tiff::decoder::ifd::Value;
use ::tiff::tags::{Tag, Type, ValueBuffer};

use super::super::decoded::Result;
use super::fax::Fax;
use super::reasons::{rare, reason};
use super::ycbcr::YCbCr;
use crate::image::TiffCompression;
use crate::image::metadata::directory::Directory;
use crate::image::metadata::{Metadata, Resolution, with_iptc};

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
    /// The samples of a pixel.
    pub samples: usize,
    /// Columns and rows of a strip or tile.
    pub chunk: (usize, usize),
    /// Whether the chunks are tiles.
    pub tiled: bool,
    /// Whether 0 is white, in gray.
    pub white_is_zero: bool,
    /// Whether samples are stored as differences from their left neighbors.
    pub differences: bool,
    /// Pixels across and down that share one value of color, in YCbCr that is not JPEG.
    pub sharing: (usize, usize),
    /// How YCbCr becomes RGB.
    pub ycbcr: YCbCr,
    /// Fax compressions that the crate does not know.
    pub fax: Option<Fax>,
    /// Whether the least significant bit of a byte comes first.
    pub reversed_bits: bool,
    /// The meaning of the first sample beyond the color: 1 for alpha that is multiplied in, 2 for
    /// alpha that is not.
    pub extra: Option<u16>,
    pub palette: Vec<u16>,
    pub orientation: Option<u8>,
    pub icc: Option<Vec<u8>>,
    pub compression: TiffCompression,
    /// The number of the file's compression.
    pub scheme: u64,
    /// Whether the samples are not compressed.
    pub is_plain: bool,
    pub lossy: bool,
    is_group_4: bool,
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
        let size = [256, 257].map(|tag| first(tag).unwrap_or(0) as usize);
        let tile = first(322).zip(first(323));
        let rows = first(278).map_or(size[1], |rows| (rows as usize).min(size[1]));
        let options = first(292).unwrap_or(0);
        let photometric = match first(262) {
            // Fax machines have nothing but black and white.
            None if first(277).unwrap_or(1) < 3 => Photometric::Gray,
            Some(0 | 1) => Photometric::Gray,
            Some(2) => Photometric::Rgb,
            Some(3) => Photometric::Palette,
            Some(5) if first(332).unwrap_or(1) == 1 => Photometric::Cmyk,
            Some(5) => return Err(rare("inks other than CMYK")),
            Some(6) => Photometric::YCbCr,
            Some(8) => Photometric::CieLab,
            Some(9) => Photometric::IccLab,
            _ => return Err(rare("a rare color model")),
        };
        let is_fax = matches!(compression, 2 | 3);
        let white_is_zero = match first(262) {
            Some(number) => number == 0,
            None => is_fax,
        };
        let (samples, differences) = (first(277).unwrap_or(1) as usize, first(317) == Some(2));
        let orientation = first(274).and_then(|value| u8::try_from(value).ok());
        let planar = first(284) == Some(2);
        let fill_order = first(266);
        let extra = first(338).map(|value| value as u16);
        let (unit, bits) = (first(296).unwrap_or(2), first(258).unwrap_or(1));
        let (formats, sharing) = (numbers_of(339), numbers_of(530));
        let starts = [numbers_of(273), numbers_of(324)].concat();
        let lengths = [numbers_of(279), numbers_of(325)].concat();
        let palette = numbers_of(320).into_iter().map(|value| value as u16).collect();
        let chunk = |(&start, &length): (&u64, &u64)| {
            start as usize..(start as usize).saturating_add(length as usize)
        };
        let ycbcr = YCbCr::read(decoder, compression == 7);
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
            samples,
            tiled: tile.is_some(),
            chunk: tile.map_or((size[0], rows), |(x, y)| (x as usize, y as usize)),
            white_is_zero,
            differences,
            sharing: match (photometric, compression, &sharing[..]) {
                (Photometric::YCbCr, 1..=6 | 8.., &[x @ (1 | 2 | 4), y @ (1 | 2 | 4)]) => {
                    (x as usize, y as usize)
                }
                (Photometric::YCbCr, 1..=6 | 8.., _) => (2, 2),
                _ => (1, 1),
            },
            ycbcr,
            fax: match compression {
                2 => Some(Fax::Bytes),
                3 => Some(Fax::Marks { pairs: options & 1 == 1 }),
                _ => None,
            },
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
                2..=4 | 6.. => TiffCompression::Deflate,
                _ => TiffCompression::None,
            },
            scheme: compression,
            is_plain: compression == 1,
            lossy: matches!(compression, 6 | 7),
            is_group_4: compression == 4,
            chunks: starts.iter().zip(&lengths).map(chunk).collect(),
            xmp: bytes(decoder, 700),
            iptc: bytes(decoder, 33723).map(iptc_in_order),
            photoshop: bytes(decoder, 34377),
            resolution: resolution.and_then(|(x, y)| Resolution::of_tiff(x, y, unit as u32)),
        })
    }

    /// Whether the crate is to decompress the chunks as rows of bytes, since it does not know
    /// samples of this size, or knows them only at whole bytes.
    pub fn as_bytes(&self) -> bool {
        // Of a single bit, often nothing says so, and there is no field to change.
        let is_usual = matches!(self.bits, 8 | 16 | 32 | 64) || (self.bits, self.samples) == (1, 1);
        !self.lossy && !self.is_group_4 && self.fax.is_none() && (!is_usual || self.shares())
    }

    /// The bytes of a row of a chunk; of a row of groups, if pixels share colors.
    pub fn row_bytes(&self, columns: usize) -> usize {
        let (across, down) = self.sharing;
        let samples = match (self.shares(), self.planar) {
            (true, _) => columns.div_ceil(across) * (across * down + 2),
            (false, true) => columns,
            (false, false) => columns * self.samples,
        };
        (samples * usize::from(self.bits)).div_ceil(8)
    }

    /// Whether several pixels share one value of color.
    pub fn shares(&self) -> bool {
        self.sharing != (1, 1)
    }

    pub fn orientation<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Option<u8> {
        let own = numbers(decoder, 274).first().and_then(|&value| u8::try_from(value).ok());
        own.or_else(|| Metadata { xmp: bytes(decoder, 700), ..Metadata::default() }.orientation())
    }

    /// Whether the first picture may be a thumbnail, or one that only accompanies a raw photo.
    pub fn may_be_minor<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> bool {
        [254, 255, 330, 50706].iter().any(|&tag| match numbers(decoder, tag)[..] {
            [] => false,
            [number, ..] => (tag, number) != (254, 0) && (tag, number) != (255, 1),
        })
    }

    /// The metadata of a file, of which `first` is the file with this picture as its first. The
    /// descriptive fields are in the directory that the file begins with.
    pub fn metadata(&self, first: &[u8], file: &[u8]) -> Metadata {
        let described = |file| Directory::read(file).filter(|directory| !directory.is_empty());
        let directory = described(file).or_else(|| described(first));
        Metadata {
            exif: directory.and_then(|directory| directory.to_block()),
            xmp: self.xmp.clone(),
            photoshop: with_iptc(self.photoshop.clone(), self.iptc.as_deref()),
            resolution: self.resolution,
            ..Metadata::default()
        }
    }
}

/// The whole numbers of a field; none if it is missing or damaged.
pub(super) fn numbers<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: u16) -> Vec<u64> {
    let field = decoder.find_tag_unsigned_vec::<u64>(Tag::from_u16_exhaustive(tag));
    field.map_err(reason).ok().flatten().unwrap_or_default()
}

/// The bytes of a field, whatever its type, in the file's order.
fn bytes<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: u16) -> Option<Vec<u8>> {
    let mut buffer = ValueBuffer::empty(Type::BYTE);
    decoder.image_ifd().find_tag_buf(Tag::from_u16_exhaustive(tag), &mut buffer).ok()??;
    let bytes = buffer.as_bytes();
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

/// The fields of IPTC in the order of their bytes. Many programs call them numbers of 32 bits, and
/// some of those turn each number to the file's order of bytes. Each field starts with a mark.
fn iptc_in_order(mut bytes: Vec<u8>) -> Vec<u8> {
    const MARK: u8 = 0x1C;
    if let [first, _, _, MARK, ..] = bytes[..]
        && first != MARK
    {
        bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    }
    bytes
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
