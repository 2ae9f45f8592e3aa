//! Compressions that the crate `tiff` does not know, or not in every place: the same file with its
//! chunks decompressed.

use std::io::Cursor;
#[cfg(feature = "more-formats")]
use std::io::Read;

use ::image::codecs::webp::WebPDecoder;
use ::image::{DynamicImage, ImageDecoder};

use super::super::decoded::{Result, damaged};
use super::reasons::{cut, rare};
use super::tags::Tags;
use crate::image::FileKind;
use crate::image::metadata::exif::{put_in_first, put_list_in_first};

/// How a file's chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Each is a WebP file.
    WebP,
    /// Each is a frame of Zstandard.
    Zstandard,
    /// Each is a stream of `xz`.
    Lzma,
    /// Each is a stream of LZW.
    Lzw,
}

impl Packing {
    /// The packing of the chunks, if the crate cannot read them.
    pub fn of(tags: &Tags) -> Option<Self> {
        match tags.scheme {
            // It does not reach the end of a tile that is wider than the rest of the picture.
            5 if tags.tiled => Some(Self::Lzw),
            34925 => Some(Self::Lzma),
            34926 | 50000 => Some(Self::Zstandard),
            34927 | 50001 => Some(Self::WebP),
            _ => None,
        }
    }
}

/// The file without compression: the decompressed chunks go behind its end, and its fields point
/// to them. Chunks that cannot be decompressed lie beyond the end then, if `keep_going`.
pub(super) fn unpacked(
    file: &[u8],
    (width, height): (u32, u32),
    tags: &Tags,
    packing: Packing,
    keep_going: bool,
) -> Result<Vec<u8>> {
    let (columns, rows) = tags.chunk;
    if columns == 0 || rows == 0 {
        return Err(rare("strips without rows"));
    }
    let (across, down) = ((width as usize).div_ceil(columns), (height as usize).div_ceil(rows));
    let of_rows =
        |rows: usize| tags.row_bytes(columns).saturating_mul(rows.div_ceil(tags.sharing.1));
    let mut unpacked = file.to_vec();
    let mut places = Vec::new();
    for (i, range) in tags.chunks.iter().enumerate() {
        // The last strip has the rows that are left; tiles are whole.
        let is_last = !tags.tiled && i % (across * down) == down - 1;
        let rows = if is_last { height as usize - (down - 1) * rows } else { rows };
        let samples = match file.get(range.clone()) {
            Some(data) => packing.decompress(data, (columns, rows), tags, of_rows(rows)),
            None => Err(cut()),
        };
        match samples {
            Ok(samples) => {
                places.push(Some((unpacked.len(), samples.len())));
                unpacked.extend(samples);
            }
            Err(_) if keep_going => places.push(None),
            Err(reason) => return Err(reason),
        }
    }
    if places.iter().all(Option::is_none) {
        return Err(rare("none of its strips or tiles can be read"));
    }
    let nowhere = (u32::MAX as usize, of_rows(rows));
    let places = places.into_iter().map(|place| place.unwrap_or(nowhere));
    let (starts, lengths): (Vec<_>, Vec<_>) = places.unzip();
    for (tag, values) in [(273, &starts), (279, &lengths), (324, &starts), (325, &lengths)] {
        put_list_in_first(&mut unpacked, tag, values);
    }
    put_in_first(&mut unpacked, 259, Some(1));
    Ok(unpacked)
}

impl Packing {
    /// The samples of a chunk of this size, of which there must be `len` bytes.
    fn decompress(
        self,
        data: &[u8],
        (columns, rows): (usize, usize),
        tags: &Tags,
        len: usize,
    ) -> Result<Vec<u8>> {
        let samples = match self {
            Self::WebP => webp(data, (columns, rows), tags),
            Self::Zstandard => zstandard(data, len)?,
            Self::Lzma => lzma(data, len)?,
            Self::Lzw => lzw(data, len),
        };
        samples.filter(|samples| samples.len() == len).ok_or_else(|| damaged(FileKind::Tiff))
    }
}

