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
        ..Metadata::default()
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
        let reader = reader::Reader::new(&after).unwrap();
        let number = |tag| reader.number(&reader.find(90, tag).unwrap());
        assert_eq!((number(0xA002), number(0xA003)), (Some(40), Some(30)));
        assert_eq!(reader.data(&reader.find(90, 0x927C).unwrap()), Some(MAKER_NOTE));
    }
}

#[test]
fn a_block_goes_on_in_the_next_segment() {
    let whole = block(false);
    let (first, second) = whole.split_at(100);
    let parts = [first, second].map(|part| segment(0xE1, &[b"Exif\0\0", part].concat()));
    let another = segment(0xE1, &[b"Exif\0\0", &block(true)[..]].concat());
    let [first, second] = parts;
    let read = |segments: &[Vec<u8>]| {
        let file = jpeg("<x/>", segments);
        Photo::from_bytes(&file, &Limits::default()).unwrap().metadata.exif.unwrap()
    };
    let expected = read(&[segment(0xE1, &[b"Exif\0\0", &whole[..]].concat())]);
    assert_eq!(read(&[first.clone(), second.clone()]), expected);
    assert_eq!(read(&[first, second, another]), expected);
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
fn xmp_tells_the_orientation_and_the_size_of_the_upright_photo() {
    for (before, after) in [
        ("<d tiff:Orientation=\"6\" a=\"6\"/>", "<d tiff:Orientation=\"1\" a=\"6\"/>"),
        ("<tiff:Orientation>8</tiff:Orientation>", "<tiff:Orientation>1</tiff:Orientation>"),
        ("tiff:Orientation", "tiff:Orientation"),
        (
            "<d tiff:ImageWidth='4000' tiff:ImageLength='9'/>",
            "<d tiff:ImageWidth='40' tiff:ImageLength='30'/>",
        ),
        (
            "<exif:PixelXDimension>3000</exif:PixelXDimension>\n<exif:PixelYDimension>4000</a>",
            "<exif:PixelXDimension>40</exif:PixelXDimension>\n<exif:PixelYDimension>30</a>",
        ),
        (
            "<tiff:ImageWidth/><d tiff:ImageLength=\"\"/>",
            "<tiff:ImageWidth/><d tiff:ImageLength=\"\"/>",
        ),
    ] {
        let mut packet = before.as_bytes().to_vec();
        xmp::make_upright(&mut packet, 40, 30);
        assert_eq!(String::from_utf8(packet).unwrap(), after);
    }
}

/// A segment of a JPEG file.
fn segment(marker: u8, contents: &[u8]) -> Vec<u8> {
    [&[0xFF, marker][..], &(contents.len() as u16 + 2).to_be_bytes(), contents].concat()
}

/// A JPEG file with this packet, and with these segments in front.
fn jpeg(packet: &str, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut photo = Photo::new(Image::from_fn(8, 8, |_, _| [0.5; 3]));
    photo.metadata.xmp = Some(packet.into());
    let (mut bytes, _) = photo.to_bytes(Format::Jpeg, &WriteOptions::default()).unwrap();
    bytes.splice(2..2, segments.concat());
    bytes
}

#[test]
fn extended_xmp_stays_in_jpeg_files_and_leaves_no_pointer_in_others() {
    let name = "0123456789ABCDEF0123456789ABCDEF";
    let part = |name: &str, at: u32| {
        let head = [name.as_bytes(), &8u32.to_be_bytes(), &at.to_be_bytes()].concat();
        segment(0xE1, &[b"http://ns.adobe.com/xmp/extension/\0", &head[..], b"<x/>"].concat())
    };
    let parts = [part(name, 0), part(&name.replace('0', "9"), 0), part(name, 4)];
    let attribute = format!("<x:xmpmeta><d a='1'\n xmpNote:HasExtendedXMP=\"{name}\" b='2'/>");
    let tag = "xmpNote:HasExtendedXMP";
    let element = format!("<x:xmpmeta><d a='1'><{tag}>{name}</{tag}></d>");
    for (packet, without) in
        [(attribute, "<x:xmpmeta><d a='1' b='2'/>"), (element, "<x:xmpmeta><d a='1'></d>")]
    {
        let photo = Photo::from_bytes(&jpeg(&packet, &parts), &Limits::default()).unwrap();
        assert_eq!(photo.metadata.xmp_extension.len(), 2);
        for format in [Format::Jpeg, Format::Png, Format::WebP, Format::Tiff] {
            let (bytes, notes) = photo.to_bytes(format, &WriteOptions::default()).unwrap();
            let back = Photo::from_bytes(&bytes, &Limits::default()).unwrap().metadata;
            if format == Format::Jpeg {
                assert_eq!((&back, notes), (&photo.metadata, vec![]));
            } else {
                assert_eq!(back.xmp.as_deref(), Some(without.as_bytes()), "{format:?}");
                let left_out = Note::LeftOut { what: "extended XMP", kind: format.kind() };
                assert_eq!(notes, [left_out], "{format:?}");
            }
        }
    }
}

#[test]
fn segments_of_makers_are_noted() {
    let profile = moxcms::ColorProfile::new_srgb().encode().unwrap();
    let segments = [
        segment(0xE1, b"FLIR\0\x01\0\x01data"),
        segment(0xE1, b"FLIR\0\x01\x01\x01data"),
        segment(0xE2, &[b"ICC_PROFILE\0\x01\x01", &profile[..]].concat()),
        segment(0xE3, b"Meta\0\0"),
        segment(0xE6, b"GoPro\0"),
        segment(0xE7, b"\x1A\n\x07"),
        segment(0xEC, b"Ducky\0\x01\0\x04\0\0\0\x3C\0\0"),
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01"),
    ];
    let photo = Photo::from_bytes(&jpeg("<x/>", &segments), &Limits::default()).unwrap();
    let names = ["APP1 FLIR", "APP3 Meta", "APP6 GoPro", "APP7"].map(String::from).to_vec();
    for format in [Format::Jpeg, Format::Png, Format::WebP, Format::Tiff] {
        let (_, notes) = photo.to_bytes(format, &WriteOptions::default()).unwrap();
        assert_eq!(notes, [Note::SegmentsLeftOut(names.clone())], "{format:?}");
        let strip = WriteOptions { strip: true, ..WriteOptions::default() };
        assert_eq!(photo.to_bytes(format, &strip).unwrap().1, [], "{format:?}");
    }
    let said = Note::SegmentsLeftOut(names).to_string();
    assert_eq!(said, "JPEG segments left out: APP1 FLIR, APP3 Meta, APP6 GoPro, APP7");
    assert!(Note::SegmentsLeftOut(vec!["APP1".into(); 99]).to_string().ends_with("APP1, …"));
}

/// A PNG file with chunks before its pixels, or behind them.
fn png_with(chunks: &[(&[u8; 4], &[u8])], behind: bool) -> Vec<u8> {
    let photo = Photo::new(Image::from_fn(4, 2, |_, _| [0.5; 3]));
    let (mut png, _) = photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    let mut at = if behind { png.len() - 12 } else { 33 };
    for (kind, contents) in chunks {
        let body = [&kind[..], contents].concat();
        let len = (contents.len() as u32).to_be_bytes();
        let chunk = [&len[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat();
        let end = at + chunk.len();
        png.splice(at..at, chunk);
        at = end;
    }
    png
}

/// A block as the text that ImageMagick writes.
fn raw(name: &str, block: &[u8]) -> Vec<u8> {
    let digits: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\n{name}\n{:8}\n{digits}\n", block.len()).into_bytes()
}

#[test]
fn metadata_is_read_before_and_behind_the_pixels_of_a_png_file() {
    let deflated = |text: &[u8]| miniz_oxide::deflate::compress_to_vec_zlib(text, 6);
    let packet = b"<x:xmpmeta><d tiff:Orientation='8'/></x:xmpmeta>";
    let upright = b"<x:xmpmeta><d tiff:Orientation='1'/></x:xmpmeta>";
    let plain = [b"XML:com.adobe.xmp\0\0\0\0\0", &packet[..]].concat();
    let packed = [b"XML:com.adobe.xmp\0\x01\0en\0\0", &deflated(packet)[..]].concat();
    let in_text = [b"Raw profile type xmp\0\0", &deflated(&raw("xmp", packet))[..]].concat();
    let block = block(true);
    let exif_text = raw("exif", &[b"Exif\0\0", &block[..]].concat());
    let exif_text = [b"Raw profile type exif\0", &exif_text[..]].concat();
    let iptc = raw("iptc", &iptc_as_resources(b"\x1c\x02\x78\0\x05title"));
    let iptc = [b"Raw profile type iptc\0\0", &deflated(&iptc)[..]].concat();
    let fields = raw("iptc", b"\x1c\x02\x78\0\x05title");
    let fields = [b"Raw profile type iptc\0", &fields[..]].concat();
    let folder = tempfile::tempdir().unwrap();
    for behind in [false, true] {
        let read = |kind: &[u8; 4], contents: &[u8]| {
            let png = png_with(&[(kind, contents)], behind);
            let path = folder.path().join("photo.png");
            std::fs::write(&path, &png).unwrap();
            let photo = Photo::from_bytes(&png, &Limits::default()).unwrap();
            let size = photo.sides();
            assert_eq!(Photo::size(&path).unwrap(), size);
            assert_eq!(photo.metadata.texts, []);
            (size, photo.metadata)
        };
        for (kind, contents) in [(b"iTXt", &plain), (b"iTXt", &packed), (b"zTXt", &in_text)] {
            let (size, metadata) = read(kind, contents);
            assert_eq!((size, metadata.xmp.as_deref()), ((2, 4), Some(&upright[..])));
        }
        for (kind, contents) in [(b"eXIf", &block), (b"tEXt", &exif_text)] {
            let (size, metadata) = read(kind, contents);
            let orientation = metadata.exif.as_deref().and_then(exif::orientation);
            assert_eq!((size, orientation), ((2, 4), Some(1)));
        }
        for (kind, contents) in [(b"zTXt", &iptc), (b"tEXt", &fields)] {
            let (_, metadata) = read(kind, contents);
            let resources = metadata.photoshop.unwrap();
            assert_eq!(iptc_in(&resources), Some(&b"\x1c\x02\x78\0\x05title"[..]));
        }
    }
}

#[test]
fn text_that_holds_no_metadata_stays_text() {
    let chunks: [(&[u8; 4], &[u8]); 3] = [
        (b"tEXt", b"Title\0fog"),
        (b"zTXt", b"Title\0\0not compressed"),
        (b"tEXt", b"Raw profile type other\0\nother\n1\n00"),
    ];
    let photo = Photo::from_bytes(&png_with(&chunks, true), &Limits::default()).unwrap();
    let kept: Vec<_> = photo.metadata.texts.iter().map(|(kind, text)| (kind, &text[..])).collect();
    assert_eq!(kept, chunks);
}

#[test]
fn what_is_left_of_a_png_file_has_its_metadata() {
    let png = png_with(&[(b"eXIf", &block(false))], false);
    let limits = Limits { keep_going: true, ..Limits::default() };
    let photo = Photo::from_bytes(&png[..png.len() - 20], &limits).unwrap();
    assert_eq!((photo.pixels.width, photo.metadata.exif.is_some()), (2, true));
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
            let iptc = |format| format != Format::WebP;
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
fn of_a_moving_photo_the_note_and_the_packet_say_that_its_video_is_gone() {
    for (name, version) in
        [("MicroVideo", "MicroVideoVersion"), ("MotionPhoto", "MotionPhotoVersion")]
    {
        let packet = |on: u8| {
            format!("<x:xmpmeta GCamera:{name}=\"{on}\" GCamera:{version}=\"1\"/>").into_bytes()
        };
        let mut photo = photo();
        photo.metadata.xmp = Some(packet(1));
        let (mut bytes, _) = photo.to_bytes(Format::Jpeg, &WriteOptions::default()).unwrap();
        bytes.extend(b"\0\0\0\x18ftypmp42");
        let read = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
        assert_eq!((read.notes, read.metadata.xmp), (vec![Note::VideoLeftOut], Some(packet(0))));
    }
}

#[test]
fn the_prefix_of_older_programs_does_not_hide_the_orientation() {
    let mut photo = photo();
    photo.metadata.exif = Some([b"Exif\0\0", &block(false)[..]].concat());
    let (bytes, _) = photo.to_bytes(Format::WebP, &WriteOptions::default()).unwrap();
    let turned = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
    assert_eq!(turned.sides(), (30, 40));
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
    for (comment, kind, end) in [
        (&b"in the morning"[..], b"tEXt", &b"Comment\0in the morning"[..]),
        ("grüß\0".as_bytes(), b"iTXt", "Comment\0\0\0\0\0grüß".as_bytes()),
        (b"gr\xFC\xDF", b"tEXt", b"Comment\0gr\xFC\xDF"),
    ] {
        photo.metadata.comment = Some(comment.into());
        let (bytes, notes) = photo.to_bytes(Format::Png, &options).unwrap();
        let back = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
        assert_eq!((back.metadata.texts, notes), (vec![(*kind, end.into())], vec![]));
    }
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
