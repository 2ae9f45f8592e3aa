//! Colors there and back, by the profiles of the standards.

use super::*;
use crate::image::{Depth, Format, Image, Limits, Photo, WriteOptions};

fn profiles() -> Vec<(&'static str, ColorProfile)> {
    vec![
        ("Display P3", ColorProfile::new_display_p3()),
        ("Adobe RGB", ColorProfile::new_adobe_rgb()),
        ("ProPhoto", ColorProfile::new_pro_photo_rgb()),
        ("Rec. 2020", ColorProfile::new_bt2020()),
        ("gray 2.2", ColorProfile::new_gray_with_gamma(2.2)),
        ("gray 1.0", ColorProfile::new_gray_with_gamma(1.0)),
    ]
}

/// A photo whose samples are these numbers in the color space of a profile.
fn stored(profile: &ColorProfile, gray: bool, depth: Depth) -> Photo {
    let levels = if depth == Depth::Eight { 255u32 } else { 65535 };
    let level = |i: usize| {
        let i = i as u32;
        (i.wrapping_mul(2_654_435_761) >> 8) % (levels + 1)
    };
    let rgb = Image::from_fn(40, 25, |x, y| {
        let i = y * 40 + x;
        let sample = |c: usize| level(if gray { i } else { 3 * i + c }) as f32 / levels as f32;
        [0, 1, 2].map(sample)
    });
    let icc = profile.encode().unwrap();
    Photo { gray, depth, profile: Some(PhotoProfile::inert(icc)), ..Photo::new(rgb) }
}

#[test]
fn what_nothing_changes_is_written_as_it_was_read() {
    for (name, profile) in profiles() {
        let gray = name.starts_with("gray");
        for (depth, format) in [
            (Depth::Eight, Format::Png),
            (Depth::Sixteen, Format::Png),
            (Depth::Sixteen, Format::Tiff),
        ] {
            let stored = stored(&profile, gray, depth);
            let options = WriteOptions::default();
            let (file, _) = stored.to_bytes(format, &options).unwrap();
            let photo = Photo::from_bytes(&file, &Limits::default()).unwrap();
            assert_eq!(photo.notes, [], "{name}");
            assert!(photo.profile.as_ref().unwrap().converts(), "{name}");
            assert_ne!(photo.image(), stored.image(), "{name}");
            let (again, _) = photo.to_bytes(format, &options).unwrap();
            assert_eq!(again, file, "{name}, {depth:?}");
            // A change of one pixel is that pixel's alone.
            let mut changed = photo.clone();
            let mut image = photo.image();
            image.set_pixel(3, 4, [0.5; 3]);
            changed.pixels = image.into();
            let (file, _) = changed.to_bytes(format, &options).unwrap();
            let back = Photo::from_bytes(&file, &Limits::default()).unwrap();
            assert!(back.image().at(3, 4).iter().all(|v| (v - 0.5).abs() < 0.02), "{name}");
            changed.pixels = photo.image().into();
            assert_eq!(changed.to_bytes(format, &options).unwrap().0, again, "{name}");
        }
    }
}

#[test]
fn colors_become_those_that_other_programs_show() {
    // By the primaries and curves of the standards, from https://www.color.org/chardata.
    for (profile, stored, srgb) in [
        // Display P3's half gray is sRGB's; its red is outside.
        (ColorProfile::new_display_p3(), [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
        (ColorProfile::new_display_p3(), [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        (ColorProfile::new_display_p3(), [0.6, 0.5, 0.4], [0.620, 0.497, 0.382]),
        // 0.5^(563/256) through sRGB's curve.
        (ColorProfile::new_adobe_rgb(), [0.5, 0.5, 0.5], [0.499, 0.499, 0.499]),
        (ColorProfile::new_pro_photo_rgb(), [0.5, 0.5, 0.5], [0.574, 0.574, 0.574]),
    ] {
        let mut pixels = Image::from_fn(1, 1, |_, _| stored).into();
        let (_, note) = PhotoProfile::read(profile.encode().unwrap(), &mut pixels, false);
        assert_eq!(note, None);
        for (value, expected) in pixels.nth(0).into_iter().zip(srgb) {
            assert!((value - expected).abs() < 0.006, "{stored:?}: {:?}", pixels.nth(0));
        }
    }
}

#[test]
fn srgb_changes_nothing() {
    let pixels = Pixels::from(Image::from_fn(3, 2, |x, y| [x as f32 / 3.0, y as f32 / 2.0, 0.1]));
    let mut read = pixels.clone();
    let icc = ColorProfile::new_srgb().encode().unwrap();
    let (profile, note) = PhotoProfile::read(icc.clone(), &mut read, false);
    let profile = profile.unwrap();
    assert_eq!((read, note, profile.converts()), (pixels, None, false));
    assert_eq!(profile.icc, icc);
    assert!(profile.encoding(false).is_none());
}

#[test]
fn profiles_of_other_channels_are_dropped_and_unknown_ones_kept() {
    let mut pixels = Pixels::from(Image::from_fn(1, 1, |_, _| [0.25; 3]));
    let gray = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
    let (profile, note) = PhotoProfile::read(gray, &mut pixels, false);
    assert!(profile.is_none() && note == Some(Note::ProfileIgnored));
    // A gray picture with the profile of sRGB is common.
    let srgb = ColorProfile::new_srgb().encode().unwrap();
    let (profile, note) = PhotoProfile::read(srgb, &mut pixels, true);
    assert!(profile.is_none() && note.is_none());
    let (profile, note) = PhotoProfile::read(vec![7; 300], &mut pixels, false);
    assert_eq!(profile.unwrap().icc, [7; 300]);
    assert_eq!((note, pixels.nth(0)), (Some(Note::ProfileIgnored), [0.25; 3]));
}

#[test]
fn lab_is_what_the_standard_says() {
    for (lab, srgb) in [
        ([100.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ([54.29, 80.81, 69.89], [1.0, 0.0, 0.0]),
        ([87.82, -79.27, 80.99], [0.0, 1.0, 0.0]),
    ] {
        let color = lab_to_srgb(lab);
        let near = color.iter().zip(srgb).all(|(a, b)| (a - b).abs() < 0.01);
        assert!(near, "{lab:?}: {color:?}");
    }
}