fn webp(data: &[u8], (columns, rows): (usize, usize), tags: &Tags) -> Option<Vec<u8>> {
    let decoder = WebPDecoder::new(Cursor::new(data)).ok()?;
    let size = (columns as u32, rows as u32);
    if decoder.dimensions() != size || tags.bits != 8 || tags.planar {
        return None;
    }
    let image = DynamicImage::from_decoder(decoder).ok()?;
    match tags.samples {
        3 => Some(image.into_rgb8().into_raw()),
        4 => Some(image.into_rgba8().into_raw()),
        _ => None,
    }
}

fn lzw(data: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let mut samples = Vec::new();
    samples.try_reserve_exact(len).ok()?;
    samples.resize(len, 0);
    let (mut read, mut written) = (0, 0);
    while written < len {
        let step = decoder.decode_bytes(&data[read..], &mut samples[written..]);
        if (step.consumed_in, step.consumed_out) == (0, 0) {
            return None;
        }
        (read, written) = (read + step.consumed_in, written + step.consumed_out);
    }
    Some(samples)
}

#[cfg(feature = "more-formats")]
fn zstandard(data: &[u8], len: usize) -> Result<Option<Vec<u8>>> {
    Ok(ruzstd::decoding::StreamingDecoder::new(data).ok().and_then(|reader| all_of(reader, len)))
}

#[cfg(feature = "more-formats")]
fn lzma(data: &[u8], len: usize) -> Result<Option<Vec<u8>>> {
    let Some((block, data)) = XzBlock::read(data) else { return Ok(None) };
    let samples = all_of(lzma_rust2::Lzma2Reader::new(data, block.window, None), len);
    Ok(samples.map(|mut samples| {
        // Differences from the byte a pixel's distance before.
        if let Some(distance) = block.distance {
            for i in distance..samples.len() {
                samples[i] = samples[i].wrapping_add(samples[i - distance]);
            }
        }
        samples
    }))
}

/// The header of the one block of a stream of `xz`.
#[cfg(feature = "more-formats")]
struct XzBlock {
    /// The bytes that codes may refer back to.
    window: u32,
    /// Of the filter that takes differences, if the block goes through it.
    distance: Option<usize>,
}

#[cfg(feature = "more-formats")]
impl XzBlock {
    /// The header, and the data behind it.
    fn read(stream: &[u8]) -> Option<(Self, &[u8])> {
        const STREAM_HEADER: usize = 12;
        const DELTA: u8 = 3;
        const LZMA2: u8 = 0x21;
        let block = stream.strip_prefix(b"\xFD7zXZ\0").and(stream.get(STREAM_HEADER..))?;
        let (&size, rest) = block.split_first()?;
        let data = block.get(4 * (usize::from(size) + 1)..)?;
        let (&flags, mut rest) = rest.split_first()?;
        // Lengths with and without compression, of which nobody here has need.
        for bit in [0x40, 0x80] {
            if flags & bit != 0 {
                let len = rest.iter().position(|byte| byte & 0x80 == 0)?;
                rest = &rest[len + 1..];
            }
        }
        let mut header = Self { window: 0, distance: None };
        for _ in 0..=flags & 3 {
            let &[kind, 1, value, ref others @ ..] = rest else { return None };
            rest = others;
            match (kind, value) {
                (DELTA, value) => header.distance = Some(usize::from(value) + 1),
                // Powers of two, and the numbers halfway between them.
                (LZMA2, 0..40) => header.window = (2 | u32::from(value) & 1) << (value / 2 + 11),
                (LZMA2, 40) => header.window = u32::MAX,
                _ => return None,
            }
        }
        (header.window > 0).then_some((header, data))
    }
}

#[cfg(feature = "more-formats")]
fn all_of(reader: impl Read, len: usize) -> Option<Vec<u8>> {
    let mut samples = Vec::new();
    reader.take(len as u64).read_to_end(&mut samples).ok()?;
    Some(samples)
}

#[cfg(not(feature = "more-formats"))]
fn zstandard(_: &[u8], _: usize) -> Result<Option<Vec<u8>>> {
    Err(rare("Zstandard compression, which this program was built without"))
}

#[cfg(not(feature = "more-formats"))]
fn lzma(_: &[u8], _: usize) -> Result<Option<Vec<u8>>> {
    Err(rare("LZMA compression, which this program was built without"))
}
