//! The places of metadata in JPEG and WebP files.

use img_parts::riff::{RiffChunk, RiffContent};
use img_parts::webp::WebP;
use img_parts::{Bytes, ImageEXIF};

use super::super::segments::segments;
use super::super::{FileKind, Note};
use super::{Metadata, Resolution, exif, xmp};

pub(super) const XMP_IN_JPEG: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_EXTENSION: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP_IN_JPEG: &[u8] = b"Photoshop 3.0\0";

/// The most that a JPEG segment holds.
const SEGMENT: usize = 65_533;

/// The most names of segments that are kept: a damaged file may seem to have any number of them.
const MOST_NAMES: usize = 50;

/// From the segments of a JPEG file.
pub(in crate::image) fn of_jpeg(bytes: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    for segment in segments(bytes) {
        match (segment.marker, segment.contents) {
            (0xE0, [b'J', b'F', b'I', b'F', 0, _, _, unit, x1, x0, y1, y0, ..]) => {
                let number = |high: &u8, low: &u8| f64::from(u16::from_be_bytes([*high, *low]));
                let (x, y) = (number(x1, x0), number(y1, y0));
                let unit = u32::from(*unit) + 1;
                let resolution = Resolution::of_tiff(x, y, unit);
                metadata.resolution = resolution.filter(|_| x > 0.0 && y > 0.0);
            }
            (0xFE, contents) => metadata.comment = Some(contents.into()),
            (0xE1, contents) if contents.starts_with(b"Exif\0\0") => {
                let block = exif::without_prefix(contents);
                match &mut metadata.exif {
                    None => metadata.exif = Some(block.into()),
                    // A block that does not fit into one segment goes on in the next.
                    Some(first) if !exif::is_block(block) => first.extend(block),
                    Some(_) => {}
                }
            }
            (0xE1, contents) if contents.starts_with(XMP_IN_JPEG) => {
                let packet = &contents[XMP_IN_JPEG.len()..];
                metadata.xmp.get_or_insert_with(|| packet.into());
            }
            (0xE1, contents) if contents.starts_with(XMP_EXTENSION) => {
                metadata.xmp_extension.push(contents[XMP_EXTENSION.len()..].into());
            }
            (0xED, contents) if contents.starts_with(PHOTOSHOP_IN_JPEG) => {
                // Resources that do not fit into one segment go on in the next.
                let resources = metadata.photoshop.get_or_insert_default();
                resources.extend(&contents[PHOTOSHOP_IN_JPEG.len()..]);
            }
            (marker @ 0xE0..=0xEF, contents) if !is_made_again(marker, contents) => {
                let name = segment_name(marker, contents);
                if metadata.segments.len() < MOST_NAMES && !metadata.segments.contains(&name) {
                    metadata.segments.push(name);
                }
            }
            _ => {}
        }
    }
    // Others are of no packet in the file, and are to be ignored.
    let name = metadata.xmp.as_deref().and_then(xmp::extension);
    metadata.xmp_extension.retain(|part| name.is_some_and(|name| part.starts_with(name)));
    metadata
}

/// Whether a segment describes the coding or the colors of the file, which the next file has in its
/// own way, is a thumbnail, or lists pictures behind the first, of which there is a note.
fn is_made_again(marker: u8, contents: &[u8]) -> bool {
    match (marker, contents) {
        (0xE0, _) => contents.starts_with(b"JFIF\0") || contents.starts_with(b"JFXX\0"),
        (0xE2, _) if contents.starts_with(b"ICC_PROFILE\0") => true,
        (0xE2, [b'M', b'P', b'F', 0, list @ ..]) => exif::number_of_pictures(list).is_some(),
        // A quality, without a comment behind it.
        (0xEC, _) => contents.starts_with(b"Ducky\0\x01\0\x04") && contents.len() <= 15,
        (0xED, _) => contents.starts_with(b"Adobe_CM"),
        (0xEE, _) => contents.starts_with(b"Adobe"),
        _ => false,
    }
}

