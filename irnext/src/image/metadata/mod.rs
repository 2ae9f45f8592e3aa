//! The metadata of a photo: EXIF, XMP, IPTC and resolution.
//!
//! The blocks stay as the file has them, byte for byte, but for entries that would be untrue of the
//! upright photo: see [`Metadata::make_upright`].

pub(super) mod containers;
pub(super) mod directory;
pub(super) mod exif;
pub(super) mod pictures;
pub(super) mod png;
mod reader;
mod resolution;
mod xmp;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{FileKind, Note};
pub use resolution::{Resolution, Unit};

/// The metadata of a photo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The EXIF block, from its byte order on: camera, date, exposure, place.
    pub exif: Option<Vec<u8>>,
    /// The XMP packet.
    pub xmp: Option<Vec<u8>>,
    /// The parts of a further packet, which the first one points to. Only JPEG files have one, as
    /// their segments are short; each part starts with the packet's name, its length, and the
    /// part's place in it.
    pub xmp_extension: Vec<Vec<u8>>,
    /// Photoshop's image resources, which hold the IPTC fields: title, caption, credit.
    pub photoshop: Option<Vec<u8>>,
    /// The comment of a JPEG file. A PNG file holds it as text; other formats have no place for it.
    pub comment: Option<Vec<u8>>,
    /// Pixels for each inch or centimeter of paper.
    pub resolution: Option<Resolution>,
    /// The chunks of text, and of the time of the last change, of a PNG file, with their types.
    /// Other formats have no place for them.
    pub texts: Vec<([u8; 4], Vec<u8>)>,
    /// The names of the application segments of a JPEG file that are not kept: those of makers and
    /// of rarer programs, whose contents only they know.
    pub segments: Vec<String>,
}

impl Metadata {
    /// Whether there is PNG text, which other formats cannot hold.
    pub(super) fn has_text(&self) -> bool {
        self.texts.iter().any(|(kind, _)| kind != b"tIME")
    }

    /// The orientation, 1 to 8, that EXIF or, if it tells none, XMP tells.
    pub(super) fn orientation(&self) -> Option<u8> {
        let in_exif = self.exif.as_deref().and_then(exif::orientation);
        in_exif.or_else(|| xmp::orientation(self.xmp.as_deref()?))
    }

    /// Whether the file has a video behind its picture, as those of moving photos do.
    pub(super) fn has_video(&self) -> bool {
        self.xmp.as_deref().is_some_and(xmp::has_video)
    }

    /// The XMP packet for a format that holds a single one. A further one is left out, with a note,
    /// and so is the pointer to it.
    pub(super) fn one_packet(
        &self,
        kind: FileKind,
        notes: &mut Vec<Note>,
    ) -> Option<Cow<'_, [u8]>> {
        let packet = self.xmp.as_deref()?;
        if self.xmp_extension.is_empty() {
            return Some(packet.into());
        }
        notes.push(Note::LeftOut { what: "extended XMP", kind });
        Some(xmp::without_extension(packet).into())
    }

    /// Removes all of it.
    pub fn strip(&mut self) {
        *self = Self::default();
    }

    /// Makes the metadata true of a photo that was turned upright and has this size: no orientation
    /// other than 1, these dimensions where any are given, no thumbnails, which show the photo as
    /// it was, and no video behind it.
    pub fn make_upright(&mut self, width: usize, height: usize) {
        if let Some(block) = &mut self.exif {
            exif::make_upright(block, width, height);
        }
        if let Some(packet) = &mut self.xmp {
            xmp::make_upright(packet, width, height);
        }
        if let Some(resources) = &mut self.photoshop {
            *resources = without_thumbnails(resources);
        }
    }

    /// Fills in the resolution from the EXIF block if the container had none.
    pub(super) fn complete(&mut self) {
        // Without a unit, it tells hardly more than that pixels are square.
        if self.resolution.is_none_or(|resolution| resolution.unit == Unit::None) {
            let in_exif = self.exif.as_deref().and_then(exif::resolution);
            self.resolution = in_exif.or(self.resolution);
        }
    }
}

/// Photoshop's resources but for the two kinds of thumbnails.
fn without_thumbnails(resources: &[u8]) -> Vec<u8> {
    const THUMBNAILS: [u16; 2] = [0x0409, 0x040C];
    let mut kept = Vec::new();
    let mut rest = resources;
    while let Some((id, len)) = resource_head(rest) {
        let (resource, after) = rest.split_at(len.min(rest.len()));
        if !THUMBNAILS.contains(&id) {
            kept.extend(resource);
        }
        rest = after;
    }
    kept.extend(rest);
    kept
}

/// The number of the first resource, and its bytes altogether.
fn resource_head(bytes: &[u8]) -> Option<(u16, usize)> {
    let [b'8', b'B', b'I', b'M', id1, id0, name_len, ..] = *bytes else { return None };
    let name = (1 + usize::from(name_len)).next_multiple_of(2);
    let size = bytes.get(6 + name..10 + name)?.try_into().ok()?;
    let size = (u32::from_be_bytes(size) as usize).next_multiple_of(2);
    Some((u16::from_be_bytes([id1, id0]), 10 + name + size))
}

/// The number of the resource that holds IPTC fields.
const IPTC: u16 = 0x0404;

/// Photoshop's resources with these IPTC fields, unless they have some.
pub(super) fn with_iptc(resources: Option<Vec<u8>>, fields: Option<&[u8]>) -> Option<Vec<u8>> {
    let Some(fields) = fields else { return resources };
    let mut resources = resources.unwrap_or_default();
    if iptc_in(&resources).is_none() {
        resources.extend(iptc_as_resources(fields));
    }
    Some(resources)
}

/// The IPTC fields in Photoshop's resources.
pub(super) fn iptc_in(resources: &[u8]) -> Option<&[u8]> {
    let mut rest = resources;
    while let Some((id, len)) = resource_head(rest) {
        if id == IPTC {
            let name = (1 + usize::from(rest[6])).next_multiple_of(2);
            let size = u32::from_be_bytes(rest[6 + name..10 + name].try_into().ok()?);
            return rest.get(10 + name..10 + name + size as usize);
        }
        rest = rest.get(len..)?;
    }
    None
}

/// IPTC fields as Photoshop's resources.
pub(super) fn iptc_as_resources(fields: &[u8]) -> Vec<u8> {
    let mut resources = b"8BIM\x04\x04\0\0".to_vec();
    resources.extend((fields.len() as u32).to_be_bytes());
    resources.extend(fields);
    resources.resize(resources.len().next_multiple_of(2), 0);
    resources
}
