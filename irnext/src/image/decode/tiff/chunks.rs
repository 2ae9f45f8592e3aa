//! The samples of a TIFF file: strips or tiles, interleaved or in planes, of 1 to 64 bits.

use std::io::{BufRead, Seek};

use ::tiff::decoder::Decoder;

use super::super::decoded::Result;
use super::reasons::{rare, reason};
use super::tags::{Numbers, Tags};

/// The most samples of a pixel that are kept: CMYK and alpha.
const KEPT: usize = 5;

/// Interleaved samples.
pub(super) struct Samples {
    pub values: Vec<u16>,
    /// How many there are for a pixel.
    pub channels: usize,
    /// The bits of a sample in the file.
    pub bits: u8,
    /// The value of white: all bits, or 65535 for samples of more than 16.
    pub max: u16,
    /// The percentage of the strips or tiles that is there.
    pub whole: u8,
}

pub(super) fn read<R: BufRead + Seek>(
    decoder: &mut Decoder<R>,
    (width, height): (u32, u32),
    tags: &Tags,
    keep_going: bool,
) -> Result<Samples> {
    let (width, height) = (width as usize, height as usize);
    let color = decoder.colortype().map_err(reason)?;
    let in_chunk = if tags.planar { 1 } else { usize::from(color.num_samples()) };
    let channels = usize::from(color.num_samples()).min(KEPT);
    let bits = tags.bits;
    let number = Number::of(tags)?;
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let (chunk_width, chunk_height) = (chunk_width as usize, chunk_height as usize);
    if chunk_width == 0 || chunk_height == 0 {
        return Err(rare("strips without rows"));
    }
    let (across, down) = (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
    let planes = if tags.planar { channels } else { 1 };

    let mut values = vec![0; width * height * channels];
    let mut buffer = Vec::new();
    let mut missing = 0;
    for chunk in 0..across * down * planes {
        let (plane, place) = (chunk / (across * down), chunk % (across * down));
        let (x, y) = (place % across * chunk_width, place / across * chunk_height);
        let (columns, rows) = (chunk_width.min(width - x), chunk_height.min(height - y));
        let index = chunk as u32;
        let layout = decoder.image_chunk_buffer_layout(index).map_err(reason)?;
        buffer.clear();
        buffer.resize(layout.len, 0);
        match decoder.read_chunk_bytes(index, &mut buffer) {
            Err(_) if keep_going => {
                missing += 1;
                continue;
            }
            result => result.map_err(reason)?,
        }
        let row_bytes = (columns * in_chunk * usize::from(bits)).div_ceil(8);
        let stride = layout.row_stride.map_or(row_bytes, |stride| stride.get());
        for (i, row) in buffer.chunks(stride).take(rows).enumerate() {
            if row.len() < row_bytes {
                return Err(rare("rows of an unusual length"));
            }
            let out = &mut values[((y + i) * width + x) * channels..][..columns * channels];
            for (j, pixel) in out.chunks_exact_mut(channels).enumerate() {
                if tags.planar {
                    pixel[plane] = number.at(row, j);
                } else {
                    for (c, value) in pixel.iter_mut().enumerate() {
                        *value = number.at(row, j * in_chunk + c);
                    }
                }
            }
        }
    }
    let chunks = across * down * planes;
    if missing == chunks {
        return Err(rare("none of its strips or tiles can be read"));
    }
    let whole = (100 - 100 * missing / chunks) as u8;
    Ok(Samples { values, channels, bits, max: number.max(), whole })
}

/// How the samples of a row are stored, in this machine's order of bytes.
#[derive(Clone, Copy)]
enum Number {
    /// Up to 8 bits, or a number of them that fills no bytes: one behind the other.
    Packed(u8),
    U16,
    U24,
    U32,
    U64,
    F16,
    F32,
    F64,
}

impl Number {
    fn of(tags: &Tags) -> Result<Self> {
        match (tags.numbers, tags.bits) {
            (Numbers::Unsigned, 16) => Ok(Self::U16),
            (Numbers::Unsigned, bits @ 1..16) => Ok(Self::Packed(bits)),
            (Numbers::Unsigned, 24) => Ok(Self::U24),
            (Numbers::Unsigned, 32) => Ok(Self::U32),
            (Numbers::Unsigned, 64) => Ok(Self::U64),
            (Numbers::Float, 16) => Ok(Self::F16),
            (Numbers::Float, 32) => Ok(Self::F32),
            (Numbers::Float, 64) => Ok(Self::F64),
            (Numbers::Signed, _) => Err(rare("signed samples")),
            (_, bits) => Err(rare(&format!("{bits} bits"))),
        }
    }

    fn max(self) -> u16 {
        match self {
            Self::Packed(bits) => ((1u32 << bits) - 1) as u16,
            _ => u16::MAX,
        }
    }

    /// Sample `i` of a row; 0 outside.
    fn at(self, row: &[u8], i: usize) -> u16 {
        match self {
            Self::Packed(8) => row.get(i).copied().unwrap_or(0).into(),
            Self::Packed(bits) => packed(row, i * usize::from(bits), bits),
            Self::U16 => bytes_at(row, i).map_or(0, u16::from_ne_bytes),
            Self::U24 => {
                bytes_at(row, i).map_or(0, |[a, b, c]| match cfg!(target_endian = "big") {
                    true => u16::from_be_bytes([a, b]),
                    false => u16::from_be_bytes([c, b]),
                })
            }
            Self::U32 => bytes_at(row, i).map_or(0, |v| (u32::from_ne_bytes(v) >> 16) as u16),
            Self::U64 => bytes_at(row, i).map_or(0, |v| (u64::from_ne_bytes(v) >> 48) as u16),
            Self::F16 => bytes_at(row, i).map_or(0, |v| rounded(half(u16::from_ne_bytes(v)))),
            Self::F32 => bytes_at(row, i).map_or(0, |v| rounded(f32::from_ne_bytes(v).into())),
            Self::F64 => bytes_at(row, i).map_or(0, |v| rounded(f64::from_ne_bytes(v))),
        }
    }
}

fn bytes_at<const N: usize>(row: &[u8], i: usize) -> Option<[u8; N]> {
    row.get(N * i..N * (i + 1))?.try_into().ok()
}

fn packed(row: &[u8], start: usize, bits: u8) -> u16 {
    let byte = |at: usize| u32::from(row.get(at).copied().unwrap_or(0));
    let at = start / 8;
    let held = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    (held >> (24 - start % 8 - usize::from(bits)) & ((1 << bits) - 1)) as u16
}

/// 0 to 1 as 16 bits; values outside are clamped, and NaN becomes 0.
fn rounded(value: f64) -> u16 {
    (value * 65535.0).round() as u16
}

/// Half precision (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let value = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -value } else { value }
}
