//! Every kind of file there and back, and everything that can be wrong with one.

use std::fs;
use std::path::Path;

use engine::Rng;

use super::*;
use crate::image::{Depth, PhotoProfile};

/// A photo whose samples lie on the grid of its depth, so that a lossless format gives them back
/// bit by bit.
fn photo(gray: bool, has_alpha: bool, depth: Depth) -> Photo {
    let levels = if depth == Depth::Eight { 255.0 } else { 65535.0 };
    let mut rng = Rng::new(5);
    let mut sample = || rng.range(0.0..levels + 1.0).floor() as f32 / levels as f32;
    let rgb = Image::from_fn(23, 17, |_, _| match gray {
        true => [sample(); 3],
        false => [sample(), sample(), sample()],
    });
    let alpha = has_alpha.then(|| (0..23 * 17).map(|_| sample()).collect());
    Photo { alpha, depth, gray, ..Photo::new(rgb) }
}

fn kinds() -> impl Iterator<Item = Photo> {
    (0..8).map(|k| {
        let depth = [Depth::Eight, Depth::Sixteen][k / 4];
        photo(k % 2 == 1, k / 2 % 2 == 1, depth)
    })
}

/// The error of reading `path`; it must name the file.
fn refusal(path: &Path) -> String {
    let text = Photo::read(path).unwrap_err().to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    text
}

fn distance(a: &Image, b: &Image) -> f32 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let pairs = a.data.iter().zip(&b.data);
    pairs.map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or(0.0)
}

#[test]
fn formats_that_hold_everything_give_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["png", "tiff", "pam", "PNM"] {
        for photo in kinds() {
            let path = folder.path().join("photo").with_extension(extension);
            photo.write(&path).unwrap();
            let back = Photo::read(&path).unwrap();
            assert_eq!(back.image(), photo.image(), "{extension}");
            assert_eq!(back.alpha, photo.alpha, "{extension}");
            assert_eq!((back.depth, back.gray), (photo.depth, photo.gray), "{extension}");
        }
    }
}

#[test]
fn a_single_pixel_survives_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["png", "jpg", "webp", "bmp", "tif", "ppm", "pam"] {
        let path = folder.path().join("photo").with_extension(extension);
        let photo = Photo::new(Image::from_fn(1, 1, |_, _| [1.0, 1.0, 1.0]));
        photo.write(&path).unwrap();
        assert_eq!(Photo::read(&path).unwrap().image(), photo.image(), "{extension}");
    }
}

#[test]
fn lesser_formats_keep_what_they_can() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, sixteen, alpha, gray) in
        [("webp", false, true, false), ("bmp", false, true, true), ("ppm", true, false, false)]
    {
        for photo in kinds() {
            let path = folder.path().join("photo").with_extension(extension);
            photo.write(&path).unwrap();
            let back = Photo::read(&path).unwrap();
            let depth = if sixteen { photo.depth } else { Depth::Eight };
            assert_eq!(back.depth, depth, "{extension}");
            assert_eq!(back.alpha.is_some(), alpha && photo.alpha.is_some(), "{extension}");
            assert!(gray || !back.gray, "{extension}");
            let half_a_step = if back.depth == photo.depth { 0.0 } else { 0.5001 / 255.0 };
            // Without alpha, the photo is over white.
            if back.alpha.is_some() == photo.alpha.is_some() {
                assert!(distance(&back.image(), &photo.image()) <= half_a_step, "{extension}");
            }
        }
    }
}

#[test]
fn jpeg_comes_back_nearly_the_same_and_gray_stays_gray() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.JPG");
    for gray in [false, true] {
        let mut photo = photo(gray, false, Depth::Sixteen);
        photo.pixels = Image::from_fn(23, 17, |x, y| {
            let [r, g, b] = [x as f32 / 23.0, y as f32 / 17.0, 0.5];
            if gray { [r; 3] } else { [r, g, b] }
        })
        .into();
        photo.write(&path).unwrap();
        let back = Photo::read(&path).unwrap();
        assert_eq!((back.depth, back.gray, &back.alpha), (Depth::Eight, gray, &None));
        assert!(distance(&back.image(), &photo.image()) < 0.03);
    }
}

