//! What the descriptions tell of items: which there are, where their data is, and what leads from
//! one to another.

use std::collections::BTreeMap;

use super::boxes::{Cursor, FourCc, boxes, within};
use super::properties::Property;

/// A picture, a part of one, or metadata.
#[derive(Default)]
pub(in crate::image::decode) struct Item<'a> {
    pub kind: FourCc,
    /// Of metadata of the kind `mime`.
    pub(super) media_type: &'a [u8],
    pub(super) place: Option<ItemLocation>,
    /// In the order in which they apply.
    pub properties: Vec<Property<'a>>,
    /// Their types, and the items that they lead to.
    pub(super) references: Vec<(FourCc, Vec<u32>)>,
}

impl Item<'_> {
    /// The items that its references of a type lead to.
    pub fn leads<'b>(&'b self, kind: &'b FourCc) -> impl Iterator<Item = u32> + 'b {
        let of_kind = self.references.iter().filter(move |reference| reference.0 == *kind);
        of_kind.flat_map(|reference| reference.1.iter().copied())
    }
}

/// Where the data of an item is.
pub(super) struct ItemLocation {
    /// In the descriptions, rather than in the file.
    pub is_inner: bool,
    /// Starts and lengths of its parts; without a length, to the end.
    pub parts: Vec<(u64, Option<u64>)>,
}

/// The number of the item that is the picture (`pitm`).
pub(super) fn primary(contents: &[u8]) -> Option<u32> {
    let mut cursor = Cursor::new(contents);
    let (version, _) = cursor.version()?;
    id(&mut cursor, version > 0)
}

fn id(cursor: &mut Cursor<'_>, is_long: bool) -> Option<u32> {
    if is_long { cursor.u32() } else { cursor.u16().map(u32::from) }
}

/// The items (`iinf`).
pub(super) fn infos(contents: &[u8]) -> Option<BTreeMap<u32, Item<'_>>> {
    let mut cursor = Cursor::new(contents);
    let (version, _) = cursor.version()?;
    // The boxes tell their number, too.
    id(&mut cursor, version > 0)?;
    let infos = boxes(cursor.rest)?.into_iter().filter(|(kind, _)| kind == b"infe");
    infos.map(|(_, contents)| info(contents)).collect()
}

fn info(contents: &[u8]) -> Option<(u32, Item<'_>)> {
    let mut cursor = Cursor::new(contents);
    let (version, _) = cursor.version()?;
    let id = id(&mut cursor, version > 2)?;
    if version < 2 {
        // Without a kind: no picture.
        return Some((id, Item::default()));
    }
    // Its protection.
    cursor.u16()?;
    let kind = cursor.kind()?;
    let _name = cursor.text();
    let media_type = if kind == *b"mime" { cursor.text().unwrap_or_default() } else { &[] };
    Some((id, Item { kind, media_type, ..Item::default() }))
}

/// The places of data (`iloc`).
pub(super) fn places(contents: &[u8]) -> Option<Vec<(u32, ItemLocation)>> {
    let mut cursor = Cursor::new(contents);
    let (version, _) = cursor.version()?;
    if version > 2 {
        return None;
    }
    let sizes = cursor.u16()?;
    let size = |shift: u32| usize::from(sizes >> shift & 15);
    let [start_size, len_size, base_size] = [12, 8, 4].map(size);
    let index_size = if version > 0 { size(0) } else { 0 };
    let count = id(&mut cursor, version > 1)?;
    let (mut found, mut entries) = (Vec::new(), 0);
    for _ in 0..count {
        let id = id(&mut cursor, version > 1)?;
        let method = if version > 0 { cursor.u16()? & 15 } else { 0 };
        // Whether it is in another file.
        let source = cursor.u16()?;
        let base = cursor.number(base_size)?;
        let mut parts = Vec::new();
        for _ in 0..cursor.u16()? {
            cursor.number(index_size)?;
            let start = base.checked_add(cursor.number(start_size)?)?;
            let len = cursor.number(len_size)?;
            parts.push((start, (len_size > 0).then_some(len)));
            entries += 1;
            within(entries)?;
            if start_size + len_size + index_size == 0 {
                break;
            }
        }
        // An item of any other method has no data for us.
        if source == 0 && method <= 1 {
            found.push((id, ItemLocation { is_inner: method == 1, parts }));
        }
        entries += 1;
    }
    Some(found)
}

/// The references (`iref`): from an item, of a type, to items.
pub(super) fn references(contents: &[u8]) -> Option<Vec<(u32, FourCc, Vec<u32>)>> {
    let mut cursor = Cursor::new(contents);
    let is_long = cursor.version()?.0 > 0;
    let mut found = Vec::new();
    for (kind, contents) in boxes(cursor.rest)? {
        let mut cursor = Cursor::new(contents);
        let from = id(&mut cursor, is_long)?;
        let count = cursor.u16()?;
        let to: Option<Vec<u32>> = (0..count).map(|_| id(&mut cursor, is_long)).collect();
        found.push((from, kind, to?));
    }
    Some(found)
}
