//! AVIF files, made by Pillow 13 and `avifenc` 0.11 of patterns, and the pixels that Pillow reads
//! from them.

use super::compare::{apart, apart_in, opacities};
use super::sample;
use crate::image::{Depth, FileKind, Limits, Note, Photo};

fn file(name: &str) -> Vec<u8> {
    sample::bytes(&format!("avif/{name}"))
}

fn read(name: &str) -> Photo {
    sample::photo(&format!("avif/{name}.avif"))
}

/// What Pillow reads.
fn expected(name: &str) -> Photo {
    sample::photo(&format!("avif/{name}.png"))
}

#[test]
fn every_kind_of_pixels_is_read_as_pillow_reads_it() {
    for (name, depth, most, mean) in [
        ("444-full", Depth::Eight, 1.1, 0.3),
        ("444-limited", Depth::Eight, 2.1, 0.5),
        ("422-full", Depth::Eight, 2.1, 0.5),
        ("422-limited", Depth::Eight, 2.1, 0.5),
        ("420-full", Depth::Eight, 2.1, 0.5),
        ("420-limited", Depth::Eight, 2.1, 0.5),
        ("709", Depth::Eight, 1.1, 0.3),
        ("2020", Depth::Eight, 2.1, 0.5),
        ("gray", Depth::Eight, 0.1, 0.1),
        ("exact", Depth::Eight, 0.1, 0.1),
        // Pillow makes 8 bits of more first.
        ("10-bits", Depth::Sixteen, 2.7, 0.75),
        ("12-bits", Depth::Sixteen, 2.6, 1.0),
        ("alpha", Depth::Eight, 1.1, 0.3),
        ("multiplied", Depth::Eight, 4.1, 0.5),
        ("grid", Depth::Eight, 1.1, 0.5),
        ("grid-alpha", Depth::Eight, 1.1, 0.3),
    ] {
        let (photo, expected) = (read(name), expected(name));
        // Where chroma is halved, libyuv does not interpolate it in the last column of odd widths.
        let found = apart_in(&photo, &expected, photo.sides().0 & !1);
        assert!(found.0 <= most && found.1 <= mean, "{name}: {found:?}");
        assert_eq!(opacities(&photo), opacities(&expected), "{name}");
        assert_eq!((photo.depth, photo.gray), (depth, name == "gray"), "{name}");
        assert!(photo.profile.is_none() && photo.notes.is_empty(), "{name}: {:?}", photo.notes);
        assert_eq!(photo.source.map(|source| source.kind), Some(FileKind::Avif));
        let is_jpeg = depth == Depth::Eight && photo.alpha.is_none() && name != "exact";
        assert_eq!(photo.output_extension(), if is_jpeg { "jpg" } else { "png" }, "{name}");
    }
}

#[test]
fn the_container_tells_the_orientation_and_exif_is_kept() {
    for orientation in 1..=8 {
        let name = format!("turned-{orientation}");
        let photo = read(&name);
        let found = apart(&photo, &expected(&name));
        assert!(found.0 <= 1.1, "{name}: {found:?}");
        let (exif, xmp) = (photo.metadata.exif.as_ref(), photo.metadata.xmp.as_deref());
        // Pillow takes the orientation out of EXIF.
        assert_eq!(exif.map(Vec::len), Some(34), "{name}");
        assert_eq!(photo.metadata.orientation(), None, "{name}");
        let packet = &b"<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/>"[..];
        assert_eq!(xmp, (orientation == 6).then_some(packet), "{name}");
        let size = Photo::size_of_bytes(&file(&format!("{name}.avif")));
        assert_eq!(size, Ok(photo.sides()), "{name}");
    }
}

#[test]
fn colors_of_another_space_become_srgb() {
    let (photo, expected) = (read("profile"), expected("profile"));
    assert_eq!(photo.profile.as_ref().unwrap().icc, expected.profile.as_ref().unwrap().icc);
    assert!(photo.profile.as_ref().unwrap().converts());
    let found = apart(&photo, &expected);
    // A step or two of rounding are more after the conversion, in dark colors.
    assert!(found.0 <= 6.1 && found.1 < 0.5, "{found:?}");

    // Display P3 by its number.
    let (photo, raw) = (read("p3"), self::expected("p3"));
    assert!(photo.notes.is_empty() && photo.profile.as_ref().unwrap().converts());
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut same = raw.clone();
    same.profile = Some(crate::image::PhotoProfile::inert(p3));
    let (bytes, _) = same.to_bytes(crate::image::Format::Png, &Default::default()).unwrap();
    let same = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
    let found = apart(&photo, &same);
    assert!(found.0 <= 6.1 && found.1 < 0.5 && apart(&photo, &raw).0 > 20.0, "{found:?}");
}

