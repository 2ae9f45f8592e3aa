//! The EXIF block: a TIFF file without a picture, made of directories of tagged fields.
//!
//! A block that stays in a block is changed in place, so that every byte outside the changed fields
//! stays as it is: makers' notes have addresses in them that only their makers know.

use std::ops::Range;

use super::reader::{Field, Reader, read_u16, read_u32, size_of_kind};
use super::resolution::Resolution;

const WIDTH: u16 = 0x0100;
const HEIGHT: u16 = 0x0101;
const ORIENTATION: u16 = 0x0112;
const X_RESOLUTION: u16 = 0x011A;
const Y_RESOLUTION: u16 = 0x011B;
const RESOLUTION_UNIT: u16 = 0x0128;
const EXIF: u16 = 0x8769;
const PIXEL_WIDTH: u16 = 0xA002;
const PIXEL_HEIGHT: u16 = 0xA003;

/// The block without the prefix that belongs to JPEG segments. Older programs left it in PNG and
/// WebP files, too.
pub(in crate::image) fn without_prefix(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes)
}

/// Whether these bytes are the start of a block.
pub(super) fn is_block(bytes: &[u8]) -> bool {
    Reader::new(bytes).is_some()
}

/// The orientation in the block, 1 to 8.
pub(in crate::image) fn orientation(block: &[u8]) -> Option<u8> {
    let reader = Reader::new(block)?;
    let field = reader.find(reader.first()?, ORIENTATION)?;
    u8::try_from(reader.number(&field)?).ok().filter(|value| (1..=8).contains(value))
}

/// The resolution in the block.
pub(super) fn resolution(block: &[u8]) -> Option<Resolution> {
    let reader = Reader::new(block)?;
    let first = reader.first()?;
    let ratio = |tag| reader.ratio(&reader.find(first, tag)?);
    let unit = reader.find(first, RESOLUTION_UNIT).and_then(|field| reader.number(&field));
    Resolution::of_tiff(ratio(X_RESOLUTION)?, ratio(Y_RESOLUTION)?, unit.unwrap_or(2))
}

/// Makes a field of the first directory of a TIFF file one whole number, whatever it was; or, with
/// none, a field that means nothing. Returns whether there is one; a missing one stays missing.
pub(in crate::image) fn put_in_first(file: &mut Vec<u8>, tag: u16, value: Option<usize>) -> bool {
    // Of those for private use.
    const NOTHING: u16 = 65_000;
    let renamed = if value.is_some() { tag } else { NOTHING };
    put_numbers(file, tag, renamed, &[value.unwrap_or(0)])
}

/// The same of several numbers, which go behind the end of the file if they do not fit.
pub(in crate::image) fn put_list_in_first(file: &mut Vec<u8>, tag: u16, values: &[usize]) -> bool {
    put_numbers(file, tag, tag, values)
}

fn put_numbers(file: &mut Vec<u8>, tag: u16, renamed: u16, values: &[usize]) -> bool {
    let Some(reader) = Reader::of_tiff(file) else { return false };
    let field = reader.first().and_then(|first| reader.find(first, tag));
    let Some(field) = field else { return false };
    let (big_endian, layout) = (reader.big_endian, reader.layout);
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: usize| {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        if big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    };
    let address = |value: usize| match (layout.address, big_endian) {
        (4, _) => long(value).to_vec(),
        (_, true) => [long(0), long(value)].concat(),
        (_, false) => [long(value), long(0)].concat(),
    };
    let mut numbers: Vec<u8> = values.iter().flat_map(|&value| long(value)).collect();
    if numbers.len() > layout.address {
        file.resize(file.len().next_multiple_of(2), 0);
        let place = file.len();
        file.extend(numbers);
        numbers = address(place);
    }
    // A type of 32 bits.
    let entry = [&short(renamed)[..], &short(4), &address(values.len()), &numbers].concat();
    file[field.at..field.at + entry.len()].copy_from_slice(&entry);
    true
}

