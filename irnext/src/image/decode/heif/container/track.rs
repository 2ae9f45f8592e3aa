//! Sequences of pictures (`moov`), of which only the first picture is of interest.

use super::boxes::{Cursor, FourCc, boxes, find};
use super::properties::{Property, properties};

/// A track of pictures.
pub(super) struct Track<'a> {
    pub id: u32,
    /// The type of its pictures.
    pub kind: FourCc,
    /// Whether it belongs to another: its pictures are opacities.
    pub is_auxiliary: bool,
    /// The tracks that it belongs to.
    pub of: Vec<u32>,
    /// Start and length of the first picture.
    pub first: (u64, Option<u64>),
    pub frames: usize,
    pub properties: Vec<Property<'a>>,
}

/// The tracks of pictures, or `None` if one is damaged.
pub(super) fn tracks(movie: &[u8]) -> Option<Vec<Track<'_>>> {
    let parts = boxes(movie)?;
    let mut found = Vec::new();
    for (_, contents) in parts.iter().filter(|(kind, _)| kind == b"trak") {
        found.extend(track(contents)?);
    }
    Some(found)
}

/// A track, or `Some(None)` if it is not of pictures.
fn track(contents: &[u8]) -> Option<Option<Track<'_>>> {
    let parts = boxes(contents)?;
    let mut head = Cursor::new(find(&parts, b"tkhd")?);
    let (version, _) = head.version()?;
    // Behind the times at which it was made and changed.
    head.take(if version == 1 { 16 } else { 8 })?;
    let id = head.u32()?;
    let media = boxes(find(&parts, b"mdia")?)?;
    let is_auxiliary = match find(&media, b"hdlr")?.get(8..12)? {
        b"pict" => false,
        b"auxv" => true,
        _ => return Some(None),
    };
    let info = boxes(find(&media, b"minf")?)?;
    let tables = boxes(find(&info, b"stbl")?)?;
    let table = |kind: &FourCc| find(&tables, kind).map(Cursor::new);

    let mut sizes = table(b"stsz")?;
    sizes.version()?;
    let (one_size, frames) = (sizes.u32()?, sizes.u32()?);
    let len = if one_size == 0 { sizes.u32()? } else { one_size };
    let (mut chunks, address) = match (table(b"stco"), table(b"co64")) {
        (Some(chunks), _) => (chunks, 4),
        (None, chunks) => (chunks?, 8),
    };
    // A version, and how many there are.
    chunks.take(8)?;
    let start = chunks.number(address)?;

    let mut described = table(b"stsd")?;
    described.take(8)?;
    let (kind, contents) = described.next_box()?;
    let mut entry = Cursor::new(contents);
    entry.take(24)?;
    let (width, height) = (entry.u16()?, entry.u16()?);
    entry.take(50)?;
    let mut of = Vec::new();
    if let Some(references) = find(&parts, b"tref")
        && let Some(mut to) = find(&boxes(references)?, b"auxl").map(Cursor::new)
    {
        while let Some(id) = to.u32() {
            of.push(id);
        }
    }
    let mut all = vec![Property::Size(width.into(), height.into())];
    all.extend(
        properties(entry.rest)?
            .into_iter()
            .filter(|property| matches!(property, Property::Nclx(_) | Property::Icc(_))),
    );
    let first = (start, Some(len.into()));
    Some(Some(Track {
        id,
        kind,
        is_auxiliary,
        of,
        first,
        frames: frames as usize,
        properties: all,
    }))
}
