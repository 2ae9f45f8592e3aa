//! The pictures of a TIFF file: its pages, smaller versions of them, and the raw photographs of
//! cameras, which have this layout, too.

use super::reader::Reader;

/// The most directories that are looked at.
const MOST: usize = 64;

/// A directory that describes a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image) struct Picture {
    /// Where it is in the file.
    pub at: usize,
    /// Whether it is a smaller version of another picture, or a mask of one.
    pub is_minor: bool,
    /// Whether its samples are those of a sensor.
    pub is_raw: bool,
}

/// The pictures of a TIFF file in its order, each before those below it. The first is that which a
/// reader shows that knows nothing of the others.
pub(in crate::image) fn pictures(file: &[u8]) -> Vec<Picture> {
    let mut pictures = Vec::new();
    let Some(reader) = Reader::of_tiff(file) else { return pictures };
    let mut next = reader.first();
    while let Some(at) = next {
        if pictures.len() >= MOST || pictures.iter().any(|picture: &Picture| picture.at == at) {
            break;
        }
        pictures.push(picture(&reader, at));
        let below = reader.find(at, 330).map(|field| reader.numbers(&field)).unwrap_or_default();
        let space = MOST.saturating_sub(pictures.len());
        let below = below.into_iter().take(space).map(|at| picture(&reader, at));
        pictures.extend(below.collect::<Vec<_>>());
        next = reader.next(at);
    }
    pictures
}

fn picture(reader: &Reader<'_>, at: usize) -> Picture {
    let number = |tag| reader.find(at, tag).and_then(|field| reader.number(&field));
    Picture {
        at,
        // In bits: a smaller version, a page, a mask. Before TIFF 6: 1 is whole, 2 smaller.
        is_minor: number(254).is_some_and(|bits| bits & 0b101 != 0) || number(255) == Some(2),
        is_raw: matches!(number(262), Some(32803 | 34892)),
    }
}

/// The kind of raw photograph that a TIFF file is, if it is one.
pub(in crate::image) fn raw_kind(file: &[u8]) -> Option<&'static str> {
    let reader = Reader::of_tiff(file)?;
    let first = reader.first()?;
    if reader.find(first, 50706).is_some() {
        return Some("DNG");
    }
    if !pictures(file).iter().any(|picture| picture.is_raw) {
        return None;
    }
    let make = reader.find(first, 271).and_then(|field| reader.data(&field)).unwrap_or_default();
    let makers = [
        ("NIKON", "Nikon NEF"),
        ("SONY", "Sony ARW"),
        ("PENTAX", "Pentax PEF"),
        ("RICOH", "Pentax PEF"),
        ("SAMSUNG", "Samsung SRW"),
    ];
    let kind =
        makers.iter().find(|(name, _)| make.to_ascii_uppercase().starts_with(name.as_bytes()));
    Some(kind.map_or("TIFF/EP", |(_, kind)| kind))
}

/// Makes the directory at `at` the first of the file.
pub(in crate::image) fn make_first(file: &mut [u8], at: usize) -> Option<()> {
    let (place, address) = {
        let reader = Reader::of_tiff(file)?;
        let len = reader.layout.address;
        let bytes = match reader.big_endian {
            true => (at as u64).to_be_bytes()[8 - len..].to_vec(),
            false => (at as u64).to_le_bytes()[..len].to_vec(),
        };
        (len..2 * len, bytes)
    };
    file.get_mut(place)?.copy_from_slice(&address);
    Some(())
}
