//! TIFF files. The crate `tiff` finds and decompresses the chunks; the meaning of the samples it
//! leaves to us.

mod chunks;
mod colors;
mod fax;
mod old_jpeg;
mod reasons;
mod tags;
mod unpack;
mod ycbcr;

#[cfg(test)]
mod packed_tests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::{BufRead, Cursor, Seek};

use ::tiff::decoder::{Decoder, Limits as TiffLimits};

use super::decoded::{Decoded, Result, check_size, gray_out};
use crate::image::metadata::exif;
use crate::image::metadata::pictures::{make_first, pictures, raw_kind};
use crate::image::photo::Limits;
use crate::image::{FileKind, Note, SourceFile};
use reasons::reason;
use tags::{Photometric, Tags};
use unpack::{Packing, unpacked};

/// The size of the image as stored, and its orientation.
pub(super) fn size(mut file: impl BufRead + Seek) -> Result<((u32, u32), Option<u8>)> {
    if let Ok(mut decoder) = Decoder::new(&mut file)
        && !Tags::may_be_minor(&mut decoder)
    {
        let size = decoder.dimensions().map_err(reason)?;
        return Ok((size, Tags::orientation(&mut decoder)));
    }
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let bytes = mended(&bytes)?;
    let mut decoder = Decoder::new(Cursor::new(&*bytes)).map_err(reason)?;
    let size = decoder.dimensions().map_err(reason)?;
    Ok((size, Tags::orientation(&mut decoder)))
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let (file, bytes) = (bytes, &*mended(bytes)?);
    let mut decoder = open(bytes)?;
    let size = decoder.dimensions().map_err(reason)?;
    check_size(size, limits)?;
    let tags = Tags::read(&mut decoder)?;
    let mut decoded = match Packing::of(&tags) {
        _ if tags.scheme == old_jpeg::SCHEME => {
            old_jpeg::decode(&mut decoder, bytes, size, &tags, limits)?
        }
        Some(packing) => {
            let file = unpacked(bytes, size, &tags, packing, limits.keep_going)?;
            let tags = Tags::read(&mut open(&file)?)?;
            picture(&file, size, &tags, limits)?
        }
        None => picture(bytes, size, &tags, limits)?,
    };
    decoded.orientation = tags.orientation;
    decoded.metadata = tags.metadata(bytes, file);
    decoded.source = SourceFile::new(FileKind::Tiff);
    decoded.source.tiff = Some(tags.compression);
    decoded.source.lossy = tags.lossy;
    let pages = pages(bytes);
    decoded.notes.extend((pages > 1).then_some(Note::FirstOf(pages)));
    Ok(decoded)
}

/// The file with its first page in front, where a thumbnail is, and without contradictions that the
/// crate refuses: lists of another length than a pixel has samples, and a next page that is this
/// one.
///
/// # Errors
/// If it is a raw photo, of which only previews could be read.
fn mended(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if let Some(kind) = raw_kind(bytes) {
        return Err(FileKind::Raw(kind).refusal().unwrap_or_default());
    }
    let mut file = Cow::Borrowed(bytes);
    let pictures = pictures(bytes);
    if pictures.first().is_some_and(|first| first.is_minor)
        && let Some(whole) = pictures.iter().find(|picture| !picture.is_minor)
    {
        make_first(file.to_mut(), whole.at);
    }
    let samples = exif::list_in_first(&file, 277).map_or(1, |list| list.first().map_or(1, |n| *n));
    for tag in [258, 339] {
        let list = exif::list_in_first(&file, tag).unwrap_or_default();
        // One is for all samples.
        if list.len() > 1 && list.len() != samples as usize && samples < 16 {
            exif::put_list_in_first(file.to_mut(), tag, &vec![list[0] as usize; samples as usize]);
        }
    }
    if let Some(next) = exif::next_that_is_first(&file) {
        file.to_mut()[next].fill(0);
    }
    Ok(file)
}

fn open(file: &[u8]) -> Result<Decoder<Cursor<&[u8]>>> {
    let mut memory = TiffLimits::default();
    memory.decoding_buffer_size = usize::MAX;
    memory.intermediate_buffer_size = usize::MAX;
    memory.ifd_value_size = file.len().max(1 << 20);
    Ok(Decoder::new(Cursor::new(file)).map_err(reason)?.with_limits(memory))
}

