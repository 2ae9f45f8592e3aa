//! TIFF files, with the compression of the file that the photo came from.

use std::io::{Cursor, Seek, Write};

use ::tiff::TiffError;
use ::tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16, RGBA8, RGBA16};
use ::tiff::encoder::{
    Compression, DeflateLevel, DirectoryEncoder, Predictor, Rational, TiffEncoder, TiffKind,
    TiffValue,
};
use ::tiff::tags::{ExtraSamples, ResolutionUnit, Tag, Type};

use super::samples::FileSamples;
use crate::image::metadata::directory::{Directory, Value};
use crate::image::metadata::{Metadata, Resolution, Unit, exif, iptc_in};
use crate::image::{Depth, FileKind, Note, SourceFile, TiffCompression};

type Result<T> = std::result::Result<T, TiffError>;

pub(super) fn encode(
    samples: &FileSamples,
    source: Option<SourceFile>,
    metadata: &Metadata,
    notes: &mut Vec<Note>,
) -> std::result::Result<Vec<u8>, String> {
    if metadata.has_text() {
        notes.push(Note::LeftOut { what: "PNG text", kind: FileKind::Tiff });
    }
    if metadata.comment.is_some() {
        notes.push(Note::LeftOut { what: "JPEG comment", kind: FileKind::Tiff });
    }
    let packet = metadata.one_packet(FileKind::Tiff, notes);
    let compression = source.and_then(|source| source.tiff).unwrap_or(TiffCompression::None);
    let about = About { metadata, packet: packet.as_deref() };
    let eight = &samples.bytes;
    let pairs = samples.bytes.chunks_exact(2);
    let sixteen = || pairs.clone().map(|b| u16::from_ne_bytes([b[0], b[1]])).collect::<Vec<_>>();
    let written = match (samples.depth, samples.channels) {
        (Depth::Eight, 1 | 2) => write::<Gray8>(samples, eight, compression, about),
        (Depth::Eight, 3) => write::<RGB8>(samples, eight, compression, about),
        (Depth::Eight, _) => write::<RGBA8>(samples, eight, compression, about),
        (Depth::Sixteen, 1 | 2) => write::<Gray16>(samples, &sixteen(), compression, about),
        (Depth::Sixteen, 3) => write::<RGB16>(samples, &sixteen(), compression, about),
        (Depth::Sixteen, _) => write::<RGBA16>(samples, &sixteen(), compression, about),
    };
    written.map_err(|error| format!("cannot write: {error}"))
}

/// The metadata, and its XMP as a TIFF file holds it.
#[derive(Clone, Copy)]
struct About<'a> {
    metadata: &'a Metadata,
    packet: Option<&'a [u8]>,
}

fn write<C: ColorType>(
    samples: &FileSamples,
    values: &[C::Inner],
    compression: TiffCompression,
    About { metadata, packet }: About<'_>,
) -> Result<Vec<u8>>
where
    [C::Inner]: TiffValue,
{
    let mut file = Cursor::new(Vec::new());
    // The crate's predictor knows nothing of extra samples.
    let gray_alpha = samples.channels == 2;
    // The others know no predictor, and the crate writes its field all the same.
    let packs_differences = matches!(compression, TiffCompression::Lzw | TiffCompression::Deflate);
    let predictor = match packs_differences && !gray_alpha {
        true => Predictor::Horizontal,
        false => Predictor::None,
    };
    let mut encoder = TiffEncoder::new(&mut file)?.with_predictor(predictor).with_compression(
        match compression {
            TiffCompression::None => Compression::Uncompressed,
            TiffCompression::Lzw => Compression::Lzw,
            TiffCompression::Deflate => Compression::Deflate(DeflateLevel::default()),
            TiffCompression::PackBits => Compression::Packbits,
        },
    );
    let directory = metadata.exif.as_deref().and_then(Directory::read).unwrap_or_default();
    let below = below(&mut encoder, &directory)?;
    let mut image = encoder.new_image::<C>(samples.width, samples.height)?;
    if gray_alpha {
        image.extra_samples(&[ExtraSamples::UnassociatedAlpha])?;
    }
    let tags = image.encoder();
    if samples.channels == 4 {
        tags.write_tag(Tag::ExtraSamples, &[ExtraSamples::UnassociatedAlpha.to_u16()][..])?;
    }
    put(tags, &directory.values)?;
    for (tag, offset) in below {
        tags.write_tag(Tag::from_u16_exhaustive(tag), offset)?;
    }
    if let Some(icc) = &samples.icc {
        put_bytes(tags, 34675, Type::UNDEFINED, icc)?;
    }
    if let Some(packet) = packet {
        put_bytes(tags, 700, Type::BYTE, packet)?;
    }
    if let Some(resources) = &metadata.photoshop {
        put_bytes(tags, 34377, Type::BYTE, resources)?;
        // Most programs look for it here.
        if let Some(fields) = iptc_in(resources).filter(|fields| !fields.is_empty()) {
            put_bytes(tags, 33723, Type::UNDEFINED, fields)?;
        }
    }
    if let Some(resolution) = metadata.resolution {
        put_resolution(tags, resolution)?;
    }
    image.write_data(values)?;
    let mut file = file.into_inner();
    if !packs_differences {
        exif::remove_from_first(&mut file, 317);
    }
    Ok(file)
}

/// Writes the directories below the first, and returns where they are.
fn below<W: Write + Seek>(
    encoder: &mut TiffEncoder<W>,
    directory: &Directory,
) -> Result<Vec<(u16, u32)>> {
    let mut places = Vec::new();
    for (tag, inner) in &directory.below {
        let further = below(encoder, inner)?;
        if inner.values.is_empty() && further.is_empty() {
            continue;
        }
        let mut fields = encoder.extra_directory()?;
        put(&mut fields, &inner.values)?;
        for (tag, offset) in further {
            fields.write_tag(Tag::from_u16_exhaustive(tag), offset)?;
        }
        places.push((*tag, fields.finish_with_offsets()?.offset));
    }
    Ok(places)
}

fn put<W: Write + Seek, K: TiffKind>(
    directory: &mut DirectoryEncoder<'_, W, K>,
    values: &[Value],
) -> Result<()> {
    for value in values {
        if let Some(kind) = Type::from_u16(value.kind) {
            put_bytes(directory, value.tag, kind, &value.bytes)?;
        }
    }
    Ok(())
}

fn put_bytes<W: Write + Seek, K: TiffKind>(
    directory: &mut DirectoryEncoder<'_, W, K>,
    tag: u16,
    kind: Type,
    bytes: &[u8],
) -> Result<()> {
    let entry = directory.write_entry_bytes(kind, bytes)?;
    let one = ::tiff::Directory::from_iter([(Tag::from_u16_exhaustive(tag), entry)]);
    directory.extend_from(&one);
    Ok(())
}

fn put_resolution<W: Write + Seek, K: TiffKind>(
    directory: &mut DirectoryEncoder<'_, W, K>,
    resolution: Resolution,
) -> Result<()> {
    let unit = match resolution.unit {
        Unit::None => ResolutionUnit::None,
        Unit::Inch => ResolutionUnit::Inch,
        Unit::Centimeter => ResolutionUnit::Centimeter,
    };
    let rational = |value: f64| match value.fract() == 0.0 {
        true => Rational { n: value as u32, d: 1 },
        false => Rational { n: (value * 10_000.0).round() as u32, d: 10_000 },
    };
    directory.write_tag(Tag::ResolutionUnit, unit.to_u16())?;
    directory.write_tag(Tag::XResolution, rational(resolution.x))?;
    directory.write_tag(Tag::YResolution, rational(resolution.y))
}
