//! Compressions that are unpacked here, the old kind of JPEG, and BigTIFF.

use ::tiff::encoder::{TiffEncoder, colortype};
use ::tiff::tags::Tag;

use super::*;
use crate::image::metadata::directory::Directory;
use crate::image::segments::{DHT, DQT, SOS, segment_at};
use crate::image::{Format, Image, Photo, TiffCompression, WriteOptions};

const WIDTH: usize = 17;
const HEIGHT: usize = 20;

/// The picture of the files in `samples`, in colors.
fn color(x: usize, y: usize) -> [f32; 3] {
    [x * 15, y * 12, x * y * 7 % 256].map(|level| level as f32 / 255.0)
}

fn read(file: &[u8]) -> Photo {
    Photo::from_bytes(file, &Limits::default()).unwrap()
}

#[cfg(feature = "more-formats")]
const COLORED: [&[u8]; 4] = [
    include_bytes!("samples/webp.tif"),
    include_bytes!("samples/zstd.tif"),
    include_bytes!("samples/lzma.tif"),
    // With the filter of libtiff.
    include_bytes!("samples/delta.tif"),
];
#[cfg(not(feature = "more-formats"))]
const COLORED: [&[u8]; 1] = [include_bytes!("samples/webp.tif")];

#[test]
fn chunks_of_further_compressions_are_unpacked() {
    for file in COLORED {
        let photo = read(file);
        assert_eq!(photo.image(), Image::from_fn(WIDTH, HEIGHT, color));
        assert_eq!((photo.notes, photo.alpha), (vec![], None));
        let source = photo.source.unwrap();
        assert_eq!((source.tiff, source.lossy), (Some(TiffCompression::Deflate), false));
    }
}

#[test]
fn tiles_of_16_bits_are_unpacked() {
    let gray = |x: usize, y: usize| [(x * 3000 + y * 700) as f32 / 65535.0; 3];
    // Big-endian, and tiles that reach beyond the picture; the first with differences.
    for file in [
        #[cfg(feature = "more-formats")]
        &include_bytes!("samples/tiles.tif")[..],
        include_bytes!("samples/lzw-tiles.tif"),
    ] {
        let photo = read(file);
        assert_eq!(photo.image(), Image::from_fn(WIDTH, HEIGHT, gray));
        assert!(photo.gray);
    }
    let whole = include_bytes!("samples/lzw-tiles.tif");
    let cut = Photo::from_bytes(&whole[..whole.len() - 9], &Limits::default()).unwrap_err();
    assert!(cut.contains("truncated") || cut.contains("damaged"), "{cut}");
}

#[cfg(not(feature = "more-formats"))]
#[test]
fn the_refusal_names_what_the_program_was_built_without() {
    for (file, name) in [
        (&include_bytes!("samples/zstd.tif")[..], "Zstandard compression, which"),
        (include_bytes!("samples/lzma.tif"), "LZMA compression, which"),
    ] {
        let refusal = Photo::from_bytes(file, &Limits::default()).unwrap_err();
        assert!(refusal.contains(name) && refusal.contains("save it as PNG"), "{refusal}");
    }
}

#[test]
fn a_damaged_chunk_is_refused_and_the_others_are_there() {
    let going = Limits { keep_going: true, ..Limits::default() };
    for file in COLORED {
        let tags = Tags::read(&mut open(file).unwrap()).unwrap();
        if tags.chunks.len() < 3 {
            continue;
        }
        let mut file = file.to_vec();
        let second = tags.chunks[1].clone();
        file[second.start + second.len() / 3..second.end].fill(0x55);
        let refusal = Photo::from_bytes(&file, &Limits::default()).unwrap_err();
        assert!(refusal.contains("damaged TIFF") && refusal.contains("again"), "{refusal}");
        let photo = Photo::from_bytes(&file, &going).unwrap();
        assert_eq!(photo.notes, [Note::Incomplete(60)]);
        let gray = [128.0 / 255.0; 3];
        let expected = |x, y| if (8..16).contains(&y) { gray } else { color(x, y) };
        assert_eq!(photo.image(), Image::from_fn(WIDTH, HEIGHT, expected));
    }
}

