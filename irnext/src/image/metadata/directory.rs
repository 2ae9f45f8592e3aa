//! Metadata between an EXIF block and the directories of a TIFF file, which has the same fields
//! beside those of the picture. Their values are copied; their addresses change.

use super::reader::{Field, Reader, size_of_kind};

const SUB_DIRECTORIES: [u16; 3] = [
    0x8769, // EXIF
    0x8825, // GPS
    0xA005, // interoperability
];

/// The fields of a TIFF file's directory that describe how its picture is stored, or that have a
/// place of their own in [`Metadata`](super::Metadata) or in the profile.
const OF_THE_PICTURE: [u16; 42] = [
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 284, 288, 289,
    290, 291, 292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 332, 333, 336, 338, 339,
    340, 341, 347, 34675,
];

/// A directory of fields, and those below it.
#[derive(Default)]
pub(in crate::image) struct Directory {
    pub values: Vec<Value>,
    /// By the tag of the field that has their address.
    pub below: Vec<(u16, Directory)>,
}

/// A field with its values.
pub(in crate::image) struct Value {
    pub tag: u16,
    /// The type, as TIFF numbers it.
    pub kind: u16,
    /// The values, in the order of bytes of this machine.
    pub bytes: Vec<u8>,
}

impl Directory {
    /// The first directory of a block, or the descriptive fields in that of a TIFF file.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let reader = Reader::of_tiff(bytes)?;
        let mut directory = Self::at(&reader, reader.first()?, 0);
        directory.values.retain(|value| {
            let of_the_picture = OF_THE_PICTURE.contains(&value.tag) || is_private(value.tag);
            !of_the_picture && !(513..=532).contains(&value.tag)
        });
        Some(directory)
    }

    fn at(reader: &Reader<'_>, at: usize, depth: usize) -> Self {
        let mut directory = Self::default();
        for field in reader.fields(at) {
            if SUB_DIRECTORIES.contains(&field.tag) {
                // Directories could contain themselves.
                if let Some(below) = reader.number(&field).filter(|_| depth < 2) {
                    let below = Self::at(reader, below as usize, depth + 1);
                    directory.below.push((field.tag, below));
                }
            } else {
                directory.values.extend(value(reader, &field));
            }
        }
        directory
    }

    /// Whether there is nothing in it but a resolution, which every TIFF file has.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|value| matches!(value.tag, 282 | 283 | 296))
            && self.below.iter().all(|(_, below)| below.is_empty())
    }

    /// An EXIF block with these fields.
    pub fn to_block(&self) -> Option<Vec<u8>> {
        let mut block: Vec<u8> = match cfg!(target_endian = "big") {
            true => b"MM\0*\0\0\0\x08".into(),
            false => b"II*\0\x08\0\0\0".into(),
        };
        self.append(&mut block)?;
        Some(block)
    }

    /// Appends the entries, then the values that do not fit into them.
    fn append(&self, block: &mut Vec<u8>) -> Option<()> {
        let mut tags: Vec<(u16, Entry<'_>)> = Vec::new();
        tags.extend(self.values.iter().map(|value| (value.tag, Entry::Value(value))));
        tags.extend(self.below.iter().map(|(tag, below)| (*tag, Entry::Below(below))));
        tags.sort_by_key(|(tag, _)| *tag);
        block.extend(u16::try_from(tags.len()).ok()?.to_ne_bytes());
        let entries = block.len();
        block.resize(entries + 12 * tags.len() + 4, 0);
        for (i, (tag, entry)) in tags.iter().enumerate() {
            let place = u32::try_from(block.len()).ok()?.to_ne_bytes();
            let (kind, count, inline) = match entry {
                Entry::Below(below) => {
                    below.append(block)?;
                    (4, 1, place)
                }
                Entry::Value(value) => {
                    let mut inline = place;
                    if value.bytes.len() <= 4 {
                        inline = [0; 4];
                        inline[..value.bytes.len()].copy_from_slice(&value.bytes);
                    } else {
                        block.extend(&value.bytes);
                        block.resize(block.len().next_multiple_of(2), 0);
                    }
                    (value.kind, value.bytes.len() / size_of_kind(value.kind)?, inline)
                }
            };
            let entry = &mut block[entries + 12 * i..][..12];
            entry[..2].copy_from_slice(&tag.to_ne_bytes());
            entry[2..4].copy_from_slice(&kind.to_ne_bytes());
            entry[4..8].copy_from_slice(&u32::try_from(count).ok()?.to_ne_bytes());
            entry[8..].copy_from_slice(&inline);
        }
        Some(())
    }
}

enum Entry<'a> {
    Value(&'a Value),
    Below(&'a Directory),
}

/// XMP, IPTC and Photoshop's resources travel on their own.
fn is_private(tag: u16) -> bool {
    matches!(tag, 700 | 33723 | 34377)
}

fn value(reader: &Reader<'_>, field: &Field) -> Option<Value> {
    let mut bytes = reader.data(field)?.to_vec();
    if reader.big_endian != cfg!(target_endian = "big") {
        let size = match field.kind {
            5 | 10 => 4,
            kind => size_of_kind(kind)?,
        };
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    let (kind, bytes) = match field.kind {
        // Only a BigTIFF has numbers of 64 bits.
        16 | 18 => (4, to_32_bits(&bytes)?),
        17 => return None,
        kind => (kind, bytes),
    };
    Some(Value { tag: field.tag, kind, bytes })
}

/// Whole numbers of 64 bits in half as many; `None` if one is too large.
fn to_32_bits(bytes: &[u8]) -> Option<Vec<u8>> {
    let numbers =
        bytes.chunks_exact(8).map(|chunk| Some(u64::from_ne_bytes(chunk.try_into().ok()?)));
    let numbers: Option<Vec<u32>> = numbers.map(|number| u32::try_from(number?).ok()).collect();
    Some(numbers?.into_iter().flat_map(u32::to_ne_bytes).collect())
}
