//! TIFF files that other programs write, made of numbers.

use ::tiff::encoder::colortype::{self, ColorType};
use ::tiff::encoder::{Rational, TiffEncoder, TiffValue};
use ::tiff::tags::Tag;

use super::*;
use crate::image::{Depth, Format, Photo, TiffCompression, WriteOptions};

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
    assert!(exif::put_in_first(&mut file, tag, Some(value)));
    file
}

/// A TIFF file of two gray pictures, each of one level.
fn two(sizes: [(u32, u32); 2], levels: [u8; 2], tags: [&[(u16, &[u16])]; 2]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    for i in [0, 1] {
        let (width, height) = sizes[i];
        let mut image = encoder.new_image::<colortype::Gray8>(width, height).unwrap();
        for (tag, values) in tags[i] {
            image.encoder().write_tag(Tag::from_u16_exhaustive(*tag), *values).unwrap();
        }
        image.write_data(&vec![levels[i]; (width * height) as usize]).unwrap();
    }
    file.into_inner()
}

fn read(file: &[u8]) -> Photo {
    Photo::from_bytes(file, &Limits::default()).unwrap()
}

fn levels(photo: &Photo) -> Vec<u32> {
    let max = if photo.depth == Depth::Eight { 255.0 } else { 65535.0 };
    photo.image().data.iter().map(|value| (value * max).round() as u32).collect()
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
fn ycbcr_has_the_coefficients_and_the_range_of_its_file() {
    // Video's range: black, white, and red of the usual coefficients.
    let range: &[(u16, &[u16])] = &[(532, &[16, 235, 128, 240, 128, 240])];
    let video = file::<colortype::YCbCr8>((2, 1), &[16, 128, 128, 235, 128, 128], range);
    assert_eq!(levels(&read(&video)), [0, 0, 0, 255, 255, 255]);
    // Red, by the coefficients of BT.709.
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::YCbCr8>(1, 1).unwrap();
    let parts = [2126, 7152, 722].map(|n| Rational { n, d: 10_000 });
    image.encoder().write_tag(Tag::from_u16_exhaustive(529), &parts[..]).unwrap();
    image.write_data(&[54, 99, 255]).unwrap();
    let colors = levels(&read(&bytes.into_inner()));
    assert!(colors[0] >= 253 && colors[1] <= 2 && colors[2] <= 2, "{colors:?}");
}

#[test]
fn bits_in_reverse_order_are_put_right() {
    let samples: Vec<u8> = (0..12u8).collect();
    let reversed: Vec<u8> = samples.iter().map(|byte| byte.reverse_bits()).collect();
    let photo = read(&file::<colortype::RGB8>((4, 1), &reversed, &[(266, &[2])]));
    assert_eq!(levels(&photo), (0..12).collect::<Vec<u32>>());
}

#[test]
fn samples_of_any_number_of_bits_are_read() {
    // Two rows of two samples of 12 bits: 0x123, 0xFFF; 0x800, 0.
    let packed = [0x12, 0x3F, 0xFF, 0x80, 0x00, 0x00];
    let scaled = |value: u32| (value * 65_535 + 2047) / 4095;
    let expected = [0x123, 0xFFF, 0x800, 0].map(scaled);
    let twelve = with(with(file::<colortype::Gray8>((3, 2), &packed, &[]), 256, 2), 258, 12);
    let grays = |photo: Photo| levels(&photo).into_iter().step_by(3).collect::<Vec<_>>();
    assert_eq!(grays(read(&twelve)), expected);
    // As differences, the second of a row follows from the first.
    let tags: &[(u16, &[u16])] = &[(317, &[2])];
    let twelve = with(with(file::<colortype::Gray8>((3, 2), &packed, tags), 256, 2), 258, 12);
    assert_eq!(grays(read(&twelve)), [0x123, 0x122, 0x800, 0x800].map(scaled));
    // Three samples of three bits, 0 for white: 7, 0, 5.
    let three = file::<colortype::Gray8>((2, 1), &[0b1110_0010, 0b1000_0000], &[]);
    let three = with(with(with(three, 256, 3), 258, 3), 262, 0);
    assert_eq!(grays(read(&three)), [0, 255, 73]);
    // Four bits in color: 0, 15, 3.
    let four = file::<colortype::RGB8>((1, 1), &[0x0F, 0x30, 0], &[]);
    assert_eq!(levels(&read(&with(four, 258, 4))), [0, 255, 51]);
    // 24 bits, of which 16 are kept.
    let bytes = if cfg!(target_endian = "big") { [1, 2, 3] } else { [3, 2, 1] };
    let long = with(with(file::<colortype::Gray8>((3, 1), &bytes, &[]), 256, 1), 258, 24);
    assert_eq!(levels(&read(&long)), [0x0102; 3]);
}

#[test]
fn a_single_bit_needs_no_field_that_says_so() {
    let mut bits = with(file::<colortype::Gray8>((1, 1), &[0b0100_0000], &[]), 256, 3);
    // Gone, as if it had never been there.
    assert!(exif::put_in_first(&mut bits, 258, None));
    assert_eq!(levels(&read(&bits)), [0, 0, 0, 255, 255, 255, 0, 0, 0]);
}

#[test]
fn signed_samples_count_from_their_least_value_if_any_is_negative() {
    let signed = |values: &[u16]| {
        let file = file::<colortype::Gray16>((values.len() as u32, 1), values, &[]);
        levels(&read(&with(file, 339, 2))).into_iter().step_by(3).collect::<Vec<_>>()
    };
    assert_eq!(signed(&[-32_768i16 as u16, -1i16 as u16, 0, 32_767]), [0, 32_767, 32_768, 65_535]);
    assert_eq!(signed(&[0, 5, 32_767]), [0, 5, 32_767]);
    let color = file::<colortype::RGB16>((1, 1), &[0, 40_000, 65_535], &[]);
    assert_eq!(levels(&read(&with(color, 339, 2))), [0, 40_000, 65_535]);
    // Of 8 bits, they are ordinary ones with the wrong name.
    let eight = with(file::<colortype::Gray8>((3, 1), &[0, 127, 200], &[]), 339, 2);
    assert_eq!(levels(&read(&eight)).into_iter().step_by(3).collect::<Vec<_>>(), [0, 127, 200]);
}

#[test]
fn faxes_are_read_and_their_damaged_lines_told() {
    // A mark, white 2, black 3, white 3; twice.
    let data = [0x00, 0x17, 0xA0, 0x00, 0x17, 0xA0];
    let fax = |compression: usize, white: usize, data: &[u8]| {
        let bytes = file::<colortype::Gray8>((data.len() as u32, 1), data, &[]);
        let one_bit = with(with(with(bytes, 256, 8), 257, 2), 258, 1);
        read(&with(with(with(one_bit, 278, 2), 259, compression), 262, white))
    };
    let photo = fax(3, 0, &data);
    let line = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let grays = |photo: &Photo| photo.pixels.iter().map(|[gray, ..]| gray).collect::<Vec<_>>();
    assert_eq!(grays(&photo), [line, line].concat());
    assert!(photo.gray && photo.notes.is_empty());
    assert_eq!(grays(&fax(2, 1, &[0x7A, 0x00, 0x7A, 0x00])), [line.map(|v| 1.0 - v); 2].concat());
    assert_eq!(fax(3, 0, &[0x00, 0x17, 0xA0, 0x00, 0x00, 0x00]).notes, [Note::Damaged]);
}

#[test]
fn colors_that_pixels_share_reach_all_of_them() {
    // Four lumas, and the two differences of red at full range.
    let group = [76, 76, 0, 255, 85, 255];
    let tags: &[(u16, &[u16])] = &[(530, &[2, 2])];
    let file = file::<colortype::RGB8>((2, 1), &group, tags);
    let shared = with(with(with(file, 257, 2), 278, 2), 262, 6);
    let photo = read(&shared);
    assert_eq!(photo.sides(), (2, 2));
    let colors = levels(&photo);
    assert_eq!(colors[..6], [254, 0, 0, 254, 0, 0]);
    assert_eq!((colors[6], colors[9], colors[10]), (178, 255, 179));
}

#[test]
fn iptc_is_read_from_a_field_of_whatever_type() {
    use ::tiff::encoder::TiffKind;
    let fields = *b"\x1c\x02\x78\0\x03fog";
    let word = |i: usize| u32::from_ne_bytes(fields[4 * i..4 * i + 4].try_into().unwrap());
    let words = [word(0), word(1)];
    fn file<K: TiffKind>(
        encoder: &mut TiffEncoder<&mut Cursor<Vec<u8>>, K>,
        value: impl TiffValue,
    ) {
        let mut image = encoder.new_image::<colortype::Gray8>(1, 1).unwrap();
        image.encoder().write_tag(Tag::from_u16_exhaustive(33723), value).unwrap();
        image.write_data(&[0]).unwrap();
    }
    for big in [false, true] {
        for case in 0..3 {
            let mut bytes = Cursor::new(Vec::new());
            let value = match case {
                // As it is, and turned from the other order of bytes.
                1 => Some(words),
                2 => Some(words.map(u32::swap_bytes)),
                _ => None,
            };
            match (big, value) {
                (false, None) => file(&mut TiffEncoder::new(&mut bytes).unwrap(), &fields[..]),
                (false, Some(v)) => file(&mut TiffEncoder::new(&mut bytes).unwrap(), &v[..]),
                (true, None) => file(&mut TiffEncoder::new_big(&mut bytes).unwrap(), &fields[..]),
                (true, Some(v)) => file(&mut TiffEncoder::new_big(&mut bytes).unwrap(), &v[..]),
            }
            let photo = read(&bytes.into_inner());
            let resources = photo.metadata.photoshop.expect("resources");
            let iptc = crate::image::metadata::iptc_in(&resources);
            assert_eq!(iptc, Some(&fields[..]), "{big} {case}");
        }
    }
}

/// A TIFF file whose fields come first, and then its samples, which start at the values of field
/// 273 counted from there.
fn fields_first(fields: &[(u16, &[u32])], samples: &[u8]) -> Vec<u8> {
    let start = 10 + 12 * fields.len() + 4;
    let arrays: usize = fields.iter().map(|(_, values)| 4 * values.len()).sum();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((fields.len() as u16).to_le_bytes());
    let mut outside = Vec::new();
    for (tag, values) in fields {
        let from = if *tag == 273 { (start + arrays) as u32 } else { 0 };
        let value: Vec<u8> = values.iter().flat_map(|value| (value + from).to_le_bytes()).collect();
        file.extend(tag.to_le_bytes());
        file.extend(4u16.to_le_bytes());
        file.extend((values.len() as u32).to_le_bytes());
        if values.len() == 1 {
            file.extend(value);
        } else {
            file.extend(((start + outside.len()) as u32).to_le_bytes());
            outside.extend(value);
        }
    }
    file.extend([0; 4]);
    file.extend(&outside);
    file.resize(start + arrays, 0);
    [&file[..], samples].concat()
}

#[test]
fn the_rows_that_are_there_of_a_file_without_compression_are_read() {
    let going = Limits { keep_going: true, ..Limits::default() };
    // Four rows of three pixels.
    let samples: Vec<u8> = (0..36).collect();
    let fields = |planar, rows, starts, lengths| {
        fields_first(
            &[
                (256, &[3]),
                (257, &[4]),
                (258, &[8]),
                (259, &[1]),
                (262, &[2]),
                (273, starts),
                (277, &[3]),
                (278, rows),
                (279, lengths),
                (284, planar),
            ],
            &samples,
        )
    };
    let one = fields(&[1], &[4], &[0], &[36]);
    let each = fields(&[1], &[1], &[0, 9, 18, 27], &[9; 4]);
    let whole = levels(&read(&one));
    for (file, name) in [(one, "one strip"), (each, "a strip for each row")] {
        assert_eq!(levels(&read(&file)), whole, "{name}");
        for lost in [1, 9, 14, 27] {
            let cut = &file[..file.len() - lost];
            assert!(Photo::from_bytes(cut, &Limits::default()).is_err(), "{name}");
            let photo = Photo::from_bytes(cut, &going).unwrap();
            let rows = (36 - lost) / 9;
            let gray = vec![128; 9 * (4 - rows)];
            assert_eq!(levels(&photo), [&whole[..9 * rows], &gray].concat(), "{name}, {lost}");
            assert_eq!(photo.notes, [Note::Incomplete(25 * rows as u8)], "{name}, {lost}");
        }
        assert!(Photo::from_bytes(&file[..file.len() - 30], &going).is_err(), "{name}");
    }
    // Of planes, a row takes all three.
    let planes = fields(&[2], &[4], &[0, 12, 24], &[12; 3]);
    let whole = levels(&read(&planes));
    assert_eq!(whole[..3], [0, 12, 24]);
    let photo = Photo::from_bytes(&planes[..planes.len() - 4], &going).unwrap();
    assert_eq!(levels(&photo), [&whole[..18], &[128; 18][..]].concat());
    assert_eq!(photo.notes, [Note::Incomplete(50)]);
}

#[test]
fn only_compressions_that_know_a_predictor_have_its_field() {
    let mut photo = read(&file::<colortype::RGB8>((2, 1), &[0, 50, 100, 150, 200, 250], &[]));
    let samples = photo.image();
    for (tiff, expected) in [
        (TiffCompression::None, None),
        (TiffCompression::PackBits, None),
        (TiffCompression::Lzw, Some(2)),
        (TiffCompression::Deflate, Some(2)),
    ] {
        photo.source = Some(SourceFile { tiff: Some(tiff), ..SourceFile::new(FileKind::Tiff) });
        let (bytes, _) = photo.to_bytes(Format::Tiff, &WriteOptions::default()).unwrap();
        let mut decoder = Decoder::new(Cursor::new(&bytes)).unwrap();
        let predictor = decoder.find_tag_unsigned::<u16>(Tag::Predictor).unwrap();
        assert_eq!(predictor, expected, "{tiff:?}");
        assert_eq!(read(&bytes).image(), samples, "{tiff:?}");
        assert_eq!(pages(&bytes), 1);
    }
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
        (with(gray(), 339, 5), "complex"),
        (with(gray(), 262, 32803), "a raw photo"),
        (with(gray(), 262, 32845), "color model"),
        (with(gray(), 259, 34712), "a rare compression"),
    ] {
        let refusal = Photo::from_bytes(&file, &Limits::default()).unwrap_err();
        assert!(refusal.contains(words) && refusal.contains("save it as"), "{refusal}");
    }
}