/// A directory, and what its fields point to: bytes, or bytes whose addresses are the values.
struct Parts {
    fields: Vec<(u16, Vec<u32>)>,
    behind: Vec<(u16, Vec<Vec<u8>>)>,
}

impl Parts {
    fn file(self) -> Vec<u8> {
        let mut file = b"II*\0\0\0\0\0".to_vec();
        let mut fields = self.fields;
        for (tag, parts) in self.behind {
            let mut places = Vec::new();
            for part in parts {
                places.push(file.len() as u32);
                file.extend(part);
            }
            fields.push((tag, places));
        }
        fields.sort();
        let mut entries = Vec::new();
        for (tag, values) in &fields {
            entries.extend(tag.to_le_bytes());
            entries.extend(4u16.to_le_bytes());
            entries.extend((values.len() as u32).to_le_bytes());
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            if values.len() == 1 {
                entries.extend(bytes);
            } else {
                entries.extend((file.len() as u32).to_le_bytes());
                file.extend(bytes);
            }
        }
        let first = file.len() as u32;
        file[4..8].copy_from_slice(&first.to_le_bytes());
        file.extend((fields.len() as u16).to_le_bytes());
        [&file[..], &entries, &[0; 4]].concat()
    }
}

/// A JPEG file of a picture of 40x32, and what it is read as.
fn jpeg(interval: u16) -> (Vec<u8>, Image) {
    let samples: Vec<u8> =
        (0..40 * 32).flat_map(|i| [i % 40 * 6, i / 40 * 7, 90].map(|v| v as u8)).collect();
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 90);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    encoder.set_restart_interval(interval);
    encoder.encode(&samples, 40, 32, jpeg_encoder::ColorType::Rgb).unwrap();
    let picture = read(&file).image();
    (file, picture)
}

fn fields(rows: u32) -> Vec<(u16, Vec<u32>)> {
    let mut fields = Vec::new();
    for (tag, value) in [(256, 40), (257, 32), (259, 6), (262, 6), (277, 3), (278, rows)] {
        fields.push((tag, vec![value]));
    }
    fields.push((258, vec![8, 8, 8]));
    fields.push((530, vec![2, 2]));
    fields
}

#[test]
fn a_jpeg_file_inside_of_a_tiff_file_is_read() {
    let (jpeg, picture) = jpeg(0);
    let file = |width: u32, len: usize| {
        let mut fields = fields(32);
        fields[0].1[0] = width;
        fields.push((514, vec![len as u32]));
        // The strip is a part of the file, of no interest.
        fields.push((273, vec![8]));
        fields.push((279, vec![7]));
        Parts { fields, behind: vec![(513, vec![jpeg.clone()])] }.file()
    };
    let photo = read(&file(40, jpeg.len()));
    assert_eq!((&photo.image(), photo.notes), (&picture, vec![]));
    let source = photo.source.unwrap();
    assert!(source.lossy && source.kind == FileKind::Tiff);
    let refusal = |file: &[u8]| Photo::from_bytes(file, &Limits::default()).unwrap_err();
    assert!(refusal(&file(41, jpeg.len())).contains("another size"));
    let scan = jpeg.windows(2).position(|window| window == [0xFF, SOS]).unwrap();
    let half = refusal(&file(40, (scan + jpeg.len()) / 2));
    assert!(half.contains("truncated: only"), "{half}");
    assert!(refusal(&file(40, 100)).contains("old kind of JPEG compression, without its tables"));
}