/// The number of an application segment, and the word that it starts with.
fn segment_name(marker: u8, contents: &[u8]) -> String {
    let letters = contents.iter().take(16).map(|&byte| char::from(byte));
    let word: String = letters.take_while(char::is_ascii_graphic).collect();
    let number = marker - 0xE0;
    if word.len() < 2 { format!("APP{number}") } else { format!("APP{number} {word}") }
}

/// The application segments of a JPEG file with this metadata.
pub(in crate::image) fn jpeg_segments(
    metadata: &Metadata,
    notes: &mut Vec<Note>,
) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    let mut push = |number, prefix: &[u8], data: &Option<Vec<u8>>, what| {
        let Some(data) = data else { return };
        if prefix.len() + data.len() <= SEGMENT {
            all.push((number, [prefix, data].concat()));
        } else {
            notes.push(Note::LeftOut { what, kind: FileKind::Jpeg });
        }
    };
    push(1, b"Exif\0\0", &metadata.exif, "EXIF of this size");
    push(1, XMP_IN_JPEG, &metadata.xmp, "XMP of this size");
    for part in &metadata.xmp_extension {
        push(1, XMP_EXTENSION, &Some(part.clone()), "extended XMP of this size");
    }
    if let Some(resources) = &metadata.photoshop {
        for part in resources.chunks(SEGMENT - PHOTOSHOP_IN_JPEG.len()) {
            all.push((13, [PHOTOSHOP_IN_JPEG, part].concat()));
        }
    }
    if metadata.has_text() {
        notes.push(Note::LeftOut { what: "PNG text", kind: FileKind::Jpeg });
    }
    all
}

/// From the chunks of a WebP file.
pub(in crate::image) fn of_webp(bytes: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    if let Ok(webp) = WebP::from_bytes(Bytes::copy_from_slice(bytes)) {
        let data = |id| Some(webp.chunk_by_id(id)?.content().data()?.to_vec());
        metadata.exif = data(*b"EXIF").map(|block| exif::without_prefix(&block).into());
        metadata.xmp = data(*b"XMP ");
    }
    metadata
}

/// The WebP file with this metadata.
pub(in crate::image) fn into_webp(
    file: Vec<u8>,
    metadata: &Metadata,
    notes: &mut Vec<Note>,
) -> Result<Vec<u8>, String> {
    let kind = FileKind::WebP;
    if metadata.photoshop.is_some() {
        notes.push(Note::LeftOut { what: "IPTC", kind });
    }
    if metadata.has_text() {
        notes.push(Note::LeftOut { what: "PNG text", kind });
    }
    if metadata.comment.is_some() {
        notes.push(Note::LeftOut { what: "JPEG comment", kind });
    }
    // EXIF has a resolution of its own.
    let in_exif = metadata.exif.as_deref().and_then(exif::resolution).is_some();
    if metadata.resolution.is_some() && !in_exif {
        notes.push(Note::LeftOut { what: "resolution", kind });
    }
    let packet = metadata.one_packet(kind, notes);
    if metadata.exif.is_none() && packet.is_none() {
        return Ok(file);
    }
    let mut webp = WebP::from_bytes(file.into()).map_err(|error| error.to_string())?;
    // Makes the header of extended files, which XMP needs as well.
    webp.set_exif(Some(metadata.exif.clone().unwrap_or_default().into()));
    if metadata.exif.is_none() {
        webp.remove_chunks_by_id(*b"EXIF");
    }
    if let Some(packet) = &packet {
        let content = RiffContent::Data(Bytes::copy_from_slice(packet));
        webp.chunks_mut().push(RiffChunk::new(*b"XMP ", content));
    }
    let mut bytes = webp.encoder().bytes().to_vec();
    if bytes.get(12..16) == Some(b"VP8X") {
        let flag = |bit: u8, present: bool| if present { bit } else { 0 };
        let flags = flag(8, metadata.exif.is_some()) | flag(4, packet.is_some());
        bytes[20] = bytes[20] & !(8 | 4) | flags;
    }
    Ok(bytes)
}