#[test]
fn values_are_limited_and_rounded_to_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    let rgb = Image {
        width: 2,
        height: 1,
        data: vec![-0.5, 1.5, f32::NAN, 0.4 / 255.0, 0.6 / 255.0, 254.4 / 255.0],
    };
    Photo::new(rgb).write(&path).unwrap();
    let back = Photo::read(&path).unwrap().image();
    let levels: Vec<u8> = back.data.iter().map(|v| (v * 255.0).round() as u8).collect();
    assert_eq!(levels, [0, 255, 0, 0, 1, 254]);
}

#[test]
fn the_profile_travels_with_the_photo() {
    let folder = tempfile::tempdir().unwrap();
    let mut profile = vec![0; 200];
    profile[16..20].copy_from_slice(b"RGB ");
    for extension in ["png", "jpeg", "webp", "tif", "bmp", "ppm"] {
        let path = folder.path().join("photo").with_extension(extension);
        let mut photo = photo(false, false, Depth::Eight);
        photo.profile = Some(PhotoProfile::inert(profile.clone()));
        photo.write(&path).unwrap();
        let kept = !matches!(extension, "bmp" | "ppm");
        let back = Photo::read(&path).unwrap().profile.map(|profile| profile.icc);
        assert_eq!(back, kept.then(|| profile.clone()), "{extension}");
    }
}

#[test]
fn palettes_bits_and_cmyk_become_ordinary_samples() {
    let palette = Photo::read(sample::path("palette.png")).unwrap();
    assert_eq!(palette.image().at(0, 0), [1.0, 0.0, 0.0]);
    assert_eq!(palette.image().at(0, 1), [1.0, 1.0, 1.0]);
    assert_eq!(palette.alpha.unwrap(), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);

    let one_bit = Photo::read(sample::path("one_bit.png")).unwrap();
    assert!(one_bit.gray && one_bit.image().data.iter().all(|&v| v == 1.0));

    // Cyan ink 0, magenta and yellow full: red.
    let [r, g, b] = Photo::read(sample::path("cmyk.jpg")).unwrap().image().at(8, 8);
    assert!(r > 0.95 && g < 0.05 && b < 0.05, "{r} {g} {b}");

    let gray = Photo::read(sample::path("grey.jpg")).unwrap();
    assert!(gray.gray && (gray.image().at(3, 3)[0] - 100.0 / 255.0).abs() < 0.01);
}

#[test]
fn the_orientation_is_applied() {
    // Stored 16x8, left half white, to be turned clockwise by 90 degrees: upright the top half is
    // white.
    let upright = Photo::read(sample::path("turned.jpg")).unwrap().image();
    assert_eq!((upright.width, upright.height), (8, 16));
    assert!(upright.at(4, 2)[0] > 0.9 && upright.at(4, 13)[0] < 0.1);
    assert_eq!(Photo::size(sample::path("turned.jpg")).unwrap(), (8, 16));
}

#[test]
fn contents_count_and_names_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    fs::copy(sample::path("grey.jpg"), &path).unwrap();
    assert!(Photo::read(&path).unwrap().gray);
}

#[test]
fn files_that_are_no_images_are_refused_by_name_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    assert!(matches!(Photo::read(&path), Err(Error::Io { .. })));
    refusal(&path);
    fs::write(&path, "").unwrap();
    assert!(refusal(&path).contains("empty"));
    fs::write(&path, "Dear diary").unwrap();
    assert!(refusal(&path).contains("not an image"));
    fs::write(&path, [0; 3]).unwrap();
    assert!(refusal(&path).contains("not an image"));
    assert!(refusal(folder.path()).contains("folder"));
}