#[test]
fn a_thumbnail_in_front_of_the_page_is_not_the_photograph() {
    let sizes = [(4, 3), (40, 30)];
    let whole = |file: &[u8]| {
        let photo = read(file);
        let size = super::size(Cursor::new(file)).unwrap().0;
        assert_eq!(size, (photo.pixels.width as u32, photo.pixels.height as u32));
        (photo.pixels.width, levels(&photo)[0], photo.notes)
    };
    for minor in [&[(254u16, &[1u16][..])][..], &[(254, &[4])], &[(255, &[2])]] {
        assert_eq!(whole(&two(sizes, [10, 20], [minor, &[]])), (40, 20, vec![]), "{minor:?}");
        // There is nothing else.
        let both = whole(&two(sizes, [10, 20], [minor, minor]));
        assert_eq!(both, (4, 10, vec![Note::FirstOf(2)]), "{minor:?}");
    }
    let pages = whole(&two(sizes, [10, 20], [&[(254, &[2])], &[(254, &[2])]]));
    assert_eq!(pages, (4, 10, vec![Note::FirstOf(2)]));
    // What describes the photograph stands with the thumbnail.
    let described = two(sizes, [10, 20], [&[(254, &[1]), (34850, &[3])], &[]]);
    let exif = read(&described).metadata.exif.expect("a field of EXIF");
    assert!(exif.windows(2).any(|tag| tag == 34850u16.to_ne_bytes()));
}

