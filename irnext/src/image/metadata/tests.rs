//! Metadata: the changed parts, the kept ones, and the way from each format to each other.

use super::*;
use crate::image::{Format, Image, Limits, Note, Photo, WriteOptions};

const MAKER_NOTE: &[u8] = b"maker's note\0\x01\x02\x03";

/// A block with an orientation of 6, a thumbnail, and everything that must stay.
fn block(big_endian: bool) -> Vec<u8> {
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut block = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    block.extend(long(8));
    let field = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&short(tag)[..], &short(kind), &long(count), &value].concat()
    };
    let inline = |value: u16| [short(value)[0], short(value)[1], 0, 0];
    // The first directory has 5 fields, and ends at 8 + 2 + 5 * 12 + 4 = 74.
    block.extend(short(5));
    block.extend(field(0x010F, 2, 7, long(74)));
    block.extend(field(0x0112, 3, 1, inline(6)));
    block.extend(field(0x011A, 5, 1, long(82)));
    block.extend(field(0x011B, 5, 1, long(82)));
    block.extend(field(0x8769, 4, 1, long(90)));
    // The directory of the thumbnail: behind the camera's, at 90 + 2 + 3 * 12 + 4 + 16 = 148.
    block.extend(long(148));
    block.extend(b"Camera\0\0");
    block.extend(long(300));
    block.extend(long(1));
    assert_eq!(block.len(), 90);
    block.extend(short(3));
    block.extend(field(0x927C, 7, MAKER_NOTE.len() as u32, long(132)));
    block.extend(field(0xA002, 4, 1, long(4000)));
    block.extend(field(0xA003, 3, 1, inline(3000)));
    block.extend(long(0));
    block.extend(MAKER_NOTE);
    assert_eq!(block.len(), 148);
    block.extend(short(2));
    block.extend(field(0x0201, 4, 1, long(178)));
    block.extend(field(0x0202, 4, 1, long(6)));
    block.extend(long(0));
    block.extend([0xFF, 0xD8, 1, 2, 0xFF, 0xD9]);
    block
}

fn photo() -> Photo {
    let rgb = Image::from_fn(40, 30, |x, y| [x as f32 / 39.0, y as f32 / 29.0, 0.5]);
    let packet = "<x:xmpmeta><d tiff:Orientation=\"1\"/></x:xmpmeta>";
    let metadata = Metadata {
        exif: Some(block(false)),
        xmp: Some(packet.into()),
        photoshop: Some(iptc_as_resources(b"\x1c\x02\x78\0\x05title")),
        resolution: Some(Resolution { x: 300.0, y: 300.0, unit: Unit::Inch }),
        comment: None,
        texts: Vec::new(),
    };
    let mut photo = Photo { metadata, ..Photo::new(rgb) };
    photo.metadata.make_upright(40, 30);
    photo
}

#[test]
fn only_what_is_untrue_of_the_upright_photo_changes_in_the_block() {
    for big_endian in [false, true] {
        let before = block(big_endian);
        assert_eq!(exif::orientation(&before), Some(6));
        let mut after = before.clone();
        exif::make_upright(&mut after, 40, 30);
        assert_eq!(exif::orientation(&after), Some(1));
        // The thumbnail was the last thing in the block.
        assert_eq!(after.len(), before.len() - 6);
        let changed: Vec<usize> = (0..after.len()).filter(|&i| before[i] != after[i]).collect();
        let allowed = [22..34, 70..74, 104..128];
        assert!(changed.iter().all(|i| allowed.iter().any(|range| range.contains(i))));
        let reader = exif::Reader::new(&after).unwrap();
        let number = |tag| reader.number(&reader.find(90, tag).unwrap());
        assert_eq!((number(0xA002), number(0xA003)), (Some(40), Some(30)));
        assert_eq!(reader.data(&reader.find(90, 0x927C).unwrap()), Some(MAKER_NOTE));
    }
}

#[test]
fn damaged_blocks_are_left_alone() {
    for len in 0..184 {
        let mut cut = block(true)[..len].to_vec();
        exif::make_upright(&mut cut, 7, 9);
        exif::orientation(&cut);
        directory::Directory::read(&cut).map(|directory| directory.to_block());
    }
}

#[test]
fn xmp_says_that_the_photo_is_upright() {
    for (before, after) in [
        ("<d tiff:Orientation=\"6\" a=\"6\"/>", "<d tiff:Orientation=\"1\" a=\"6\"/>"),
        ("<tiff:Orientation>8</tiff:Orientation>", "<tiff:Orientation>1</tiff:Orientation>"),
        ("tiff:Orientation", "tiff:Orientation"),
    ] {
        let mut packet = before.as_bytes().to_vec();
        upright_xmp(&mut packet);
        assert_eq!(String::from_utf8(packet).unwrap(), after);
    }
}

#[test]
fn thumbnails_leave_the_resources_of_photoshop() {
    let fields = iptc_as_resources(b"fields");
    let thumbnail = b"8BIM\x04\x0C\0\0\0\0\0\x03jpg\0";
    let resources = [&fields[..], thumbnail, &fields].concat();
    assert_eq!(without_thumbnails(&resources), [&fields[..], &fields].concat());
}