#[test]
fn sizes_are_judged_from_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.ppm");
    for (size, cause) in [
        ("65536 1", "too large"),
        ("60000 60000", "too large"),
        ("0 5", "pixels"),
        ("5 5", "truncated"),
    ] {
        fs::write(&path, format!("P6\n{size}\n255\n")).unwrap();
        let text = refusal(&path);
        assert!(text.contains(cause), "{size}: {text}");
        // The header alone shows all but the missing pixels.
        assert_eq!(Photo::size(&path).is_ok(), cause == "truncated");
    }
    let small = Limits { max_pixels: 23 * 17 - 1, ..Limits::default() };
    photo(false, false, Depth::Eight).write(&path).unwrap();
    assert!(Photo::read(&path).is_ok());
    assert!(Photo::read_within(&path, &small).is_err());
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_whole() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["png", "jpg", "webp", "bmp", "tif", "ppm", "pam"] {
        let path = folder.path().join("photo").with_extension(extension);
        photo(false, false, Depth::Eight).write(&path).unwrap();
        let (bytes, whole) = (fs::read(&path).unwrap(), Photo::read(&path).unwrap());
        for len in 0..bytes.len() {
            fs::write(&path, &bytes[..len]).unwrap();
            // Some formats end in bytes that no pixel needs.
            match Photo::read(&path) {
                Ok(photo) if photo.notes.is_empty() || photo.notes == [Note::NoEnd] => {
                    assert_eq!(photo.image(), whole.image(), "{extension} cut to {len}")
                }
                Ok(photo) => assert!(extension == "jpg", "{extension}: {:?}", photo.notes),
                Err(error) => assert!(error.to_string().contains("photo."), "{error}"),
            }
        }
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        refusal(&path);
    }
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["png", "jpg", "webp", "bmp", "tif", "pam"] {
        let path = folder.path().join("photo").with_extension(extension);
        photo(false, false, Depth::Eight).write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        for round in 0..200 {
            let keep_going = round % 2 == 1;
            let (max_side, max_pixels) = (2000, 1 << 20);
            let limits = Limits { max_side, max_pixels, keep_going, ..Limits::default() };
            let mut rng = Rng::at(9, 0, round);
            let mut damaged = bytes.clone();
            for _ in 0..rng.int(1..8) {
                let end = if rng.chance(0.5) { 64 } else { damaged.len() };
                let place = rng.below(end as u64) as usize;
                damaged[place] = rng.next_u32() as u8;
            }
            fs::write(&path, damaged).unwrap();
            if let Ok(photo) = Photo::read_within(&path, &limits) {
                let image = photo.image();
                assert_eq!(image.data.len(), image.width * image.height * 3);
            }
        }
    }
}

