//! The marker segments of a JPEG file, up to its first scan, and their description of how the file
//! was made.

use crate::image::JpegCoding;

pub(super) const SOI: u8 = 0xD8;
pub(super) const EOI: u8 = 0xD9;
pub(super) const SOS: u8 = 0xDA;
pub(super) const DQT: u8 = 0xDB;
pub(super) const DHT: u8 = 0xC4;
pub(super) const DRI: u8 = 0xDD;

/// A marker and the contents of its segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub marker: u8,
    pub contents: &'a [u8],
    /// Where the next one starts.
    pub end: usize,
}

/// The segment at the first marker at or after `at`; bytes between markers are skipped. `None` at
/// the end of the file, or where a segment is cut.
pub(super) fn segment_at(bytes: &[u8], mut at: usize) -> Option<Segment<'_>> {
    loop {
        let &[first, marker] = bytes.get(at..at + 2)? else { return None };
        match (first, marker) {
            (0xFF, SOI | EOI | 0x01 | 0xD0..=0xD7) => {
                return Some(Segment { marker, contents: &[], end: at + 2 });
            }
            (0xFF, 0x02..=0xFE) => break,
            _ => at += 1,
        }
    }
    let len = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
    let contents = bytes.get(at + 4..at + 2 + len.max(2))?;
    Some(Segment { marker: bytes[at + 1], contents, end: at + 2 + len.max(2) })
}

/// The segments before the first scan.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let segment = segment_at(bytes, at)?;
        at = segment.end;
        (!matches!(segment.marker, SOS | EOI)).then_some(segment)
    })
}

/// Whether a marker starts a frame, whatever its coding.
pub(super) fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// The quality and the chroma sub-sampling that a file was written with.
pub(super) fn coding(bytes: &[u8]) -> Option<JpegCoding> {
    let mut luma = None;
    let mut sampling = (1, 1);
    for segment in segments(bytes) {
        match (segment.marker, segment.contents) {
            (DQT, contents) => luma = luma.or_else(|| luma_table(contents)),
            (marker, [_, _, _, _, _, 3, rest @ ..]) if is_frame(marker) => {
                let [first, second] = [rest.get(1)?, rest.get(4)?];
                let ratio = |shift: u8| (first >> shift & 15) / (second >> shift & 15).max(1);
                sampling = (ratio(4).max(1), ratio(0).max(1));
            }
            _ => {}
        }
    }
    Some(JpegCoding { quality: quality(&luma?), sampling })
}

/// Table 0, in zigzag order.
fn luma_table(mut contents: &[u8]) -> Option<[u16; 64]> {
    while let Some((&head, rest)) = contents.split_first() {
        let size = if head >> 4 == 0 { 64 } else { 128 };
        let values = rest.get(..size)?;
        if head & 15 == 0 {
            let value = |i: usize| match size {
                64 => values[i].into(),
                _ => u16::from_be_bytes([values[2 * i], values[2 * i + 1]]),
            };
            return Some(std::array::from_fn(value));
        }
        contents = &rest[size..];
    }
    None
}

/// The quality of the Independent JPEG Group's scale, 1 to 100, whose table is the nearest. Other
/// encoders have tables of their own, for which it is an estimate.
fn quality(table: &[u16; 64]) -> u8 {
    let distance = |quality: &u8| -> u32 {
        let quality = u32::from(*quality);
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let entries = STANDARD.iter().zip(table);
        entries
            .map(|(&base, &entry)| {
                ((u32::from(base) * scale + 50) / 100).clamp(1, 255).abs_diff(entry.into())
            })
            .sum()
    };
    (1..=100).min_by_key(distance).unwrap_or(100)
}

/// The luma table of Annex K of the standard, in zigzag order.
#[rustfmt::skip]
const STANDARD: [u8; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
];