#[test]
fn metadata_goes_from_each_format_to_each_other() {
    let options = WriteOptions::default();
    let first = photo();
    for from in [Format::Jpeg, Format::Png, Format::WebP, Format::Tiff] {
        let (bytes, _) = first.to_bytes(from, &options).unwrap();
        let between = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
        for to in [Format::Jpeg, Format::Png, Format::WebP, Format::Tiff] {
            let (bytes, notes) = between.to_bytes(to, &options).unwrap();
            let last = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
            let (last, way) = (last.metadata, format!("{from:?} to {to:?}"));
            assert_eq!(last.xmp, first.metadata.xmp, "{way}");
            assert_eq!(fields_of(&last), fields_of(&first.metadata), "{way}");
            if ![from, to].contains(&Format::Tiff) {
                assert_eq!(last.exif, first.metadata.exif, "{way}");
            }
            let resolution = last.resolution.unwrap().per_meter().unwrap();
            assert!((resolution.0 - 300.0 / 0.0254).abs() < 1.0, "{way}: {resolution:?}");
            let iptc = |format| matches!(format, Format::Jpeg | Format::Tiff);
            let kept = iptc(from) && iptc(to);
            assert_eq!(last.photoshop.is_some(), kept, "{way}");
            if kept {
                assert_eq!(last.photoshop, first.metadata.photoshop, "{way}");
            } else if iptc(from) {
                let left_out = Note::LeftOut { what: "IPTC", kind: to.kind() };
                assert_eq!(notes, [left_out], "{way}");
            }
        }
        let strip = WriteOptions { strip: true, ..options };
        let (bytes, _) = first.to_bytes(from, &strip).unwrap();
        let bare = Photo::from_bytes(&bytes, &Limits::default()).unwrap().metadata;
        assert_eq!(bare, Metadata::default(), "{from:?}");
    }
    for to in [Format::Bmp, Format::Ppm] {
        let (_, notes) = first.to_bytes(to, &options).unwrap();
        assert_eq!(notes, [Note::LeftOut { what: "metadata", kind: to.kind() }]);
    }
}

/// The camera and the maker's note, wherever in the block they are.
fn fields_of(metadata: &Metadata) -> Vec<(u16, Vec<u8>)> {
    let block = metadata.exif.as_deref().unwrap();
    let directory = directory::Directory::read(block).unwrap();
    let mut below = directory.below.into_iter().flat_map(|(_, below)| below.values);
    let mut fields: Vec<_> =
        directory.values.into_iter().filter(|value| value.tag == 0x010F).collect();
    fields.extend(below.find(|value| value.tag == 0x927C));
    fields.into_iter().map(|value| (value.tag, value.bytes)).collect()
}

#[test]
fn the_prefix_of_older_programs_does_not_hide_the_orientation() {
    let mut photo = photo();
    photo.metadata.exif = Some([b"Exif\0\0", &block(false)[..]].concat());
    let (bytes, _) = photo.to_bytes(Format::WebP, &WriteOptions::default()).unwrap();
    let turned = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
    assert_eq!((turned.rgb.width, turned.rgb.height), (30, 40));
    assert_eq!(exif::orientation(&turned.metadata.exif.unwrap()), Some(1));
}

#[test]
fn a_comment_stays_in_a_jpeg_file_and_iptc_beside_resources_in_a_tiff_file() {
    let mut photo = photo();
    photo.metadata.comment = Some(b"in the morning".into());
    let options = WriteOptions::default();
    let (bytes, notes) = photo.to_bytes(Format::Jpeg, &options).unwrap();
    let back = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
    assert_eq!((back.metadata.comment, notes), (photo.metadata.comment.clone(), vec![]));
    assert_eq!(back.metadata.exif, photo.metadata.exif);
    let (_, notes) = photo.to_bytes(Format::WebP, &options).unwrap();
    let left_out = |what| Note::LeftOut { what, kind: crate::image::FileKind::WebP };
    assert_eq!(notes, [left_out("IPTC"), left_out("JPEG comment")]);

    // Resources without IPTC, which is in a field of its own.
    let other = b"8BIM\x04\x25\0\0\0\0\0\x02ab".to_vec();
    let both = with_iptc(Some(other.clone()), Some(b"title")).unwrap();
    assert_eq!(iptc_in(&both), Some(&b"title"[..]));
    assert!(both.starts_with(&other));
    assert_eq!(with_iptc(Some(both.clone()), Some(b"another")), Some(both));
    assert_eq!(iptc_in(&other), None);
}

#[test]
fn a_resolution_without_a_unit_is_kept_unless_exif_knows_better() {
    let plain = Some(Resolution { x: 240.0, y: 240.0, unit: Unit::None });
    let mut metadata = Metadata { resolution: plain, ..Metadata::default() };
    metadata.complete();
    assert_eq!(metadata.resolution, plain);
    metadata.exif = Some(block(false));
    metadata.complete();
    assert_eq!(metadata.resolution.map(|resolution| resolution.x), Some(300.0));
    assert_eq!(Resolution::of_tiff(1.0, 1.0, 1), None);
}
