//! JPEG XL files, made by `cjxl` 0.7, most of them from the pixels that the pixel check writes.

use std::fs;

use super::matrix::stored;
use super::sample;
use crate::image::{Depth, FileKind, Limits, Note, Photo};

fn file(name: &str) -> Vec<u8> {
    sample::bytes(&format!("jxl/{name}.jxl"))
}

fn read(name: &str) -> Photo {
    sample::photo(&format!("jxl/{name}.jxl"))
}

#[test]
fn every_kind_of_pixels_is_read_to_the_bit() {
    for case in 0..8 {
        let [gray, has_alpha, deep] = [1, 2, 4].map(|bit| case & bit != 0);
        let depth = if deep { Depth::Sixteen } else { Depth::Eight };
        let (photo, expected) =
            (read(&format!("{case:03b}")), stored(gray, has_alpha, depth, None));
        assert_eq!(photo.image(), expected.image(), "{case:03b}");
        let opacities = photo.alpha.iter().flatten().zip(expected.alpha.iter().flatten());
        // `cjxl` keeps eight bits of opacity.
        assert!(opacities.into_iter().all(|(a, b)| (a - b).abs() <= 0.5001 / 255.0), "{case:03b}");
        assert_eq!(photo.alpha.is_some(), has_alpha, "{case:03b}");
        assert_eq!((photo.gray, photo.depth), (gray, depth), "{case:03b}");
        assert!(photo.profile.is_none() && photo.notes.is_empty(), "{case:03b}");
        assert_eq!(photo.output_extension(), "png");
    }
}

#[test]
fn the_orientation_is_applied_once_and_exif_is_kept() {
    let mut file = file("turned");
    // The codestream tells the orientation, and EXIF tells it again.
    let block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    for (kind, contents) in [(b"Exif", &[&[0; 4], &block[..]].concat()[..]), (b"xml ", b"<x/>")] {
        file.extend((contents.len() as u32 + 8).to_be_bytes());
        file.extend([kind, contents].concat());
    }
    let photo = Photo::from_bytes(&file, &Limits::default()).unwrap();
    assert_eq!(photo.image(), stored(false, false, Depth::Eight, None).image());
    assert_eq!(photo.metadata.exif.as_ref().unwrap().len(), block.len());
    assert_eq!(photo.metadata.orientation(), Some(1));
    assert_eq!(photo.metadata.xmp.as_deref(), Some(&b"<x/>"[..]));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.jxl");
    fs::write(&path, file).unwrap();
    assert_eq!(Photo::size(&path).unwrap(), (7, 5));
}

#[test]
fn the_first_frame_is_read() {
    let photo = read("frames");
    assert_eq!(photo.image(), stored(false, false, Depth::Eight, None).image());
    assert_eq!(photo.notes, [Note::FirstOf(2)]);
}

/// The colors were multiplied by an opacity of at least a half.
#[test]
fn associated_alpha_is_taken_out_of_the_colors() {
    let (photo, expected) = (read("premultiplied"), stored(false, true, Depth::Eight, None));
    for (pixel, other) in photo.pixels.iter().zip(expected.pixels.iter()) {
        let near = (0..3).all(|c| (pixel[c] - other[c]).abs() < 1.01 / 255.0);
        assert!(near, "{pixel:?}, not {other:?}");
    }
}

/// The numbers are `djxl`'s.
#[test]
fn a_lossy_file_gives_what_other_decoders_give_and_becomes_a_jpeg() {
    let photo = read("lossy");
    assert_eq!(photo.sides(), (40, 32));
    for ((x, y), expected) in [((5, 3), [204.0, 210.0, 173.0]), ((30, 20), [35.0, 63.0, 88.0])] {
        let pixel = photo.image().pixel(x, y).unwrap();
        let near = (0..3).all(|c| (pixel[c] * 255.0 - expected[c]).abs() < 1.1);
        assert!(near, "{pixel:?}, not {expected:?}");
    }
    assert_eq!(
        photo.source.map(|source| (source.kind, source.lossy)),
        Some((FileKind::JpegXl, true))
    );
    assert_eq!(photo.output_extension(), "jpg");
}

