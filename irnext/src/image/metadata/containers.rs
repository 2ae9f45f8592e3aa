//! The places of metadata in JPEG, PNG and WebP files.

use img_parts::png::{Png, PngChunk};
use img_parts::riff::{RiffChunk, RiffContent};
use img_parts::webp::WebP;
use img_parts::{Bytes, ImageEXIF};

use super::super::profile::chunks::{Chunk, is_about_colors};
use super::super::segments::segments;
use super::super::{FileKind, Note};
use super::{Metadata, Resolution, Unit, exif};

const XMP_IN_JPEG: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const PHOTOSHOP_IN_JPEG: &[u8] = b"Photoshop 3.0\0";
const XMP_IN_PNG: &[u8] = b"XML:com.adobe.xmp\0";

/// The most that a JPEG segment holds.
const SEGMENT: usize = 65_533;

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
                metadata.exif.get_or_insert_with(|| block.into());
            }
            (0xE1, contents) if contents.starts_with(XMP_IN_JPEG) => {
                let packet = &contents[XMP_IN_JPEG.len()..];
                metadata.xmp.get_or_insert_with(|| packet.into());
            }
            (0xED, contents) if contents.starts_with(PHOTOSHOP_IN_JPEG) => {
                // Resources that do not fit into one segment go on in the next.
                let resources = metadata.photoshop.get_or_insert_default();
                resources.extend(&contents[PHOTOSHOP_IN_JPEG.len()..]);
            }
            _ => {}
        }
    }
    metadata
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

/// From the chunks of a PNG file, with those about its colors; the XMP packet, which may be
/// compressed, comes from its decoder.
pub(in crate::image) fn of_png(bytes: &[u8], xmp: Option<Vec<u8>>) -> (Metadata, Vec<Chunk>) {
    let mut metadata = Metadata { xmp, ..Metadata::default() };
    let mut colors = Vec::new();
    let Ok(png) = Png::from_bytes(Bytes::copy_from_slice(bytes)) else {
        return (metadata, colors);
    };
    for chunk in png.chunks() {
        let contents = &chunk.contents()[..];
        match &chunk.kind() {
            b"eXIf" => metadata.exif = Some(exif::without_prefix(contents).into()),
            b"pHYs" => {
                if let [x @ .., y3, y2, y1, y0, unit] = contents
                    && let Ok(x) = x.try_into()
                {
                    let x = from_per_meter(u32::from_be_bytes(x), *unit);
                    let y = from_per_meter(u32::from_be_bytes([*y3, *y2, *y1, *y0]), *unit);
                    let unit = if *unit == 1 { 2 } else { 1 };
                    metadata.resolution =
                        Resolution::of_tiff(x, y, unit).filter(|_| x > 0.0 && y > 0.0);
                }
            }
            kind @ (b"tEXt" | b"zTXt" | b"iTXt" | b"tIME") if !is_carried_otherwise(contents) => {
                metadata.texts.push((*kind, contents.into()));
            }
            kind if is_about_colors(kind) => colors.push((*kind, contents.into())),
            _ => {}
        }
    }
    (metadata, colors)
}

/// Pixels for each inch, which are whole for most files; of no unit, the number itself.
fn from_per_meter(value: u32, unit: u8) -> f64 {
    let value = f64::from(value);
    let per_inch = value * 0.0254;
    match unit {
        1 if (per_inch - per_inch.round()).abs() < 0.02 => per_inch.round(),
        1 => per_inch,
        _ => value,
    }
}

/// Whether a text chunk is XMP, or a copy of EXIF that would stay turned.
fn is_carried_otherwise(contents: &[u8]) -> bool {
    contents.starts_with(XMP_IN_PNG)
        || contents.starts_with(b"Raw profile type exif")
        || contents.starts_with(b"Raw profile type APP1")
        || contents.starts_with(b"Raw profile type xmp")
}

/// The PNG file with this metadata.
pub(in crate::image) fn into_png(
    file: Vec<u8>,
    metadata: &Metadata,
    colors: &[Chunk],
    notes: &mut Vec<Note>,
) -> Result<Vec<u8>, String> {
    let mut png = Png::from_bytes(file.into()).map_err(|error| error.to_string())?;
    let verbatim =
        |(kind, contents): &Chunk| PngChunk::new(*kind, Bytes::copy_from_slice(contents));
    let mut added: Vec<_> = colors.iter().map(verbatim).collect();
    if let Some(resolution) = metadata.resolution {
        let (x, y) = resolution.per_meter().unwrap_or((resolution.x, resolution.y));
        let mut contents = Vec::new();
        contents.extend((x.round() as u32).to_be_bytes());
        contents.extend((y.round() as u32).to_be_bytes());
        contents.push(u8::from(resolution.unit != Unit::None));
        added.push(PngChunk::new(*b"pHYs", contents.into()));
    }
    if let Some(block) = &metadata.exif {
        added.push(PngChunk::new(*b"eXIf", Bytes::copy_from_slice(block)));
    }
    if let Some(packet) = &metadata.xmp {
        // Not compressed, no language, no translated keyword.
        let contents = [XMP_IN_PNG, &[0; 4], packet].concat();
        added.push(PngChunk::new(*b"iTXt", contents.into()));
    }
    added.extend(metadata.texts.iter().map(verbatim));
    if metadata.photoshop.is_some() {
        notes.push(Note::LeftOut { what: "IPTC", kind: FileKind::Png });
    }
    if metadata.comment.is_some() {
        notes.push(Note::LeftOut { what: "JPEG comment", kind: FileKind::Png });
    }
    // Behind the header, and before the pixels.
    let chunks = png.chunks_mut();
    let at = chunks.len().min(1);
    chunks.splice(at..at, added);
    Ok(png.encoder().bytes().to_vec())
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
    if metadata.exif.is_none() && metadata.xmp.is_none() {
        return Ok(file);
    }
    let mut webp = WebP::from_bytes(file.into()).map_err(|error| error.to_string())?;
    // Makes the header of extended files, which XMP needs as well.
    webp.set_exif(Some(metadata.exif.clone().unwrap_or_default().into()));
    if metadata.exif.is_none() {
        webp.remove_chunks_by_id(*b"EXIF");
    }
    if let Some(packet) = &metadata.xmp {
        let content = RiffContent::Data(Bytes::copy_from_slice(packet));
        webp.chunks_mut().push(RiffChunk::new(*b"XMP ", content));
    }
    let mut bytes = webp.encoder().bytes().to_vec();
    if bytes.get(12..16) == Some(b"VP8X") {
        let flag = |bit: u8, present: bool| if present { bit } else { 0 };
        let flags = flag(8, metadata.exif.is_some()) | flag(4, metadata.xmp.is_some());
        bytes[20] = bytes[20] & !(8 | 4) | flags;
    }
    Ok(bytes)
}