#[test]
fn jpeg_tables_and_scans_that_are_apart_are_put_together() {
    // Whole, and as two strips that were restart intervals, each a row of three MCUs.
    for (interval, rows) in [(0, 32), (3, 16)] {
        let (jpeg, picture) = jpeg(interval);
        let (mut quantization, mut codes) = (Vec::new(), [Vec::new(), Vec::new()]);
        let (mut at, mut scan) = (0, 0);
        while let Some(segment) = segment_at(&jpeg, at) {
            at = segment.end;
            match segment.marker {
                DQT => quantization.extend(segment.contents.chunks(65).map(|t| t[1..].to_vec())),
                DHT => {
                    let class = usize::from(segment.contents[0] >> 4);
                    codes[class].push(segment.contents[1..].to_vec());
                }
                SOS => {
                    scan = at;
                    break;
                }
                _ => {}
            }
        }
        let bits = &jpeg[scan..jpeg.len() - 2];
        let markers = bits.windows(2).enumerate().filter(|(_, b)| b[0] == 0xFF && b[1] >= 0xD0);
        let mut strips = Vec::new();
        let mut start = 0;
        for (end, _) in markers {
            strips.push(bits[start..end].to_vec());
            start = end + 2;
        }
        strips.push(bits[start..].to_vec());
        assert_eq!(strips.len(), 32 / rows as usize);
        // The first table is of luma, the second of both differences.
        let of_components = |tables: &[Vec<u8>]| [0, 1, 1].map(|i| tables[i].clone()).to_vec();
        let mut fields = fields(rows);
        fields.push((279, strips.iter().map(|strip| strip.len() as u32).collect()));
        let behind = vec![
            (273, strips),
            (519, of_components(&quantization)),
            (520, of_components(&codes[0])),
            (521, of_components(&codes[1])),
        ];
        let photo = read(&Parts { fields, behind }.file());
        assert_eq!((photo.image(), photo.notes), (picture, vec![]), "{rows}");
    }
}

#[test]
fn a_bigtiff_file_has_its_metadata_and_its_colors() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new_big(&mut file).unwrap();
    let mut below = encoder.extra_directory().unwrap();
    below.write_tag(Tag::from_u16_exhaustive(0x9003), "2026:11:30 12:00:00").unwrap();
    below.write_tag(Tag::from_u16_exhaustive(0xA002), 3u64).unwrap();
    let exif = below.finish_with_offsets().unwrap().offset;
    let mut image = encoder.new_image::<colortype::Gray8>(3, 1).unwrap();
    let palette: Vec<u16> = (0..768).map(|i| ((i * 7) % 256) << 8).collect();
    let tags = image.encoder();
    tags.write_tag(Tag::from_u16_exhaustive(271), "Camera").unwrap();
    tags.write_tag(Tag::from_u16_exhaustive(274), 6u16).unwrap();
    tags.write_tag(Tag::from_u16_exhaustive(320), &palette[..]).unwrap();
    tags.write_tag(Tag::from_u16_exhaustive(0x8769), exif).unwrap();
    image.write_data(&[0, 1, 255]).unwrap();
    let mut file = file.into_inner();
    assert!(file.starts_with(b"II+\0"));
    assert!(exif::put_in_first(&mut file, 262, Some(3)));

    let photo = read(&file);
    assert_eq!((photo.sides(), photo.gray), ((1, 3), false));
    let level = |i: usize| [0, 1, 2].map(|c| ((c * 256 + i) * 7 % 256) as f32 / 255.0);
    let colors: Vec<_> = photo.pixels.iter().collect();
    assert_eq!(colors, [level(0), level(1), level(255)]);
    let block = photo.metadata.exif.unwrap();
    assert_eq!(exif::orientation(&block), None, "pictures are upright, so none is kept");
    let directory = Directory::read(&block).unwrap();
    let value = |values: &[crate::image::metadata::directory::Value], tag: u16| {
        let found = values.iter().find(|value| value.tag == tag);
        found.map(|value| (value.kind, value.bytes.clone()))
    };
    assert_eq!(value(&directory.values, 271), Some((2, b"Camera\0".to_vec())));
    let (tag, below) = &directory.below[0];
    let date = value(&below.values, 0x9003);
    assert_eq!((*tag, date), (0x8769, Some((2, b"2026:11:30 12:00:00\0".to_vec()))));
    // Of the upright picture, and of a size that the block knows.
    assert_eq!(value(&below.values, 0xA002), Some((4, 1u32.to_ne_bytes().to_vec())));
}

