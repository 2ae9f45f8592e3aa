//! The old kind of JPEG compression (6): a JPEG file inside of the TIFF file, or its tables and its
//! scan apart (TIFF 6.0, section 22; given up in TIFF Technical Note 2).

use std::io::{BufRead, Seek};

use ::tiff::decoder::Decoder;

use super::super::decoded::{Decoded, Result};
use super::super::jpeg;
use super::reasons::rare;
use super::tags::{Photometric, Tags, numbers};
use crate::image::Limits;
use crate::image::segments::{DHT, DQT, DRI, EOI, SOI, SOS, is_frame, segments};

/// The number of the compression.
pub(super) const SCHEME: u64 = 6;

/// Where a JPEG file is, and how long.
const FILE: u16 = 513;
const FILE_LEN: u16 = 514;
/// MCUs between restart markers.
const INTERVAL: u16 = 515;
/// Where the tables of each component are.
const QUANTIZATION: u16 = 519;
const DC_CODES: u16 = 520;
const AC_CODES: u16 = 521;

pub(super) fn decode<R: BufRead + Seek>(
    decoder: &mut Decoder<R>,
    file: &[u8],
    size: (u32, u32),
    tags: &Tags,
    limits: &Limits,
) -> Result<Decoded> {
    let mut first = |tag| numbers(decoder, tag).first().map(|&number| number as usize);
    let stream = first(FILE).filter(|at| *at > 0).and_then(|at| {
        let end = first(FILE_LEN).map_or(file.len(), |len| at.saturating_add(len));
        file.get(at..end.min(file.len()))
    });
    let jpeg = match stream.filter(|stream| stream.starts_with(&[0xFF, SOI])) {
        Some(whole) if has_scan(whole) => whole.to_vec(),
        _ => assembled(decoder, file, size, tags)
            .ok_or_else(|| rare("the old kind of JPEG compression, without its tables"))?,
    };
    let mut decoded = jpeg::decode(&jpeg, limits)?;
    decoded.icc = tags.icc.clone().or(decoded.icc);
    match (decoded.pixels.width(), decoded.pixels.height()) == size {
        true => Ok(decoded),
        false => Err(rare("a JPEG of another size inside of it")),
    }
}

/// Whether a stream has a frame and a scan, and not only tables.
fn has_scan(jpeg: &[u8]) -> bool {
    let frame = segments(jpeg).filter(|segment| is_frame(segment.marker)).last();
    let last = segments(jpeg).last();
    frame.is_some() && last.is_some_and(|last| jpeg[last.end..].starts_with(&[0xFF, SOS]))
}

/// A JPEG file of the tables and strips.
fn assembled<R: BufRead + Seek>(
    decoder: &mut Decoder<R>,
    file: &[u8],
    (width, height): (u32, u32),
    tags: &Tags,
) -> Option<Vec<u8>> {
    let components = tags.samples;
    let lists = [QUANTIZATION, DC_CODES, AC_CODES].map(|tag| numbers(decoder, tag));
    if !matches!(components, 1 | 3) || lists.iter().any(|list| list.len() < components) {
        return None;
    }
    let mut jpeg = vec![0xFF, SOI];
    if tags.photometric == Photometric::Rgb {
        // Adobe's marker, without a transform of the colors.
        put_segment(&mut jpeg, 0xEE, b"Adobe\0\x64\0\0\0\0\0");
    }
    for i in 0..components {
        let [table, dc, ac] = [0, 1, 2].map(|list| file.get(lists[list][i] as usize..));
        put_segment(&mut jpeg, DQT, &[&[i as u8], table?.get(..64)?].concat());
        for (class, codes) in [(0, dc?), (0x10, ac?)] {
            let symbols = codes.get(..16)?.iter().map(|&count| usize::from(count)).sum::<usize>();
            put_segment(&mut jpeg, DHT, &[&[class | i as u8], codes.get(..16 + symbols)?].concat());
        }
    }
    let (across, down) = if components == 3 { tags.sharing } else { (1, 1) };
    let [h1, h0] = u16::try_from(height).ok()?.to_be_bytes();
    let [w1, w0] = u16::try_from(width).ok()?.to_be_bytes();
    let mut frame = vec![8, h1, h0, w1, w0, components as u8];
    let mut scan = vec![components as u8];
    for i in 0..components as u8 {
        let factors = if i == 0 { (across << 4 | down) as u8 } else { 0x11 };
        frame.extend([i + 1, factors, i]);
        scan.extend([i + 1, i << 4 | i]);
    }
    put_segment(&mut jpeg, 0xC0, &frame);
    let interval = match (numbers(decoder, INTERVAL).first(), tags.chunks.len()) {
        (Some(&interval), _) if interval > 0 => interval as usize,
        (_, 0 | 1) => 0,
        _ => (width as usize).div_ceil(8 * across) * tags.chunk.1.div_ceil(8 * down),
    };
    put_segment(&mut jpeg, DRI, &u16::try_from(interval).ok()?.to_be_bytes());
    scan.extend([0, 63, 0]);
    put_segment(&mut jpeg, SOS, &scan);
    for (i, range) in tags.chunks.iter().enumerate() {
        if i > 0 {
            jpeg.extend([0xFF, 0xD0 + ((i - 1) % 8) as u8]);
        }
        jpeg.extend(file.get(range.start..range.end.min(file.len()))?);
    }
    jpeg.extend([0xFF, EOI]);
    Some(jpeg)
}

fn put_segment(jpeg: &mut Vec<u8>, marker: u8, contents: &[u8]) {
    jpeg.extend([0xFF, marker]);
    jpeg.extend((contents.len() as u16 + 2).to_be_bytes());
    jpeg.extend(contents);
}
