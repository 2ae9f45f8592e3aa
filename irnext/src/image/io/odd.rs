//! Files that are unlike those that are written here: of other programs, or slightly damaged.

use crate::image::metadata::Metadata;
use crate::image::{Format, Image, Limits, Note, Photo, WriteOptions};

/// A PNG file of these grays, or of these colors.
fn png(gray: bool, data: &[f32]) -> Vec<u8> {
    let channels = if gray { 1 } else { 3 };
    let data = data.iter().flat_map(|&value| vec![value; 3 / channels]).collect::<Vec<_>>();
    let photo = Photo { gray, ..Photo::new(Image { width: data.len() / 3, height: 1, data }) };
    photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap().0
}

fn read(file: &[u8]) -> Photo {
    Photo::from_bytes(file, &Limits::default()).unwrap()
}

/// The file with a chunk behind its header.
fn with_chunk(mut png: Vec<u8>, kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    let body = [kind, contents].concat();
    let len = (contents.len() as u32).to_be_bytes();
    let chunk = [&len[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat();
    png.splice(33..33, chunk);
    png
}

/// A chunk of numbers in units of 1/100000.
fn numbers(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| ((value * 1e5).round() as u32).to_be_bytes()).collect()
}

fn has(png: &[u8], kind: &[u8; 4]) -> bool {
    png.windows(4).any(|window| window == kind)
}

fn near(photo: &Photo, expected: [f32; 3], tolerance: f32) {
    let image = photo.image();
    let pairs = image.data.iter().zip(expected);
    let differs = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(differs < tolerance, "{:?}, not {expected:?}", image.data);
}

#[test]
fn a_wrong_checksum_is_a_warning_and_hides_no_metadata() {
    let plain = with_chunk(png(false, &[0.2, 0.4, 0.6]), b"tEXt", b"Title\0fog");
    let whole = read(&plain);
    assert_eq!((whole.notes.len(), whole.metadata.texts.len()), (0, 1));
    for kind in [b"IHDR", b"tEXt", b"IDAT"] {
        let mut file = plain.clone();
        let at = file.windows(4).position(|window| window == kind).unwrap();
        let len = u32::from_be_bytes(file[at - 4..at].try_into().unwrap()) as usize;
        file[at + 4 + len] ^= 1;
        let photo = read(&file);
        assert_eq!(photo.notes, [Note::WrongChecksum]);
        assert_eq!((photo.image(), photo.metadata), (whole.image(), whole.metadata.clone()));
    }
}

#[test]
fn a_run_length_coded_bmp_from_the_top_down_is_read() {
    let mut file = b"BM".to_vec();
    file.extend([0u8; 8]);
    file.extend(62u32.to_le_bytes());
    file.extend(40u32.to_le_bytes());
    file.extend(3i32.to_le_bytes());
    file.extend((-2i32).to_le_bytes());
    file.extend([1, 0, 8, 0, 1, 0, 0, 0]);
    file.extend([0; 12]);
    file.extend(2u32.to_le_bytes());
    file.extend([0; 4]);
    file.extend([0, 0, 0, 0, 255, 255, 255, 0]);
    // Three white; end of line; two black, a white; end.
    file.extend([3, 1, 0, 0, 2, 0, 1, 1, 0, 1]);
    let photo = read(&file);
    let reds: Vec<f32> = photo.pixels.iter().map(|[red, ..]| red).collect();
    assert_eq!(reds, [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn the_exponent_of_a_png_file_is_followed_and_kept() {
    let file = with_chunk(png(true, &[0.0, 128.0 / 255.0]), b"gAMA", &numbers(&[1.0]));
    let photo = read(&file);
    // Half the light is 188 of 255 in sRGB.
    assert!((photo.image().data[3] * 255.0 - 187.5).abs() < 1.0, "{:?}", photo.image().data);
    let (again, notes) = photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    assert!(has(&again, b"gAMA") && !has(&again, b"iCCP") && notes.is_empty());
    assert_eq!(read(&again).image(), photo.image());
    // Other formats get a profile that says the same.
    let (tiff, notes) = photo.to_bytes(Format::Tiff, &WriteOptions::default()).unwrap();
    assert!(notes.is_empty() && read(&tiff).profile.unwrap().converts());
    assert!((read(&tiff).image().data[3] - photo.image().data[3]).abs() < 0.01);
    // 0.5 squared is 137 of 255 in sRGB, in gray and in color.
    for gray in [true, false] {
        let squared = read(&with_chunk(png(gray, &[128.0 / 255.0; 3]), b"gAMA", &numbers(&[0.5])));
        assert!(
            (squared.image().data[0] * 255.0 - 137.5).abs() < 1.0,
            "{:?}",
            squared.image().data
        );
    }
    // An exponent near sRGB's means sRGB.
    let photo = read(&with_chunk(png(false, &[0.25; 3]), b"gAMA", &numbers(&[0.45])));
    assert_eq!(photo.image().data, read(&png(false, &[0.25; 3])).image().data);
    let (again, _) = photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    assert!(has(&again, b"gAMA"));
}

#[test]
fn the_chunks_about_color_are_followed_in_the_order_of_browsers() {
    let plain = || png(false, &[0.6, 0.5, 0.4]);
    let stored = read(&plain()).image().data;
    let stored = [stored[0], stored[1], stored[2]];
    // Display P3, by its points; sRGB's curve is usual without a gAMA.
    let p3 = numbers(&[0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06]);
    let in_p3 = [0.620, 0.497, 0.382];
    near(&read(&with_chunk(plain(), b"cHRM", &p3)), in_p3, 0.006);
    // sRGB comes before gAMA and cHRM, and cICP before sRGB; 12 and 13 are Display P3.
    let linear = with_chunk(plain(), b"gAMA", &numbers(&[1.0]));
    let srgb = with_chunk(with_chunk(linear, b"cHRM", &p3), b"sRGB", &[0]);
    near(&read(&srgb), stored, 1e-6);
    near(&read(&with_chunk(srgb.clone(), b"cICP", &[12, 13, 0, 1])), in_p3, 0.006);
    // A profile comes before all but cICP.
    let mut photo = read(&plain());
    let icc = moxcms::ColorProfile::new_srgb().encode().unwrap();
    photo.profile = Some(crate::image::PhotoProfile::inert(icc));
    let (profiled, _) = photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    let linear = with_chunk(profiled.clone(), b"gAMA", &numbers(&[1.0]));
    near(&read(&linear), stored, 1e-6);
    let coded = read(&with_chunk(profiled, b"cICP", &[12, 13, 0, 1]));
    near(&coded, in_p3, 0.006);
    let (again, _) = coded.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    assert!(has(&again, b"cICP") && has(&again, b"iCCP"));
    // High dynamic range is taken as it is.
    let bright = read(&with_chunk(plain(), b"cICP", &[9, 16, 0, 1]));
    assert_eq!(bright.notes, [Note::ProfileIgnored]);
    near(&bright, stored, 1e-6);
}

#[test]
fn an_orientation_in_xmp_alone_turns_the_photo() {
    let mut photo = Photo::new(Image::from_fn(3, 2, |x, y| [x as f32 / 4.0, y as f32 / 4.0, 0.5]));
    let packet = b"<x:xmpmeta><d tiff:Orientation='6'/></x:xmpmeta>".to_vec();
    photo.metadata = Metadata { xmp: Some(packet), ..Metadata::default() };
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Png, Format::Jpeg, Format::WebP, Format::Tiff] {
        let (bytes, _) = photo.to_bytes(format, &WriteOptions::default()).unwrap();
        let turned = read(&bytes);
        assert_eq!(turned.sides(), (2, 3), "{format:?}");
        let packet = String::from_utf8(turned.metadata.xmp.unwrap()).unwrap();
        assert!(packet.contains("Orientation='1'"), "{packet}");
        let path = folder.path().join("photo");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Photo::size(&path).unwrap(), (2, 3), "{format:?}");
    }
}

#[test]
fn the_rows_that_are_there_of_a_pnm_file_are_read() {
    let going = Limits { keep_going: true, ..Limits::default() };
    // Each with its last whole row first, and the gray of missing ones.
    for (head, rows, gray) in [
        ("P5 2 3 255\n", [&b"\x01\x02"[..], b"\x03\x04", b"\x05\x06"], 128.0 / 255.0),
        ("P6 1 3 15\n", [&b"\x01\x02\x0F"[..], b"\x03\x04\x05", b"\x06\x07\x08"], 128.0 / 255.0),
        ("P5 1 3 65535\n", [&b"\x01\x02"[..], b"\x03\x04", b"\x05\x06"], 32768.0 / 65535.0),
        ("P4 9 3\n", [&b"\x55\x80"[..], b"\xFF\0", b"\x12\0"], 128.0 / 255.0),
        ("P1 3 3\n", [&b"101"[..], b"1 1 0", b"000"], 128.0 / 255.0),
        ("P2 2 3 200\n", [&b"100 200\n"[..], b"50\t7 ", b"100 13"], 128.0 / 255.0),
        ("P3 1 3 255\n", [&b"1 2 3\n"[..], b"4 5 6\n", b"7 8 90"], 128.0 / 255.0),
        (
            "P7\nWIDTH 1\nHEIGHT 3\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n",
            [&b"\x01\x02\x03\x04"[..], b"\x05\x06\x07\x08", b"\x09\x0A\x0B\x0C"],
            128.0 / 255.0,
        ),
    ] {
        let file = [head.as_bytes(), rows[0], rows[1], rows[2]].concat();
        let whole = read(&file);
        assert_eq!(Photo::from_bytes(&file, &going).unwrap().image(), whole.image(), "{head}");
        for lost in 2..rows[2].len() + rows[1].len() {
            let cut = &file[..file.len() - lost];
            assert!(Photo::from_bytes(cut, &Limits::default()).is_err(), "{head}");
            let photo = Photo::from_bytes(cut, &going).unwrap();
            let there = if lost <= rows[2].len() { 2 } else { 1 };
            let row = 3 * whole.pixels.width;
            assert_eq!(
                photo.image().data[..there * row],
                whole.image().data[..there * row],
                "{head} {lost}"
            );
            assert!(photo.image().data[there * row..].iter().all(|value| *value == gray), "{head}");
            assert_eq!(photo.notes, [Note::Incomplete([33, 66][there - 1])], "{head} {lost}");
            if let Some(alpha) = photo.alpha {
                assert_eq!(alpha[2], 1.0);
            }
        }
        assert!(Photo::from_bytes(&file[..head.len() + 1], &going).is_err(), "{head}");
    }
}

#[test]
fn the_refusal_of_a_truncated_file_names_the_option_that_would_help() {
    let option = Some("--keep-going");
    let helped = Limits { keep_going_option: option, ..Limits::default() };
    let photo = Photo::new(Image::from_fn(64, 64, |x, y| {
        let value = (x * 97 + y * 61) % 256;
        [value as f32 / 255.0, (value * 31 % 256) as f32 / 255.0, 0.5]
    }));
    for (format, helps) in [
        (Format::Jpeg, true),
        (Format::Png, true),
        (Format::Ppm, true),
        (Format::Bmp, true),
        // Its fields are at its end.
        (Format::Tiff, false),
        (Format::WebP, false),
    ] {
        let (bytes, _) = photo.to_bytes(format, &WriteOptions::default()).unwrap();
        let cut = &bytes[..bytes.len() / 2];
        let refusal = Photo::from_bytes(cut, &helped).unwrap_err();
        assert_eq!(refusal.contains("add --keep-going"), helps, "{format:?}: {refusal}");
        let going = Photo::from_bytes(cut, &Limits { keep_going: true, ..helped });
        assert_eq!(going.is_ok(), helps, "{format:?}");
        assert!(going.err().is_none_or(|refusal| !refusal.contains("keep-going")));
        if format == Format::WebP {
            let photo = Photo { alpha: Some(vec![0.5; 64 * 64]), ..photo.clone() };
            let (bytes, _) = photo.to_bytes(format, &WriteOptions::default()).unwrap();
            let going = Limits { keep_going: true, ..helped };
            for len in (bytes.len() / 8..bytes.len() - 8).step_by(bytes.len() / 8) {
                assert!(Photo::from_bytes(&bytes[..len], &going).is_err(), "{len}");
            }
        }
        let plain = Photo::from_bytes(cut, &Limits::default()).unwrap_err();
        assert!(plain.contains("again") && !plain.contains("keep-going"), "{plain}");
    }
    // Neither does it help where nothing is missing.
    for file in [&b"GIF89a"[..], b"FUJIFILMCCD-RAW ", b"P5 70000 1 255\n"] {
        assert!(!Photo::from_bytes(file, &helped).unwrap_err().contains("keep-going"));
    }
}
