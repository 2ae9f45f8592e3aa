//! The places of metadata in PNG files, which may lie before the pixels or behind them.

use std::borrow::Cow;
use std::ops::Range;

use img_parts::Bytes;
use img_parts::png::{Png, PngChunk};
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::super::profile::chunks::{Chunk, is_about_colors};
use super::super::{FileKind, Note};
use super::containers::XMP_IN_JPEG;
use super::{Metadata, Resolution, Unit, exif, with_iptc};

const XMP: &[u8] = b"XML:com.adobe.xmp";

/// The keyword of text that holds another block of metadata, as ImageMagick writes it, is followed
/// by the block's name.
const RAW_PROFILE: &[u8] = b"Raw profile type ";

/// The most bytes that a text is decompressed to.
const MOST_TEXT: usize = 1 << 26;

/// The type and contents of the chunk at `at`, and where the next one starts. None where what
/// follows is no chunk, or not all of one.
pub(in crate::image) fn chunk_at(png: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let head = png.get(at..at.checked_add(8)?)?;
    let (len, kind) = head.split_first_chunk::<4>()?;
    let end = (at + 8).checked_add(u32::from_be_bytes(*len) as usize)?;
    let next = end.checked_add(4)?;
    let is_chunk = kind.iter().all(u8::is_ascii_alphabetic) && next <= png.len();
    is_chunk.then_some((at + 4..end, next))
}

/// From the chunks of a PNG file, as far as it goes, with those about its colors.
pub(in crate::image) fn of_png(png: &[u8]) -> (Metadata, Vec<Chunk>) {
    let mut metadata = Metadata::default();
    let mut colors = Vec::new();
    let mut profiles = Vec::new();
    let mut at = 8;
    while let Some((range, next)) = chunk_at(png, at) {
        at = next;
        let Some((kind, contents)) = png[range].split_first_chunk::<4>() else { break };
        match kind {
            b"eXIf" => metadata.exif = Some(exif::without_prefix(contents).into()),
            b"pHYs" => metadata.resolution = resolution(contents).or(metadata.resolution),
            b"tEXt" | b"zTXt" | b"iTXt" => match text(kind, contents) {
                Some((XMP, packet)) => {
                    metadata.xmp.get_or_insert_with(|| packet.into_owned());
                }
                Some((keyword, text)) if is_metadata(keyword) => {
                    profiles.extend(raw_profile(&text));
                }
                _ => metadata.texts.push((*kind, contents.into())),
            },
            b"tIME" => metadata.texts.push((*kind, contents.into())),
            kind if is_about_colors(kind) => colors.push((*kind, contents.into())),
            _ => {}
        }
    }
    // Chunks of their own come first.
    profiles.into_iter().for_each(|profile| put_profile(&mut metadata, profile));
    (metadata, colors)
}

fn resolution(contents: &[u8]) -> Option<Resolution> {
    let &[x3, x2, x1, x0, y3, y2, y1, y0, unit] = contents else { return None };
    let x = from_per_meter(u32::from_be_bytes([x3, x2, x1, x0]), unit);
    let y = from_per_meter(u32::from_be_bytes([y3, y2, y1, y0]), unit);
    let unit = if unit == 1 { 2 } else { 1 };
    Resolution::of_tiff(x, y, unit).filter(|_| x > 0.0 && y > 0.0)
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

/// The keyword of a chunk of text, and the text.
fn text<'a>(kind: &[u8; 4], contents: &'a [u8]) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
    let (keyword, rest) = split_at_zero(contents)?;
    let inflated = |data| decompress_to_vec_zlib_with_limit(data, MOST_TEXT).ok().map(Cow::Owned);
    let text = match (kind, rest) {
        (b"tEXt", _) => Some(rest.into()),
        (b"zTXt", [0, data @ ..]) => inflated(data),
        (b"iTXt", [compressed, _, rest @ ..]) => {
            // The language, and the keyword in it.
            let (_, rest) = split_at_zero(rest)?;
            let (_, text) = split_at_zero(rest)?;
            if *compressed == 0 { Some(text.into()) } else { inflated(text) }
        }
        _ => None,
    };
    Some((keyword, text?))
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Whether text of this keyword holds metadata that has a place in [`Metadata`].
fn is_metadata(keyword: &[u8]) -> bool {
    let block = keyword.strip_prefix(RAW_PROFILE);
    block.is_some_and(|block| matches!(block, b"exif" | b"APP1" | b"xmp" | b"iptc" | b"8bim"))
}

/// The block in a text: on lines of their own the block's name, its length, and hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.strip_prefix(b"\n")?.splitn(3, |byte| *byte == b'\n');
    let (_, len, digits) = (lines.next()?, lines.next()?, lines.next()?);
    let len: usize = std::str::from_utf8(len).ok()?.trim().parse().ok()?;
    let digits = digits.iter().filter_map(|&byte| char::from(byte).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    let block: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    block.get(..len).map(<[u8]>::to_vec)
}

/// Puts a block in its place, which its first bytes tell, unless there is one.
fn put_profile(metadata: &mut Metadata, block: Vec<u8>) {
    match &block[..] {
        [b'8', b'B', b'I', b'M', ..] => {
            metadata.photoshop.get_or_insert(block);
        }
        // Fields of IPTC.
        [0x1C, ..] => metadata.photoshop = with_iptc(metadata.photoshop.take(), Some(&block)),
        [b'<', ..] => {
            metadata.xmp.get_or_insert(block);
        }
        _ if block.starts_with(XMP_IN_JPEG) => {
            metadata.xmp.get_or_insert_with(|| block[XMP_IN_JPEG.len()..].into());
        }
        _ => {
            metadata.exif.get_or_insert_with(|| exif::without_prefix(&block).into());
        }
    }
}

/// A chunk of text that holds Photoshop's resources.
fn raw_resources(resources: &[u8]) -> Vec<u8> {
    const BYTES_OF_LINE: usize = 36;
    let mut text = format!("\niptc\n{:8}\n", resources.len());
    for line in resources.chunks(BYTES_OF_LINE) {
        text.extend(line.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    // Of deflate's levels, the usual one.
    [RAW_PROFILE, b"iptc\0\0", &compress_to_vec_zlib(text.as_bytes(), 6)].concat()
}

/// A chunk of text that holds the comment of a JPEG file, whose encoding nobody tells.
fn comment_text(comment: &[u8]) -> PngChunk {
    // Neither kind of text may have a zero in it.
    let text: Vec<u8> = comment.iter().copied().filter(|&byte| byte != 0).collect();
    if text.is_ascii() || std::str::from_utf8(&text).is_err() {
        return PngChunk::new(*b"tEXt", [b"Comment\0", &text[..]].concat().into());
    }
    // In UTF-8: not compressed, no language, no translated keyword.
    PngChunk::new(*b"iTXt", [&b"Comment"[..], &[0; 5], &text].concat().into())
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
    if let Some(packet) = metadata.one_packet(FileKind::Png, notes) {
        // Not compressed, no language, no translated keyword.
        let contents = [XMP, &[0; 5], &packet].concat();
        added.push(PngChunk::new(*b"iTXt", contents.into()));
    }
    if let Some(resources) = &metadata.photoshop {
        added.push(PngChunk::new(*b"zTXt", raw_resources(resources).into()));
    }
    added.extend(metadata.texts.iter().map(verbatim));
    added.extend(metadata.comment.as_deref().map(comment_text));
    // Behind the header, and before the pixels.
    let chunks = png.chunks_mut();
    let at = chunks.len().min(1);
    chunks.splice(at..at, added);
    Ok(png.encoder().bytes().to_vec())
}
