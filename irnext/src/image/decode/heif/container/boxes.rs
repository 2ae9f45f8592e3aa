//! Boxes of the ISO base media file format (ISO/IEC 14496-12): a size, a type of four letters, and
//! contents, which may be boxes again. Numbers have their highest byte first.
//!
//! Whatever is not there is `None`.

/// The type of a box, an item or a reference: four letters.
pub(in crate::image::decode) type FourCc = [u8; 4];

/// Reads from the front of some bytes.
#[derive(Clone, Copy)]
pub(in crate::image::decode) struct Cursor<'a> {
    pub rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// A number of up to 8 bytes; of none, 0.
    pub fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes).filter(|_| bytes <= 8)?;
        Some(taken.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.number(1)? as u8)
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(self.number(2)? as u16)
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(self.number(4)? as u32)
    }

    pub fn kind(&mut self) -> Option<FourCc> {
        self.take(4)?.try_into().ok()
    }

    /// The version and the flags at the start of a full box.
    pub fn version(&mut self) -> Option<(u8, u32)> {
        let number = self.u32()?;
        Some(((number >> 24) as u8, number & 0xFF_FFFF))
    }

    /// The bytes before the next 0, which is skipped.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|&byte| byte == 0)?;
        let text = self.take(end);
        self.take(1)?;
        text
    }

    /// The next box: its type and its contents.
    pub fn next_box(&mut self) -> Option<(FourCc, &'a [u8])> {
        let mut ahead = *self;
        let size = ahead.u32()?;
        let kind = ahead.kind()?;
        let size = match size {
            // To the end.
            0 => ahead.rest.len(),
            1 => usize::try_from(ahead.number(8)?.checked_sub(16)?).ok()?,
            size => (size as usize).checked_sub(8)?,
        };
        let contents = ahead.take(size)?;
        *self = ahead;
        Some((kind, contents))
    }
}

/// The boxes that these bytes are.
pub(super) fn boxes(bytes: &[u8]) -> Option<Vec<(FourCc, &[u8])>> {
    let mut cursor = Cursor::new(bytes);
    let mut found = Vec::new();
    while !cursor.rest.is_empty() {
        found.push(cursor.next_box()?);
        within(found.len())?;
    }
    Some(found)
}

/// The most items, parts of their data and references to properties: more than any picture has.
const MOST: usize = 1 << 17;

/// `None` if a list has more entries than any picture needs.
pub(super) fn within(entries: usize) -> Option<()> {
    (entries <= MOST).then_some(())
}

/// The contents of the first box of this type.
pub(super) fn find<'a>(boxes: &[(FourCc, &'a [u8])], kind: &FourCc) -> Option<&'a [u8]> {
    boxes.iter().find(|found| found.0 == *kind).map(|found| found.1)
}