/// The pixels of a file whose compression is known to the crate, or that is a fax.
fn picture(bytes: &[u8], size: (u32, u32), tags: &Tags, limits: &Limits) -> Result<Decoded> {
    let mut file = readable(bytes, size, tags)?;
    if limits.keep_going && tags.is_plain {
        lengthen(&mut file, size, tags);
    }
    let len = limits.keep_going.then_some(bytes.len());
    let samples = chunks::read(&mut open(&file)?, &file, size, tags, len)?;

    let mut decoded = Decoded::new(Default::default(), SourceFile::new(FileKind::Tiff));
    let mut icc = tags.icc.clone();
    decoded.pixels = colors::image(&samples, size, tags, &mut icc, &mut decoded.notes)?;
    samples.missing.iter().for_each(|area| gray_out(&mut decoded.pixels, *area));
    decoded.icc = icc;
    if samples.damaged {
        decoded.notes.push(Note::Damaged);
    }
    if !samples.missing.is_empty() {
        decoded.notes.push(Note::Incomplete(samples.whole(size)));
    }
    if samples.bits > 16 {
        decoded.notes.push(Note::FewerBits { from: samples.bits, to: 16 });
    }
    Ok(decoded)
}

/// The file as the crate can read it: palette indices and CIE L*a*b* under the names of color
/// models that it passes through, samples of unusual sizes as bytes, and bits in the usual order.
fn readable<'a>(bytes: &'a [u8], size: (u32, u32), tags: &Tags) -> Result<Cow<'a, [u8]>> {
    let name = match tags.photometric {
        Photometric::Palette => Some(1),
        Photometric::CieLab | Photometric::IccLab => Some(2),
        _ => None,
    };
    if name.is_none() && !tags.reversed_bits && !tags.as_bytes() {
        return Ok(bytes.into());
    }
    let mut file = bytes.to_vec();
    if tags.as_bytes() {
        for (tag, value) in as_bytes(size, tags) {
            exif::put_in_first(&mut file, tag, value);
        }
    } else if let Some(name) = name {
        exif::put_in_first(&mut file, 262, Some(name));
    }
    if tags.reversed_bits {
        for range in &tags.chunks {
            // Of a truncated file, the part that is there.
            let end = range.end.min(file.len());
            let chunk = file.get_mut(range.start..end).into_iter().flatten();
            chunk.for_each(|byte| *byte = byte.reverse_bits());
        }
        exif::put_in_first(&mut file, 266, Some(1));
    }
    Ok(file.into())
}

/// Puts zeros for what a file without compression lacks at its end.
fn lengthen(file: &mut Cow<'_, [u8]>, (width, height): (u32, u32), tags: &Tags) {
    let (columns, rows) = tags.chunk;
    let chunk = tags.row_bytes(columns).saturating_mul(rows.div_ceil(tags.sharing.1));
    let ends = tags.chunks.iter().map(|range| range.end.min(range.start.saturating_add(chunk)));
    let end = ends.max().unwrap_or(0);
    // A damaged field may point to anywhere.
    let picture = tags.row_bytes(width as usize).saturating_mul(height as usize);
    let planes = if tags.planar { tags.samples } else { 1 };
    let most = file.len().saturating_add(picture.saturating_mul(planes).saturating_mul(2));
    if (file.len()..=most).contains(&end) {
        file.to_mut().resize(end, 0);
    }
}

/// The fields of a gray picture whose pixels are the bytes of this one.
fn as_bytes((width, height): (u32, u32), tags: &Tags) -> Vec<(u16, Option<usize>)> {
    let high = |rows: usize| rows.div_ceil(tags.sharing.1);
    let (columns, rows) = tags.chunk;
    let mut fields = vec![
        (256, Some(tags.row_bytes(width as usize))),
        (257, Some(high(height as usize))),
        (258, Some(8)),
        (262, Some(1)),
        (278, Some(high(rows))),
        (317, Some(1)),
        (322, Some(tags.row_bytes(columns))),
        (323, Some(high(rows))),
        (338, None),
        (339, Some(1)),
    ];
    fields.extend((!tags.planar).then_some((277, Some(1))));
    fields
}

/// The number of directories that hold pages, rather than smaller versions of the first.
fn pages(bytes: &[u8]) -> usize {
    const MOST: usize = 10_000;
    let Ok(mut decoder) = Decoder::new(Cursor::new(bytes)) else { return 1 };
    let mut count = 1;
    while count < MOST && decoder.more_images() && decoder.next_image().is_ok() {
        count += 1;
    }
    count
}