#[test]
fn contradictions_that_change_nothing_are_no_reason_to_refuse() {
    let file = |bits: &[u32]| {
        let mut fields: Vec<(u16, Vec<u32>)> = Vec::new();
        for (tag, value) in [(256, 1), (257, 1), (262, 2), (277, 3), (278, 1), (279, 3)] {
            fields.push((tag, vec![value]));
        }
        fields.push((258, bits.to_vec()));
        Parts { fields, behind: vec![(273, vec![vec![51, 102, 204]])] }.file()
    };
    let mut itself = file(&[8, 8, 8]);
    let (first, end) = (itself[4..8].to_vec(), itself.len());
    itself[end - 4..].copy_from_slice(&first);
    for file in [file(&[8, 8, 8]), file(&[8]), file(&[8, 8, 8, 1]), file(&[8, 8]), itself] {
        let photo = read(&file);
        assert_eq!((photo.image().data, photo.notes), (vec![0.2, 0.4, 0.8], vec![]));
        assert_eq!(Photo::size_of_bytes(&file).unwrap(), (1, 1));
    }
}

#[test]
fn the_table_of_compressions_in_the_manual_is_true() {
    let written = |tiff| {
        let mut photo = Photo::new(Image::from_fn(WIDTH, HEIGHT, color));
        photo.source = Some(SourceFile { tiff: Some(tiff), ..SourceFile::new(FileKind::Tiff) });
        photo.to_bytes(Format::Tiff, &WriteOptions::default()).unwrap().0
    };
    let (jpeg, _) = jpeg(0);
    let of_jpeg = |scheme: u32, tag: u16| {
        let mut fields = fields(32);
        fields[2].1[0] = scheme;
        fields.push((279, vec![jpeg.len() as u32]));
        let more = if tag == 273 { vec![] } else { vec![(273, vec![8])] };
        Parts { fields: [fields, more].concat(), behind: vec![(tag, vec![jpeg.clone()])] }.file()
    };
    let fax = {
        let numbers =
            [(256, 8), (257, 2), (258, 1), (259, 3), (262, 0), (277, 1), (278, 2), (279, 6)];
        let fields = numbers.map(|(tag, value)| (tag, vec![value])).to_vec();
        let data = [0x00, 0x17, 0xA0].repeat(2);
        Parts { fields, behind: vec![(273, vec![data])] }.file()
    };
    let files = [
        ("none", 1, written(TiffCompression::None)),
        ("PackBits", 32773, written(TiffCompression::PackBits)),
        ("LZW", 5, written(TiffCompression::Lzw)),
        ("Deflate", 8, written(TiffCompression::Deflate)),
        ("JPEG", 7, of_jpeg(7, 273)),
        ("JPEG, the old kind", 6, of_jpeg(6, 513)),
        ("fax (CCITT Groups 3 and 4)", 3, fax),
        ("WebP", 50001, include_bytes!("samples/webp.tif").to_vec()),
        ("Zstandard", 50000, include_bytes!("samples/zstd.tif").to_vec()),
        ("LZMA", 34925, include_bytes!("samples/lzma.tif").to_vec()),
    ];
    let page = include_str!("../../../../../docs/src/formats.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| compression")).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), files.len());
    for (row, (name, scheme, file)) in rows.into_iter().zip(files) {
        let tags = Tags::read(&mut open(&file).unwrap()).unwrap();
        assert_eq!(tags.scheme, scheme, "{name}");
        let needs_feature = matches!(name, "Zstandard" | "LZMA");
        if cfg!(feature = "more-formats") || !needs_feature {
            assert_eq!(read(&file).notes, [], "{name}");
        }
        // A result with the same number.
        let again = written(tags.compression);
        let again = Tags::read(&mut open(&again).unwrap()).unwrap().scheme;
        let word = if again == scheme { "yes" } else { "no" };
        assert_eq!(row, format!("| {name} | yes | {word} |"));
    }
}