/// The numbers are those that `cjxl` was given.
#[test]
fn floating_point_becomes_sixteen_bits() {
    let photo = read("float");
    assert_eq!((photo.depth, photo.profile.is_some()), (Depth::Sixteen, false));
    assert_eq!(photo.notes, [Note::FewerBits { from: 32, to: 16 }]);
    let expected = [
        [[1.0, 0.5, 0.25], [0.0, 0.125, 0.75], [0.3, 0.6, 0.9]],
        [[0.2, 0.2, 0.2], [0.9, 0.1, 0.4], [0.05, 0.95, 0.55]],
    ];
    for (pixel, expected) in photo.pixels.iter().zip(expected.concat()) {
        let near = (0..3).all(|c| (pixel[c] - expected[c]).abs() < 1.0 / 65535.0);
        assert!(near, "{pixel:?}, not {expected:?}");
    }
}

/// Display P3, whose (200, 120, 60) and (10, 20, 30) are other numbers in sRGB: by the primaries of
/// either, and its curve.
#[test]
fn colors_of_another_space_become_srgb_and_the_profile_is_kept() {
    let photo = read("p3");
    assert!(photo.profile.is_some() && photo.notes.is_empty(), "{:?}", photo.notes);
    assert_eq!((photo.pixels.width, photo.image().height, photo.depth), (3, 2, Depth::Eight));
    for ((x, y), expected) in [
        ((0, 0), [212.98, 115.0, 42.36]),
        ((2, 0), [128.0; 3]),
        ((0, 1), [250.0; 3]),
        ((2, 1), [7.07, 20.34, 30.93]),
    ] {
        let pixel = photo.image().pixel(x, y).unwrap();
        let near = (0..3).all(|c| (pixel[c] * 255.0 - expected[c]).abs() < 0.6);
        assert!(near, "{pixel:?}, not {expected:?}");
    }
}

#[test]
fn high_dynamic_range_becomes_srgb() {
    let photo = read("pq");
    assert_eq!(photo.notes, [Note::ConvertedToSrgb]);
    assert_eq!((photo.depth, photo.profile.is_some()), (Depth::Sixteen, false));
    // Gray stays gray.
    for x in [(2, 0), (0, 1)] {
        let [r, g, b] = photo.image().pixel(x.0, x.1).unwrap();
        assert!((r - g).abs() < 2e-3 && (g - b).abs() < 2e-3 && g > 0.2, "{r} {g} {b}");
    }
}

#[test]
fn a_file_larger_than_the_limits_is_refused() {
    let read = |max_pixels, max_side| {
        let limits = Limits { max_pixels, max_side, ..Limits::default() };
        Photo::from_bytes(&file("000"), &limits)
    };
    assert!(read(35, 7).is_ok());
    for (pixels, side) in [(34, 7), (35, 6)] {
        let refusal = read(pixels, side).unwrap_err();
        assert!(refusal.starts_with("the image is too large: 7x5"), "{refusal}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_whole_and_damage_never_panics() {
    for name in ["000", "lossy", "turned", "frames"] {
        let (file, whole) = (file(name), read(name));
        for end in 0..file.len() {
            match Photo::from_bytes(&file[..end], &Limits::default()) {
                Ok(photo) => assert_eq!(photo.image(), whole.image(), "{name}, {end}"),
                Err(reason) => assert!(!reason.contains("decoder"), "{name}, {end}: {reason}"),
            }
            // Of a part, there is a note.
            let keep_going = Limits { keep_going: true, ..Limits::default() };
            if let Ok(photo) = Photo::from_bytes(&file[..end], &keep_going) {
                let is_whole = photo.pixels == whole.pixels;
                assert!(is_whole || photo.notes.contains(&Note::Coarse), "{name}, {end}");
            }
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            let _ =
                Photo::from_bytes(&damaged, &Limits { max_pixels: 1 << 20, ..Limits::default() });
        }
    }
}
