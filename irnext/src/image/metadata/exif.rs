//! The EXIF block: a TIFF file without a picture, made of directories of tagged fields.
//!
//! A block that stays in a block is changed in place, so that every byte outside the changed fields
//! stays as it is: makers' notes have addresses in them that only their makers know.

use std::ops::Range;

use super::resolution::Resolution;

const WIDTH: u16 = 0x0100;
const HEIGHT: u16 = 0x0101;
const ORIENTATION: u16 = 0x0112;
const X_RESOLUTION: u16 = 0x011A;
const Y_RESOLUTION: u16 = 0x011B;
const RESOLUTION_UNIT: u16 = 0x0128;
const THUMBNAIL: u16 = 0x0201;
const THUMBNAIL_LEN: u16 = 0x0202;
const EXIF: u16 = 0x8769;
const PIXEL_WIDTH: u16 = 0xA002;
const PIXEL_HEIGHT: u16 = 0xA003;

/// The block without the prefix that belongs to JPEG segments. Older programs left it in PNG and
/// WebP files, too.
pub(in crate::image) fn without_prefix(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes)
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
pub(in crate::image) fn put_in_first(file: &mut [u8], tag: u16, value: Option<usize>) -> bool {
    // Of those for private use.
    const NOTHING: u16 = 65_000;
    let Some(reader) = Reader::new(file) else { return false };
    let field = reader.first().and_then(|first| reader.find(first, tag));
    let Some(field) = field else { return false };
    let big_endian = reader.big_endian;
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let tag = if value.is_some() { tag } else { NOTHING };
    let value = long(u32::try_from(value.unwrap_or(0)).unwrap_or(u32::MAX));
    let entry = [&short(tag)[..], &short(4), &long(1), &value].concat();
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

/// Whether the first directory of a TIFF file can be changed.
pub(in crate::image) fn is_changeable(file: &[u8]) -> bool {
    Reader::new(file).is_some()
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

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Where the entry starts.
    at: usize,
    pub tag: u16,
    /// The type of its values, as TIFF numbers them.
    pub kind: u16,
    pub count: usize,
}

/// Finds fields in a block, or in a TIFF file. Nothing in it is trusted.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub big_endian: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        match bytes.get(..4)? {
            b"II*\0" => Some(Self { bytes, big_endian: false }),
            b"MM\0*" => Some(Self { bytes, big_endian: true }),
            _ => None,
        }
    }

    /// Where the first directory is.
    pub fn first(&self) -> Option<usize> {
        self.u32(4).map(|at| at as usize)
    }

    pub fn fields(&self, directory: usize) -> Vec<Field> {
        let count = self.u16(directory).unwrap_or(0);
        (0..usize::from(count)).map_while(|i| self.field(directory + 2 + 12 * i)).collect()
    }

    fn field(&self, at: usize) -> Option<Field> {
        self.bytes.get(at..at.checked_add(12)?)?;
        let count = self.u32(at + 4)? as usize;
        Some(Field { at, tag: self.u16(at)?, kind: self.u16(at + 2)?, count })
    }

    pub fn find(&self, directory: usize, tag: u16) -> Option<Field> {
        self.fields(directory).into_iter().find(|field| field.tag == tag)
    }

    /// The bytes of a field's values, in the block's byte order.
    pub fn data(&self, field: &Field) -> Option<&'a [u8]> {
        let len = field.count.checked_mul(size_of_kind(field.kind)?)?;
        let at = if len <= 4 { field.at + 8 } else { self.u32(field.at + 8)? as usize };
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// A field's first value, if it is a whole number.
    pub fn number(&self, field: &Field) -> Option<u32> {
        match field.kind {
            _ if field.count == 0 => None,
            1 => self.data(field)?.first().map(|&byte| byte.into()),
            3 => read_u16(self.data(field)?, 0, self.big_endian).map(u32::from),
            4 | 13 => read_u32(self.data(field)?, 0, self.big_endian),
            _ => None,
        }
    }

    fn ratio(&self, field: &Field) -> Option<f64> {
        let data = self.data(field).filter(|_| field.kind == 5)?;
        let part = |at| read_u32(data, at, self.big_endian).map(f64::from);
        Some(part(0)? / part(4)?).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
    }

    /// Where the address of the next directory is.
    fn next_at(&self, directory: usize) -> Option<usize> {
        let at = directory.checked_add(2 + 12 * usize::from(self.u16(directory)?))?;
        self.bytes.get(at..at.checked_add(4)?).map(|_| at)
    }

    /// Where the JPEG file of the thumbnail's directory is.
    fn thumbnail(&self, directory: usize) -> Option<Range<usize>> {
        let number = |tag| self.find(directory, tag).and_then(|field| self.number(&field));
        let (start, len) = (number(THUMBNAIL)? as usize, number(THUMBNAIL_LEN)? as usize);
        let range = start..start.checked_add(len)?;
        self.bytes.get(range.clone())?.starts_with(&[0xFF, 0xD8]).then_some(range)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        read_u16(self.bytes, at, self.big_endian)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        read_u32(self.bytes, at, self.big_endian)
    }
}

/// The bytes of one value of a type.
pub(super) fn size_of_kind(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}

fn read_u16(bytes: &[u8], at: usize, big_endian: bool) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

fn read_u32(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}
