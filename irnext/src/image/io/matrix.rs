//! The pixel check: for every format, orientation, transparency, depth and profile, reading gives
//! the numbers that were written, and writing the numbers read gives the same file again.

use crate::image::{Depth, Format, Image, Limits, Photo, PhotoProfile, WriteOptions};

const WIDTH: usize = 7;
const HEIGHT: usize = 5;

/// Where the pixel in column `x` of row `y` of the upright picture is stored.
fn stored_at(orientation: u8, (x, y): (usize, usize)) -> (usize, usize) {
    let (right, bottom) = match orientation {
        5.. => (HEIGHT - 1, WIDTH - 1),
        _ => (WIDTH - 1, HEIGHT - 1),
    };
    // The place of the stored 0th row and column, as EXIF tells it.
    match orientation {
        2 => (right - x, y),
        3 => (right - x, bottom - y),
        4 => (x, bottom - y),
        5 => (y, x),
        6 => (y, right - x),
        7 => (bottom - y, right - x),
        8 => (bottom - y, x),
        _ => (x, y),
    }
}

/// The smallest EXIF block with an orientation.
fn block(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

/// A photo whose samples are all different.
pub(super) fn stored(gray: bool, has_alpha: bool, depth: Depth, profile: Option<Vec<u8>>) -> Photo {
    let levels = if depth == Depth::Eight { 255u32 } else { 65535 };
    let level = |i: usize| {
        let level = ((i + 1) as u32).wrapping_mul(2_654_435_761) >> 7;
        (level % (levels + 1)) as f32 / levels as f32
    };
    let rgb = Image::from_fn(WIDTH, HEIGHT, |x, y| {
        let i = 4 * (y * WIDTH + x);
        if gray { [level(i); 3] } else { [0, 1, 2].map(|c| level(i + c)) }
    });
    let alpha = has_alpha.then(|| (0..WIDTH * HEIGHT).map(|i| level(4 * i + 3)).collect());
    let profile = profile.map(PhotoProfile::inert);
    Photo { alpha, depth, gray, profile, ..Photo::new(rgb) }
}

/// The TIFF encoder writes no orientation, as photos are upright: this is put in place of a field
/// that says nothing.
fn turn_tiff(file: &mut [u8], orientation: u8) {
    let field = [0x31, 0x01, 2, 0];
    let at = file.windows(4).position(|window| window == field).unwrap();
    let turned = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    file[at..at + 12].copy_from_slice(&turned);
}

#[test]
fn every_combination_is_read_as_it_was_written_and_written_as_it_was_read() {
    let options = WriteOptions::default();
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let dark = moxcms::ColorProfile::new_gray_with_gamma(1.8).encode().unwrap();
    let mut count = 0;
    for format in [Format::Png, Format::WebP, Format::Tiff, Format::Bmp, Format::Pam] {
        for case in 0..16 {
            let [gray, has_alpha, deep, profiled] = [1, 2, 4, 8].map(|bit| case & bit != 0);
            let depth = if deep { Depth::Sixteen } else { Depth::Eight };
            let icc = if gray { &dark } else { &p3 };
            let photo = stored(gray, has_alpha, depth, profiled.then(|| icc.clone()));
            let image = photo.image();
            let lost_depth = deep && matches!(format, Format::WebP | Format::Bmp);
            let lost_profile = profiled && !format.has_profile() || gray && format == Format::WebP;
            for orientation in 1..=8 {
                let name = format!("{format:?}, {case:04b}, orientation {orientation}");
                let mut written = photo.clone();
                let turns = matches!(format, Format::Png | Format::WebP);
                if turns {
                    written.metadata.exif = Some(block(orientation));
                } else if orientation > 1 && format != Format::Tiff {
                    continue;
                } else if format == Format::Tiff {
                    // "Software", of one letter, makes the place.
                    let mut block = block(1);
                    block[10..18].copy_from_slice(&[0x31, 0x01, 2, 0, 2, 0, 0, 0]);
                    block[18..22].copy_from_slice(b"x\0\0\0");
                    written.metadata.exif = Some(block);
                }
                let (mut file, notes) = written.to_bytes(format, &options).unwrap();
                if format == Format::Tiff {
                    turn_tiff(&mut file, orientation);
                }
                let read = Photo::from_bytes(&file, &Limits::default()).unwrap();
                assert_eq!(read.notes, [], "{name}");

                // Without a conversion of colors, the numbers are those that were stored.
                let turned = orientation >= 5;
                let size = if turned { (HEIGHT, WIDTH) } else { (WIDTH, HEIGHT) };
                assert_eq!(read.sides(), size, "{name}");
                let mut encoded = read.image();
                let profile = read.profile.as_ref();
                if let Some(encoding) = profile.and_then(|profile| profile.encoding(read.gray)) {
                    let rows = encoded.data.chunks_exact_mut(3 * size.0).enumerate();
                    rows.for_each(|(y, row)| encoding.apply(&read.pixels, y, row));
                }
                let step = if lost_depth { 0.5001 / 255.0 } else { 1e-6 };
                for y in 0..size.1 {
                    for x in 0..size.0 {
                        let (at_x, at_y) = stored_at(orientation, (x, y));
                        let expected = image.at(at_x, at_y);
                        let pixel = encoded.at(x, y);
                        let near = (0..3).all(|c| (pixel[c] - expected[c]).abs() <= step);
                        assert!(near, "{name}: {x}, {y}: {pixel:?}, not {expected:?}");
                        if let Some(alpha) = &read.alpha {
                            let before = photo.alpha.as_ref().unwrap()[at_y * WIDTH + at_x];
                            assert!((alpha[y * size.0 + x] - before).abs() <= step, "{name}");
                        }
                    }
                }
                assert_eq!(read.alpha.is_some(), has_alpha, "{name}");
                assert_eq!(read.profile.is_some(), profiled && !lost_profile, "{name}");
                assert_eq!(notes.is_empty(), !lost_depth, "{name}: {notes:?}");

                // Written and read again, nothing changes any more.
                let (again, _) = read.to_bytes(format, &options).unwrap();
                let reread = Photo::from_bytes(&again, &Limits::default()).unwrap();
                assert_eq!(reread.pixels, read.pixels, "{name}");
                assert_eq!(reread.alpha, read.alpha, "{name}");
                assert_eq!(reread.to_bytes(format, &options).unwrap().0, again, "{name}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 16 * (3 * 8 + 2));
}
