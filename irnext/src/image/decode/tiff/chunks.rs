//! The samples of a TIFF file: strips or tiles, interleaved or in planes, of 1 to 64 bits.

use std::io::{BufRead, Seek};
use std::num::NonZeroUsize;

use ::tiff::decoder::Decoder;

use super::super::decoded::{Area, Result};
use super::fax::{self, Fax};
use super::reasons::{rare, reason};
use super::tags::{Numbers, Photometric, Tags};
use super::ycbcr::ungroup;

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
    /// The parts of the picture that are not in the file.
    pub missing: Vec<Area>,
    /// Whether lines of a fax are damaged.
    pub damaged: bool,
}

impl Samples {
    /// The percentage of the picture that is in the file.
    pub fn whole(&self, (width, height): (u32, u32)) -> u8 {
        let missing: usize = self.missing.iter().map(|area| area.width * area.height).sum();
        let pixels = width as usize * height as usize;
        (100 * pixels.saturating_sub(missing) / pixels.max(1)).min(99) as u8
    }
}

/// Reads the samples; `file` is the one that `decoder` reads. With a length, that of the file
/// before it was lengthened, missing parts are no error.
pub(super) fn read<R: BufRead + Seek>(
    decoder: &mut Decoder<R>,
    file: &[u8],
    (width, height): (u32, u32),
    tags: &Tags,
    len: Option<usize>,
) -> Result<Samples> {
    let (width, height) = (width as usize, height as usize);
    let own = tags.as_bytes() || tags.fax.is_some();
    let of_pixel = match own {
        true => tags.samples,
        false => usize::from(decoder.colortype().map_err(reason)?.num_samples()),
    };
    let in_chunk = if tags.planar { 1 } else { of_pixel };
    let channels = of_pixel.min(KEPT);
    let bits = tags.bits;
    let number = StoredNumber::of(tags, file.starts_with(b"MM"))?;
    let (chunk_width, chunk_height) = tags.chunk;
    if chunk_width == 0 || chunk_height == 0 {
        return Err(rare("strips without rows"));
    }
    if tags.shares() && (bits != 8 || tags.planar || of_pixel != 3 || tags.differences) {
        return Err(rare("shared colors of a rare kind"));
    }
    let (across, down) = (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
    let planes = if tags.planar { channels } else { 1 };
    let chunks = across * down * planes;

    let mut values = vec![0; width * height * channels];
    let (mut missing, mut damaged) = (Vec::new(), false);
    for chunk in 0..chunks {
        let (plane, place) = (chunk / (across * down), chunk % (across * down));
        let (x, y) = (place % across * chunk_width, place / across * chunk_height);
        let (columns, rows) = (chunk_width.min(width - x), chunk_height.min(height - y));
        let read = match tags.fax {
            Some(fax) => fax_bytes(file, tags, chunk, fax, &mut damaged),
            None => chunk_bytes(decoder, chunk as u32),
        };
        let there = len.map_or(rows, |len| rows_before(len, chunk, tags).min(rows));
        let there = if read.is_err() && len.is_some() { 0 } else { there };
        // A row takes all planes.
        let there = there.min(missing.get(place).map_or(rows, |area: &Area| rows - area.height));
        let area = Area { x, y: y + there, width: columns, height: rows - there };
        match missing.get_mut(place) {
            Some(of_other_planes) => *of_other_planes = area,
            None => missing.push(area),
        }
        let (buffer, stride) = match read {
            Err(_) if len.is_some() => continue,
            read => read?,
        };
        let row_bytes = match own {
            true => tags.row_bytes(columns),
            false => (columns * in_chunk * usize::from(bits)).div_ceil(8),
        };
        let stride = stride.unwrap_or(row_bytes);
        for (i, row) in buffer.chunks(stride).take(rows.div_ceil(tags.sharing.1)).enumerate() {
            if row.len() < row_bytes {
                return Err(rare("rows of an unusual length"));
            }
            if tags.shares() {
                ungroup(row, tags.sharing, |column, line, samples| {
                    let line = i * tags.sharing.1 + line;
                    if column < columns && line < rows {
                        let at = ((y + line) * width + x + column) * channels;
                        values[at..at + 3].copy_from_slice(&samples.map(u16::from));
                    }
                });
                continue;
            }
            let out = &mut values[((y + i) * width + x) * channels..][..columns * channels];
            // The differences of the samples that are not kept are needed, too.
            let mut line: Vec<u16> = (0..columns * in_chunk).map(|j| number.at(row, j)).collect();
            if own && tags.differences {
                (in_chunk..line.len()).for_each(|j| {
                    line[j] = line[j].wrapping_add(line[j - in_chunk]) & number.max();
                });
            }
            for (pixel, samples) in out.chunks_exact_mut(channels).zip(line.chunks(in_chunk)) {
                match tags.planar {
                    true => pixel[plane] = samples[0],
                    false => pixel.copy_from_slice(&samples[..channels]),
                }
            }
        }
    }
    missing.retain(|area| area.height > 0);
    if missing.iter().map(|area| area.width * area.height).sum::<usize>() == width * height {
        return Err(rare("none of its strips or tiles can be read"));
    }
    if own && tags.white_is_zero {
        values.iter_mut().step_by(channels).for_each(|value| *value = number.max() - *value);
    }
    // In 8 bits, and in color, signed samples are ordinary ones that a program called so.
    if tags.numbers == Numbers::Signed && bits > 8 && tags.photometric == Photometric::Gray {
        number_from_zero(&mut values);
    }
    Ok(Samples { values, channels, bits, max: number.max(), missing, damaged })
}

/// How many rows of a chunk lie before the end of a file of this length; all of those that are
/// compressed, of which the decompression tells.
fn rows_before(len: usize, chunk: usize, tags: &Tags) -> usize {
    match tags.chunks.get(chunk) {
        Some(range) if tags.is_plain => {
            let row = tags.row_bytes(tags.chunk.0).max(1);
            (len.saturating_sub(range.start) / row).saturating_mul(tags.sharing.1)
        }
        _ => usize::MAX,
    }
}

/// A chunk's bytes, and how many go to a row, as the crate decompresses it.
fn chunk_bytes<R: BufRead + Seek>(
    decoder: &mut Decoder<R>,
    chunk: u32,
) -> Result<(Vec<u8>, Option<usize>)> {
    let layout = decoder.image_chunk_buffer_layout(chunk).map_err(reason)?;
    let mut buffer = vec![0; layout.len];
    decoder.read_chunk_bytes(chunk, &mut buffer).map_err(reason)?;
    Ok((buffer, layout.row_stride.map(NonZeroUsize::get)))
}

/// The same of a fax.
fn fax_bytes(
    file: &[u8],
    tags: &Tags,
    chunk: usize,
    fax: Fax,
    damaged: &mut bool,
) -> Result<(Vec<u8>, Option<usize>)> {
    let data = tags.chunks.get(chunk).and_then(|range| file.get(range.clone()));
    let data = data.ok_or_else(|| rare("a strip that is not in the file"))?;
    let width = u16::try_from(tags.chunk.0).map_err(|_| rare("a fax of this width"))?;
    if (tags.bits, tags.samples) != (1, 1) {
        return Err(rare("a fax with colors"));
    }
    let lines = fax::decode(data, width, tags.chunk.1, fax);
    *damaged |= lines.damaged > 0;
    Ok((lines.bits, Some(usize::from(width).div_ceil(8))))
}

/// Signed samples from their least possible value on, if there are negative ones among them.
/// Programs that do not know them write positive ones.
fn number_from_zero(values: &mut [u16]) {
    const SIGN: u16 = 1 << 15;
    if values.iter().any(|value| value & SIGN != 0) {
        values.iter_mut().for_each(|value| *value ^= SIGN);
    }
}

/// How the samples of a row are stored, in this machine's order of bytes.
#[derive(Clone, Copy)]
enum StoredNumber {
    /// Up to 8 bits, or a number of them that fills no bytes: one behind the other.
    Packed(u8),
    U16,
    /// Whether the first byte is the most significant.
    U24(bool),
    U32,
    U64,
    F16,
    F32,
    F64,
}

impl StoredNumber {
    fn of(tags: &Tags, big_endian: bool) -> Result<Self> {
        use Numbers::{Signed, Unsigned};
        match (tags.numbers, tags.bits) {
            (Unsigned | Signed, 16) => Ok(Self::U16),
            (Unsigned, bits @ 1..16) => Ok(Self::Packed(bits)),
            (Signed, 8) => Ok(Self::Packed(8)),
            (Unsigned | Signed, 24) if !tags.differences => Ok(Self::U24(big_endian)),
            (Unsigned | Signed, 32) => Ok(Self::U32),
            (Unsigned | Signed, 64) => Ok(Self::U64),
            (Numbers::Float, 16) => Ok(Self::F16),
            (Numbers::Float, 32) => Ok(Self::F32),
            (Numbers::Float, 64) => Ok(Self::F64),
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
            Self::U24(true) => bytes_at(row, i).map_or(0, |[a, b, _]| u16::from_be_bytes([a, b])),
            Self::U24(false) => bytes_at(row, i).map_or(0, |[_, b, c]| u16::from_le_bytes([b, c])),
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