/// Removes a field from the first directory of a TIFF file: those behind it move up.
pub(in crate::image) fn remove_from_first(file: &mut [u8], tag: u16) -> Option<()> {
    let reader = Reader::new(file)?;
    let first = reader.first()?;
    let at = reader.find(first, tag)?.at;
    // With the address of the next directory.
    let end = reader.next_at(first)? + 4;
    let count = reader.u16(first)?.checked_sub(1)?;
    let count = if reader.big_endian { count.to_be_bytes() } else { count.to_le_bytes() };
    file.copy_within(at + 12..end, at);
    file[end - 12..end].fill(0);
    file[first..first + 2].copy_from_slice(&count);
    Some(())
}

/// The whole numbers of a field in the first directory of a TIFF file.
pub(in crate::image) fn list_in_first(file: &[u8], tag: u16) -> Option<Vec<u32>> {
    let reader = Reader::of_tiff(file)?;
    let field = reader.find(reader.first()?, tag)?;
    let data = reader.data(&field)?;
    let numbers = data.chunks_exact(size_of_kind(field.kind)?).map(|chunk| match field.kind {
        1 => chunk.first().map(|&byte| byte.into()),
        3 => read_u16(chunk, 0, reader.big_endian).map(u32::from),
        4 => read_u32(chunk, 0, reader.big_endian),
        _ => None,
    });
    numbers.collect()
}

/// Where the first directory of a TIFF file has the address of the next, if that is its own.
pub(in crate::image) fn next_that_is_first(file: &[u8]) -> Option<Range<usize>> {
    let reader = Reader::new(file)?;
    let first = reader.first()?;
    let at = reader.next_at(first)?;
    (reader.u32(at)? as usize == first).then_some(at..at + 4)
}

/// How many pictures a list of the Multi-Picture Format has, which is laid out as an EXIF block.
pub(in crate::image) fn number_of_pictures(block: &[u8]) -> Option<usize> {
    let reader = Reader::new(block)?;
    let field = reader.find(reader.first()?, 0xB001)?;
    reader.number(&field).map(|number| number as usize)
}

/// Makes the block tell the truth about a picture that was turned upright and has this size: the
/// orientation becomes 1, the dimensions are set where there are any, and the thumbnail, which
/// shows the picture as it was, is removed.
pub(super) fn make_upright(block: &mut Vec<u8>, width: usize, height: usize) {
    let _ = try_make_upright(block, width, height);
}

fn try_make_upright(block: &mut Vec<u8>, width: usize, height: usize) -> Option<()> {
    let reader = Reader::new(block)?;
    let first = reader.first()?;
    let mut changes: Vec<(Field, usize)> = Vec::new();
    let mut set = |directory, tag, value| {
        changes.extend(reader.find(directory, tag).map(|field| (field, value)));
    };
    set(first, ORIENTATION, 1);
    set(first, WIDTH, width);
    set(first, HEIGHT, height);
    let exif = reader.find(first, EXIF).and_then(|field| reader.number(&field));
    if let Some(exif) = exif {
        set(exif as usize, PIXEL_WIDTH, width);
        set(exif as usize, PIXEL_HEIGHT, height);
    }
    let next = reader.next_at(first)?;
    let second = reader.u32(next)? as usize;
    let thumbnail = (second != 0).then(|| reader.thumbnail(second)).flatten();
    let big_endian = reader.big_endian;

    for (field, value) in changes {
        put_number(block, &field, value, big_endian);
    }
    block[next..next + 4].fill(0);
    if let Some(range) = thumbnail {
        block[range.clone()].fill(0);
        // It is the last thing in the blocks of most cameras.
        if range.end == block.len() {
            block.truncate(range.start);
        }
    }
    Some(())
}

/// Sets a field of one whole number.
fn put_number(block: &mut [u8], field: &Field, value: usize, big_endian: bool) {
    let at = field.at + 8;
    if field.count != 1 {
        return;
    }
    match (field.kind, u16::try_from(value), u32::try_from(value)) {
        (3, Ok(value), _) => {
            let bytes = if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
            block[at..at + 2].copy_from_slice(&bytes);
        }
        (4, _, Ok(value)) => {
            let bytes = if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
            block[at..at + 4].copy_from_slice(&bytes);
        }
        _ => {}
    }
}