#[test]
fn the_primaries_of_gray_say_nothing() {
    let mut file = file("gray.avif");
    let at = file.windows(4).position(|window| window == b"nclx").unwrap();
    assert_eq!(file[at + 4..at + 8], [0, 1, 0, 13]);
    file[at + 5] = 12;
    let photo = Photo::from_bytes(&file, &Limits::default()).unwrap();
    assert!(photo.notes.is_empty() && photo.profile.is_none() && photo.gray);
    assert_eq!(photo.pixels, read("gray").pixels);
}

/// Computed from the formulas of ITU-R BT.2100 and BT.2390, of what `avifdec` reads.
#[test]
fn high_dynamic_range_is_mapped_to_srgb() {
    for name in ["pq", "hlg"] {
        let (photo, expected) = (read(name), expected(name));
        let found = apart(&photo, &expected);
        assert!(found.0 <= 2.1 && found.1 < 0.5, "{name}: {found:?}");
        assert_eq!((photo.notes, photo.depth), (vec![Note::ConvertedToSrgb], Depth::Sixteen));
        assert!(photo.profile.is_none());
    }
}

#[test]
fn the_part_to_be_seen_is_cut_out() {
    let (photo, whole) = (read("crop"), expected("crop"));
    assert_eq!(photo.sides(), (11, 9));
    assert_eq!(Photo::size_of_bytes(&file("crop.avif")), Ok((11, 9)));
    for (x, y) in [(0, 0), (10, 0), (5, 4), (10, 8)] {
        let (pixel, expected) = (photo.image().at(x, y), whole.image().at(x + 3, y + 2));
        let near = (0..3).all(|c| (pixel[c] - expected[c]).abs() < 1.1 / 255.0);
        assert!(near, "{x}, {y}: {pixel:?}, not {expected:?}");
    }
}

#[test]
fn the_first_picture_of_a_sequence_is_read() {
    let (photo, expected) = (read("frames"), expected("frames"));
    assert!(apart(&photo, &expected).0 <= 1.1);
    assert_eq!(photo.notes, [Note::FirstOf(3)]);
    // A file may describe nothing but the sequence.
    let mut file = file("frames.avif");
    let at = file.windows(4).position(|window| window == b"meta").unwrap();
    file[at..at + 4].copy_from_slice(b"free");
    let again = Photo::from_bytes(&file, &Limits::default()).unwrap();
    assert_eq!((again.pixels, again.notes), (photo.pixels, photo.notes));
}

#[test]
fn a_file_larger_than_the_limits_is_refused() {
    for name in ["444-full", "grid", "frames"] {
        let name = format!("{name}.avif");
        let (width, height) = Photo::size_of_bytes(&file(&name)).unwrap();
        let read = |max_pixels, max_side| {
            let limits = Limits { max_pixels, max_side, ..Limits::default() };
            Photo::from_bytes(&file(&name), &limits)
        };
        let (pixels, side) = ((width * height) as u64, width.max(height) as u32);
        assert!(read(pixels, side).is_ok(), "{name}");
        for (pixels, side) in [(pixels - 1, side), (pixels, side - 1)] {
            let refusal = read(pixels, side).unwrap_err();
            let words = format!("the image is too large: {width}x{height}");
            assert!(refusal.starts_with(&words), "{refusal}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_and_damage_never_panics() {
    for name in ["420-full", "multiplied", "turned-6", "frames", "grid"] {
        let (file, whole) = (file(&format!("{name}.avif")), read(name));
        for end in (0..file.len()).step_by(7) {
            match Photo::from_bytes(&file[..end], &Limits::default()) {
                // Other pictures of a sequence may be missing.
                Ok(photo) => assert_eq!(photo.image(), whole.image(), "{name}, {end}"),
                Err(reason) if end >= 16 => {
                    assert!(reason.contains("truncated"), "{end}: {reason}")
                }
                Err(_) => {}
            }
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            let limits = Limits { max_pixels: 1 << 16, ..Limits::default() };
            if let Err(reason) = Photo::from_bytes(&damaged, &limits) {
                assert!(!reason.contains("decoder does not know"), "{name}, {at}: {reason}");
            }
        }
    }
}
