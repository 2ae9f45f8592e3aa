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
    let pairs = photo.rgb.data.iter().zip(expected);
    let differs = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(differs < tolerance, "{:?}, not {expected:?}", photo.rgb.data);
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
        assert_eq!((photo.rgb, photo.metadata), (whole.rgb.clone(), whole.metadata.clone()));
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
    let reds: Vec<f32> = photo.rgb.pixels().map(|[red, ..]| red).collect();
    assert_eq!(reds, [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn the_exponent_of_a_png_file_is_followed_and_kept() {
    let file = with_chunk(png(true, &[0.0, 128.0 / 255.0]), b"gAMA", &numbers(&[1.0]));
    let photo = read(&file);
    // Half the light is 188 of 255 in sRGB.
    assert!((photo.rgb.data[3] * 255.0 - 187.5).abs() < 1.0, "{:?}", photo.rgb.data);
    let (again, notes) = photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    assert!(has(&again, b"gAMA") && !has(&again, b"iCCP") && notes.is_empty());
    assert_eq!(read(&again).rgb, photo.rgb);
    // Other formats get a profile that says the same.
    let (tiff, notes) = photo.to_bytes(Format::Tiff, &WriteOptions::default()).unwrap();
    assert!(notes.is_empty() && read(&tiff).profile.unwrap().converts());
    assert!((read(&tiff).rgb.data[3] - photo.rgb.data[3]).abs() < 0.01);
    // 0.5 squared is 137 of 255 in sRGB, in gray and in color.
    for gray in [true, false] {
        let squared = read(&with_chunk(png(gray, &[128.0 / 255.0; 3]), b"gAMA", &numbers(&[0.5])));
        assert!((squared.rgb.data[0] * 255.0 - 137.5).abs() < 1.0, "{:?}", squared.rgb.data);
    }
    // An exponent near sRGB's means sRGB.
    let photo = read(&with_chunk(png(false, &[0.25; 3]), b"gAMA", &numbers(&[0.45])));
    assert_eq!(photo.rgb.data, read(&png(false, &[0.25; 3])).rgb.data);
    let (again, _) = photo.to_bytes(Format::Png, &WriteOptions::default()).unwrap();
    assert!(has(&again, b"gAMA"));
}

#[test]
fn the_chunks_about_color_are_followed_in_the_order_of_browsers() {
    let plain = || png(false, &[0.6, 0.5, 0.4]);
    let stored = read(&plain()).rgb.data;
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
        assert_eq!((turned.rgb.width, turned.rgb.height), (2, 3), "{format:?}");
        let packet = String::from_utf8(turned.metadata.xmp.unwrap()).unwrap();
        assert!(packet.contains("Orientation='1'"), "{packet}");
        let path = folder.path().join("photo");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Photo::size(&path).unwrap(), (2, 3), "{format:?}");
    }
}
