//! Fields of an EXIF block, or of a TIFF file, whose layout is the same. Nothing in it is trusted.

use std::ops::Range;

const THUMBNAIL: u16 = 0x0201;
const THUMBNAIL_LEN: u16 = 0x0202;

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Where the entry starts.
    pub at: usize,
    pub tag: u16,
    /// The type of its values, as TIFF numbers them.
    pub kind: u16,
    pub count: usize,
}

/// How many bytes the numbers of a directory take.
#[derive(Clone, Copy)]
pub(super) struct TiffLayout {
    /// The number of fields.
    fields: usize,
    /// An address, or the number of a field's values.
    pub address: usize,
}

const BLOCK: TiffLayout = TiffLayout { fields: 2, address: 4 };
const BIG_TIFF: TiffLayout = TiffLayout { fields: 8, address: 8 };

impl TiffLayout {
    /// A field: its tag, the type and the number of its values, and them or their address.
    fn field(self) -> usize {
        4 + 2 * self.address
    }
}

/// Finds fields in a block, or in a TIFF file. Nothing in it is trusted.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub big_endian: bool,
    pub layout: TiffLayout,
}

impl<'a> Reader<'a> {
    /// Of a block, or of a TIFF file that is laid out like one.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        Some(Self { bytes, big_endian, layout: BLOCK })
    }

    /// Of a TIFF file, which may be a BigTIFF.
    pub fn of_tiff(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..8)? {
            b"II+\0\x08\0\0\0" => false,
            b"MM\0+\0\x08\0\0" => true,
            _ => return Self::new(bytes),
        };
        Some(Self { bytes, big_endian, layout: BIG_TIFF })
    }

    /// Where the first directory is.
    pub fn first(&self) -> Option<usize> {
        self.address(self.layout.address)
    }

    pub fn fields(&self, directory: usize) -> Vec<Field> {
        let count = match self.layout.fields {
            2 => self.u16(directory).map(usize::from),
            _ => self.address(directory),
        };
        let first = directory.saturating_add(self.layout.fields);
        // More do not fit into the file, and a field that does not ends the list.
        let count = count.unwrap_or(0).min(self.bytes.len());
        let at = |i| first.checked_add(self.layout.field().checked_mul(i)?);
        (0..count).map_while(|i| self.field(at(i)?)).collect()
    }

    fn field(&self, at: usize) -> Option<Field> {
        self.bytes.get(at..at.checked_add(self.layout.field())?)?;
        Some(Field {
            at,
            tag: self.u16(at)?,
            kind: self.u16(at + 2)?,
            count: self.address(at + 4)?,
        })
    }

    pub fn find(&self, directory: usize, tag: u16) -> Option<Field> {
        self.fields(directory).into_iter().find(|field| field.tag == tag)
    }

    /// The bytes of a field's values, in the block's byte order.
    pub fn data(&self, field: &Field) -> Option<&'a [u8]> {
        let len = field.count.checked_mul(size_of_kind(field.kind)?)?;
        let value = field.at + 4 + self.layout.address;
        let at = if len <= self.layout.address { value } else { self.address(value)? };
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// A field's first value, if it is a whole number.
    pub fn number(&self, field: &Field) -> Option<u32> {
        match field.kind {
            _ if field.count == 0 => None,
            1 => self.data(field)?.first().map(|&byte| byte.into()),
            3 => read_u16(self.data(field)?, 0, self.big_endian).map(u32::from),
            4 | 13 => read_u32(self.data(field)?, 0, self.big_endian),
            16 | 18 => u32::try_from(read_u64(self.data(field)?, 0, self.big_endian)?).ok(),
            _ => None,
        }
    }

    pub fn ratio(&self, field: &Field) -> Option<f64> {
        let data = self.data(field).filter(|_| field.kind == 5)?;
        let part = |at| read_u32(data, at, self.big_endian).map(f64::from);
        Some(part(0)? / part(4)?).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
    }

    /// A field's values that are whole numbers, such as addresses.
    pub fn numbers(&self, field: &Field) -> Vec<usize> {
        let Some((data, size)) = self.data(field).zip(size_of_kind(field.kind)) else {
            return Vec::new();
        };
        let number = |chunk: &[u8]| match field.kind {
            1 => chunk.first().map(|&byte| byte.into()),
            3 => read_u16(chunk, 0, self.big_endian).map(usize::from),
            4 | 13 => usize::try_from(read_u32(chunk, 0, self.big_endian)?).ok(),
            16 | 18 => usize::try_from(read_u64(chunk, 0, self.big_endian)?).ok(),
            _ => None,
        };
        data.chunks_exact(size).filter_map(number).collect()
    }

    /// Where the directory after this one is.
    pub fn next(&self, directory: usize) -> Option<usize> {
        let count = match self.layout.fields {
            2 => self.u16(directory)?.into(),
            _ => self.address(directory)?,
        };
        let fields = count.checked_mul(self.layout.field())?;
        let at = directory.checked_add(self.layout.fields)?.checked_add(fields)?;
        self.address(at).filter(|&next| next != 0)
    }

    /// Where the address of the next directory is.
    pub fn next_at(&self, directory: usize) -> Option<usize> {
        let at = directory.checked_add(2 + 12 * usize::from(self.u16(directory)?))?;
        self.bytes.get(at..at.checked_add(4)?).map(|_| at)
    }

    /// Where the JPEG file of the thumbnail's directory is.
    pub fn thumbnail(&self, directory: usize) -> Option<Range<usize>> {
        let number = |tag| self.find(directory, tag).and_then(|field| self.number(&field));
        let (start, len) = (number(THUMBNAIL)? as usize, number(THUMBNAIL_LEN)? as usize);
        let range = start..start.checked_add(len)?;
        self.bytes.get(range.clone())?.starts_with(&[0xFF, 0xD8]).then_some(range)
    }

    pub fn u16(&self, at: usize) -> Option<u16> {
        read_u16(self.bytes, at, self.big_endian)
    }

    pub fn u32(&self, at: usize) -> Option<u32> {
        read_u32(self.bytes, at, self.big_endian)
    }

    fn address(&self, at: usize) -> Option<usize> {
        match self.layout.address {
            4 => self.u32(at)?.try_into().ok(),
            _ => read_u64(self.bytes, at, self.big_endian)?.try_into().ok(),
        }
    }
}

/// The bytes of one value of a type.
pub(super) fn size_of_kind(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}

pub(super) fn read_u16(bytes: &[u8], at: usize, big_endian: bool) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

pub(super) fn read_u32(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

fn read_u64(bytes: &[u8], at: usize, big_endian: bool) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    Some(if big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
}