#[test]
fn unwritable_formats_are_refused_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let color = photo(false, false, Depth::Eight);
    for name in ["photo.gif", "photo", "photo.pgm", "missing/photo.png"] {
        let path = folder.path().join(name);
        let text = color.write(&path).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
    let empty = Photo::new(Image::new(0, 3));
    assert!(empty.write(folder.path().join("photo.png")).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(Photo::check_writable("a/b.TIFF").is_ok());
    assert!(Photo::check_writable("a/b.heic").is_err());
    let refusal = Photo::check_writable("a/b.avif").unwrap_err().to_string();
    assert!(refusal.contains("cannot write \".avif\" files; png, jpg"), "{refusal}");
}

#[test]
fn the_table_in_the_manual_is_true() {
    let page = include_str!("../../../../docs/src/formats.md");
    // Of the first table.
    let rows = page.lines().skip_while(|line| !line.starts_with("| ")).skip(2);
    let rows = rows.take_while(|line| line.starts_with("| "));
    let mut photo = photo(false, true, Depth::Sixteen);
    photo.profile = Some(PhotoProfile::inert(moxcms::ColorProfile::new_srgb().encode().unwrap()));
    photo.metadata.exif =
        Some(b"II*\0\x08\0\0\0\x01\0\x31\x01\x02\0\x02\0\0\0x\0\0\0\0\0\0\0".into());
    photo.metadata.xmp = Some(b"<x:xmpmeta/>".into());
    photo.metadata.photoshop = Some(b"8BIM\x04\x04\0\0\0\0\0\x02ab".into());
    let unit = crate::image::Unit::Inch;
    photo.metadata.resolution = Some(crate::image::Resolution { x: 240.0, y: 240.0, unit });
    let mut checked = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let extension = if cells[0] == "PNM" { "pam" } else { cells[0] };
        let format = Format::of_extension(extension);
        assert_eq!(cells[2] == "yes", format.is_some(), "{}", cells[0]);
        let Some(format) = format else { continue };
        let (bytes, _) = photo.to_bytes(format, &WriteOptions::default()).unwrap();
        assert_eq!(FileKind::of(&bytes).to_string(), cells[0]);
        let back = Photo::from_bytes(&bytes, &Limits::default()).unwrap();
        let metadata = &back.metadata;
        let held = [
            back.depth == Depth::Sixteen,
            back.alpha.is_some(),
            back.profile.is_some(),
            metadata.exif.is_some(),
            metadata.xmp.is_some(),
            metadata.photoshop.is_some(),
            metadata.resolution.is_some(),
        ];
        let told: Vec<bool> = cells[3..10].iter().map(|&cell| cell == "yes").collect();
        assert_eq!(told, held, "{}", cells[0]);
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn kinds_that_cannot_be_read_are_named_with_what_to_do() {
    let cases: &[(&[u8], &str)] = &[
        #[cfg(not(feature = "heic"))]
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC files cannot be read; convert them with"),
        #[cfg(not(feature = "avif"))]
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF files cannot be read"),
        #[cfg(all(feature = "avif", not(feature = "heic")))]
        (b"nothing of the sort", "GIF, PNM, AVIF and JPEG XL can be read"),
        #[cfg(all(feature = "avif", feature = "heic"))]
        (b"nothing of the sort", "GIF, PNM, AVIF, HEIC and JPEG XL can be read"),
        (b"FUJIFILMCCD-RAW ", "a raw photo (Fujifilm RAF)"),
        (b"8BPS\0\x01", "Photoshop files cannot be read; open them in an image program"),
        (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x3C\0\x2C\0\x18\0", "TGA files cannot be read"),
        (b"\0\0\x01\0\x01\0\x10\x10", "ICO files cannot be read"),
        (b"#define picture_width 60", "XBM files cannot be read"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video (MP4)"),
    ];
    for (head, words) in cases {
        let refusal = Photo::from_bytes(head, &Limits::default()).unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_noted() {
    let photo = photo(false, true, Depth::Sixteen);
    let bits = Note::FewerBits { from: 16, to: 8 };
    for (format, notes) in [
        (Format::Jpeg, vec![bits.clone(), Note::OverWhite]),
        (Format::WebP, vec![bits]),
        (Format::Ppm, vec![Note::OverWhite]),
        (Format::Png, vec![]),
    ] {
        assert_eq!(photo.to_bytes(format, &WriteOptions::default()).unwrap().1, notes);
    }
    assert_eq!(Note::OverWhite.to_string(), "transparency over white");
}

#[test]
fn a_jpeg_is_written_as_the_one_it_came_from() {
    let mut photo =
        Photo::new(Image::from_fn(64, 48, |x, y| [x as f32 / 64.0, y as f32 / 48.0, 0.5]));
    for (quality, sampling, written) in [(97, (2, 2), 97), (75, (2, 1), 90), (92, (1, 1), 92)] {
        let jpeg = Some(crate::image::JpegCoding { quality, sampling });
        let source = crate::image::SourceFile::new(FileKind::Jpeg);
        photo.source = Some(crate::image::SourceFile { jpeg, lossy: true, ..source });
        let (bytes, _) = photo.to_bytes(Format::Jpeg, &WriteOptions::default()).unwrap();
        let coding = Photo::from_bytes(&bytes, &Limits::default()).unwrap().source.unwrap().jpeg;
        assert_eq!(coding, Some(crate::image::JpegCoding { quality: written, sampling }));
        let options = WriteOptions { quality: Some(60), ..WriteOptions::default() };
        let (bytes, _) = photo.to_bytes(Format::Jpeg, &options).unwrap();
        let coding = Photo::from_bytes(&bytes, &Limits::default()).unwrap().source.unwrap().jpeg;
        assert_eq!(coding.unwrap().quality, 60);
    }
}

#[test]
fn a_panic_is_an_error_and_prints_nothing() {
    let refusal = guarded::<()>(|| panic!("in the words of a library")).unwrap_err();
    assert!(refusal.contains("damaged") && !refusal.contains("library"), "{refusal}");
}
