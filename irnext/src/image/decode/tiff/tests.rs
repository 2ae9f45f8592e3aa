//! TIFF files that other programs write, made of numbers.

use ::tiff::encoder::colortype::{self, ColorType};
use ::tiff::encoder::{TiffEncoder, TiffValue};
use ::tiff::tags::Tag;

use super::*;
use crate::image::{Depth, Photo};

/// A TIFF file of these samples, with tags of one or more 16-bit numbers besides.
fn file<C: ColorType>(size: (u32, u32), samples: &[C::Inner], tags: &[(u16, &[u16])]) -> Vec<u8>
where
    [C::Inner]: TiffValue,
{
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    let mut image = encoder.new_image::<C>(size.0, size.1).unwrap();
    for (tag, values) in tags {
        image.encoder().write_tag(Tag::from_u16_exhaustive(*tag), *values).unwrap();
    }
    image.write_data(samples).unwrap();
    file.into_inner()
}

/// Sets a tag that the encoder writes itself.
fn with(mut file: Vec<u8>, tag: u16, value: usize) -> Vec<u8> {
    assert!(exif::put_in_first(&mut file, tag, value));
    file
}

fn read(file: &[u8]) -> Photo {
    Photo::from_bytes(file, &Limits::default()).unwrap()
}

fn levels(photo: &Photo) -> Vec<u32> {
    let max = if photo.depth == Depth::Eight { 255.0 } else { 65535.0 };
    photo.rgb.data.iter().map(|value| (value * max).round() as u32).collect()
}

#[test]
fn alpha_that_is_multiplied_in_is_taken_out() {
    let samples = [50, 25, 0, 100, 7, 9, 11, 0, 1, 2, 3, 255];
    for (extra, expected) in
        [(1, [128, 64, 0, 7, 9, 11, 1, 2, 3]), (2, [50, 25, 0, 7, 9, 11, 1, 2, 3])]
    {
        let photo = read(&file::<colortype::RGBA8>((3, 1), &samples, &[(338, &[extra])]));
        assert_eq!(levels(&photo), expected);
        assert_eq!(photo.alpha.unwrap(), [100.0 / 255.0, 0.0, 1.0]);
    }
    let samples = [30_000, 30_000, 30_000, 40_000];
    let photo = read(&file::<colortype::RGBA16>((1, 1), &samples, &[(338, &[1])]));
    assert_eq!(levels(&photo), [49_151; 3]);
}

#[test]
fn palettes_of_16_and_of_8_bits_are_colors() {
    for (shift, name) in [(8, "16 bits"), (0, "8 bits")] {
        let palette: Vec<u16> = (0..768).map(|i| ((i * 7) % 256) << shift).collect();
        let gray = file::<colortype::Gray8>((3, 1), &[0, 1, 255], &[(320, &palette)]);
        let photo = read(&with(gray, 262, 3));
        let color = |i: usize| [0, 1, 2].map(|c| ((c * 256 + i) * 7 % 256) as u32);
        assert_eq!(levels(&photo), [color(0), color(1), color(255)].concat(), "{name}");
        assert!(!photo.gray);
    }
}

#[test]
fn floating_point_and_32_bits_become_16() {
    let values = [0.0, 0.25, 1.0, 7.0, -1.0, f32::NAN];
    let photo = read(&file::<colortype::Gray32Float>((6, 1), &values, &[]));
    let grays: Vec<u32> = levels(&photo).into_iter().step_by(3).collect();
    assert_eq!(grays, [0, 16_384, 65_535, 65_535, 0, 0]);
    assert_eq!(photo.notes, [Note::FewerBits { from: 32, to: 16 }]);
    let photo = read(&file::<colortype::Gray32>((2, 1), &[0, u32::MAX], &[]));
    assert_eq!(levels(&photo), [0, 0, 0, 65_535, 65_535, 65_535]);
}

#[test]
fn ycbcr_lab_and_cmyk_become_rgb() {
    let photo = read(&file::<colortype::YCbCr8>((1, 1), &[76, 85, 255], &[]));
    assert_eq!(levels(&photo), [254, 0, 0]);
    let lab = file::<colortype::RGB8>((2, 1), &[255, 0, 0, 138, 81, 70], &[]);
    let photo = read(&with(lab, 262, 8));
    let colors = levels(&photo);
    assert!(colors[..3].iter().all(|&v| v >= 254), "{colors:?}");
    assert!(colors[3] >= 253 && colors[4] < 10 && colors[5] < 10, "{colors:?}");
    let photo = read(&file::<colortype::CMYK8>((1, 1), &[0, 255, 255, 0], &[]));
    assert_eq!(levels(&photo), [255, 0, 0]);
    assert_eq!(photo.notes, [Note::ApproximateColors]);
}

#[test]
fn bits_in_reverse_order_are_put_right() {
    let samples: Vec<u8> = (0..12u8).collect();
    let reversed: Vec<u8> = samples.iter().map(|byte| byte.reverse_bits()).collect();
    let photo = read(&file::<colortype::RGB8>((4, 1), &reversed, &[(266, &[2])]));
    assert_eq!(levels(&photo), (0..12).collect::<Vec<u32>>());
}

#[test]
fn pages_behind_the_first_are_noted() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    for page in 0..3 {
        encoder.write_image::<colortype::Gray8>(1, 1, &[page]).unwrap();
    }
    assert_eq!(read(&file.into_inner()).notes, [Note::FirstOf(3)]);
}

#[test]
fn kinds_that_cannot_be_read_are_refused_in_words() {
    let gray = || file::<colortype::Gray8>((1, 1), &[0], &[]);
    for (file, words) in [
        (with(gray(), 259, 6), "old kind of JPEG"),
        (with(gray(), 339, 2), "signed"),
        (with(gray(), 262, 32803), "color model"),
        (with(gray(), 259, 34712), "a rare compression"),
    ] {
        let refusal = Photo::from_bytes(&file, &Limits::default()).unwrap_err();
        assert!(refusal.contains(words) && refusal.contains("save it as"), "{refusal}");
    }
}