#[test]
fn the_preview_of_a_raw_photo_is_not_the_photograph() {
    let refused = |file: &[u8], kind: &str| {
        let error = Photo::from_bytes(file, &Limits::default()).unwrap_err();
        assert!(error.contains(kind) && error.contains("develop it"), "{error}");
        assert_eq!(super::size(Cursor::new(file)).unwrap_err(), error);
    };
    let sizes = [(4, 3), (40, 30)];
    refused(&two(sizes, [1, 2], [&[(50706, &[1, 4, 0, 0])], &[]]), "DNG");
    // Its samples are those of a sensor, in the next directory or in one below the first.
    let mut file = two(sizes, [1, 2], [&[(254, &[1]), (330, &[0])], &[]]);
    let next = pictures(&file)[1].at;
    let first = pictures(&file)[0].at;
    make_first(&mut file, next).unwrap();
    file = with(file, 262, 32803);
    let raw = pictures(&file)[0].at;
    make_first(&mut file, first).unwrap();
    let below = with(file, 330, raw);
    assert!(pictures(&below).iter().any(|picture| picture.is_raw), "{:?}", pictures(&below));
    refused(&below, "a raw photo (TIFF/EP)");
    // Directories may contain themselves, and lead nowhere.
    for at in [first, usize::MAX >> 33, 7] {
        let odd = with(two(sizes, [1, 2], [&[(330, &[0])], &[]]), 330, at);
        assert!(pictures(&odd).len() >= 2);
        assert_eq!(read(&odd).pixels.width, 4);
    }
}
