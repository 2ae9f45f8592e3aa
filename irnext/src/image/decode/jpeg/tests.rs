//! Whole files have no notes, and damaged ones never pass for whole.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::image::segments::{SOS, segment_at};
use crate::image::{Image, Photo};

const WIDTH: usize = 83;
const HEIGHT: usize = 123;

fn samples() -> Vec<u8> {
    let hash = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    let pixel = |i: usize| {
        let (x, y) = (i % WIDTH, i / WIDTH);
        [(3 * x) as u8, (2 * y) as u8, (x * y / 40) as u8].map(|v| (v / 4 * 3) + hash(i) / 8)
    };
    (0..WIDTH * HEIGHT).flat_map(pixel).collect()
}

/// Files of every sort of coding.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
        for progressive in [false, true] {
            for interval in [0, 3] {
                for optimized in [false, true] {
                    // The encoder's tables do not fit then.
                    if optimized && interval > 0 {
                        continue;
                    }
                    let mut file = Vec::new();
                    let mut encoder = Encoder::new(&mut file, 85);
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                    encoder.set_restart_interval(interval);
                    encoder.set_optimized_huffman_tables(optimized);
                    let (width, height) = (WIDTH as u16, HEIGHT as u16);
                    encoder.encode(&samples(), width, height, ColorType::Rgb).unwrap();
                    let name = format!("{sampling:?} {progressive} {interval} {optimized}");
                    files.push((name, file));
                }
            }
        }
    }
    files
}

fn read(bytes: &[u8]) -> std::result::Result<Photo, String> {
    Photo::from_bytes(bytes, &Limits::default())
}

/// Where the first scan starts.
fn scan_of(file: &[u8]) -> usize {
    let mut at = 0;
    while let Some(segment) = segment_at(file, at) {
        at = segment.end;
        if segment.marker == SOS {
            break;
        }
    }
    at
}

#[test]
fn whole_files_have_no_notes() {
    for (name, file) in files() {
        assert_eq!(read(&file).unwrap().notes, [], "{name}");
        let coding = coding(&file).unwrap();
        assert_eq!(coding.quality, 85, "{name}");
        let sampling = (name.as_bytes()[2] - b'0', name.as_bytes()[4] - b'0');
        assert_eq!(coding.sampling, sampling, "{name}");
    }
}

#[test]
fn whole_files_of_any_size_have_no_notes() {
    let samples = samples();
    for side in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49] {
        for (width, height) in [(side, 20), (20, side)] {
            for sampling in [SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2] {
                // Where it optimizes its tables, the encoder makes a scan of each component.
                for (progressive, optimized) in [(false, false), (false, true), (true, false)] {
                    let mut file = Vec::new();
                    let mut encoder = Encoder::new(&mut file, 85);
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                    encoder.set_optimized_huffman_tables(optimized);
                    let pixels = &samples[..usize::from(width) * usize::from(height) * 3];
                    encoder.encode(pixels, width, height, ColorType::Rgb).unwrap();
                    let name = format!("{width}×{height} {sampling:?} {progressive} {optimized}");
                    assert_eq!(read(&file).unwrap().notes, [], "{name}");
                }
            }
        }
    }
}

#[test]
fn a_file_without_its_last_bytes_is_read() {
    for (name, file) in files() {
        let whole = read(&file).unwrap().image();
        let photo = read(&file[..file.len() - 2]).unwrap();
        assert_eq!(photo.notes, [Note::NoEnd], "{name}");
        assert_eq!(photo.image(), whole, "{name}");
    }
}

#[test]
fn half_a_file_is_refused_unless_asked_for() {
    let going = Limits { keep_going: true, ..Limits::default() };
    // With optimized tables, the encoder writes one scan for each component.
    let interleaved = |name: &String| !name.contains("true");
    for (name, file) in files().into_iter().filter(|(name, _)| interleaved(name)) {
        for end in [&[][..], &[0xFF, 0xD9]] {
            let scan = scan_of(&file);
            let half = [&file[..scan + (file.len() - scan) / 2], end].concat();
            let refusal = read(&half).unwrap_err();
            assert!(refusal.contains("truncated: only"), "{name}: {refusal}");
            let photo = Photo::from_bytes(&half, &going).unwrap();
            let notes = &photo.notes[..];
            assert!(matches!(notes, [Note::Incomplete(20..80), ..]), "{name}: {notes:?}");
            let whole = read(&file).unwrap().image();
            let quarter = |image: &Image| image.part(0, 0, WIDTH, HEIGHT / 4).data;
            assert_eq!(quarter(&photo.image()), quarter(&whole), "{name}");
        }
    }
}

#[test]
fn a_progressive_file_that_ends_early_is_coarse() {
    let mut coarse = 0;
    for (name, file) in files().into_iter().filter(|(name, _)| name.contains(" true ")) {
        let cut = [&file[..file.len() * 7 / 8], &[0xFF, 0xD9]].concat();
        match read(&cut) {
            Ok(photo) => {
                assert_eq!(photo.notes, [Note::Coarse], "{name}");
                coarse += 1;
            }
            Err(refusal) => assert!(refusal.contains("truncated"), "{name}: {refusal}"),
        }
    }
    assert!(coarse > 3, "only {coarse} files were coarse");
}

/// A restart marker tells where to go on.
#[test]
fn one_bad_interval_is_damage_and_no_end() {
    for (name, file) in files().into_iter().filter(|(name, _)| name.contains(" false 3")) {
        let scan = scan_of(&file);
        let markers: Vec<usize> = (scan..file.len() - 1)
            .filter(|&at| file[at] == 0xFF && matches!(file[at + 1], 0xD0..=0xD7))
            .collect();
        let third = markers[2]..markers[3];
        // Its codes cut short, and all of it and its marker lost.
        let short = [&file[..third.start + 6], &file[third.end..]].concat();
        let lost = [&file[..third.start], &file[third.end..]].concat();
        for damaged in [short, lost] {
            let photo = read(&damaged).unwrap();
            assert_eq!(photo.notes, [Note::Damaged], "{name}");
        }
    }
}

#[test]
fn missing_rows_are_gray_and_missing_detail_is_left_out() {
    let going = Limits { keep_going: true, ..Limits::default() };
    for (name, file) in files() {
        let whole = read(&file).unwrap().image();
        for part in 4..8 {
            let cut = [&file[..file.len() * part / 8], &[0xFF, 0xD9]].concat();
            let Ok(photo) = Photo::from_bytes(&cut, &going) else { continue };
            let far = |(a, b): (&f32, &f32)| (a - b).abs() > 0.5;
            let gray = 128.0 / 255.0;
            // Averages of blocks are near the picture, and garbage is not.
            let image = photo.image();
            let wrong = image.data.iter().zip(&whole.data).filter(|(a, _)| **a != gray);
            let wrong = wrong.filter(|pair| far(*pair)).count();
            assert!(wrong * 50 < whole.data.len(), "{name}, {part}: {wrong}");
        }
    }
}

#[test]
fn zeroed_parts_are_found() {
    for (name, mut file) in files() {
        let scan = scan_of(&file);
        let middle = scan + (file.len() - scan) / 2;
        file[middle..middle + 400].fill(0);
        if let Ok(photo) = read(&file) {
            assert!(!photo.notes.is_empty(), "{name}");
        }
    }
}

#[test]
fn rare_codings_are_named() {
    let (_, mut file) = files().swap_remove(0);
    let at = file.windows(2).position(|window| window == [0xFF, 0xC0]).unwrap();
    for (marker, word) in [(0xC9, "arithmetic"), (0xC3, "lossless")] {
        file[at + 1] = marker;
        let refusal = read(&file).unwrap_err();
        assert!(refusal.contains(word) && refusal.contains("save it as"), "{refusal}");
    }
    file[at + 1] = 0xC0;
    // Of the three components, one has more samples than the first, or three for one.
    let factors = [at + 11, at + 14, at + 17];
    for (component, factor) in [(1, 0x22), (2, 0x12), (0, 0x31), (0, 0x01)] {
        let mut odd = file.clone();
        factors.iter().for_each(|&at| odd[at] = 0x11);
        odd[factors[component]] = factor;
        let refusal = read(&odd).unwrap_err();
        assert!(refusal.contains("sub-sampling"), "{refusal}");
    }
    file[at + 1] = 0xF7;
    assert!(read(&file).unwrap_err().contains("JPEG-LS"));
    (file[at + 1], file[at + 4]) = (0xC1, 12);
    assert!(read(&file).unwrap_err().contains("12 bits"));
}

#[test]
fn inks_become_colors() {
    let pixels = [[0, 255, 255, 0], [255, 0, 255, 0], [0, 0, 0, 255], [0, 0, 0, 0]];
    for color in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let samples: Vec<u8> = (0..32 * 8).flat_map(|i: usize| pixels[i % 32 / 8]).collect();
        let mut file = Vec::new();
        Encoder::new(&mut file, 100).encode(&samples, 32, 8, color).unwrap();
        let photo = read(&file).unwrap();
        assert_eq!(photo.notes, [Note::ApproximateColors]);
        for (x, expected) in
            [(4, [1.0, 0.0, 0.0]), (12, [0.0, 1.0, 0.0]), (20, [0.0; 3]), (28, [1.0; 3])]
        {
            let pixel = photo.pixels.part(x, 4, 1, 1).at(0, 0);
            assert!(
                pixel.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.03),
                "{x}: {pixel:?}"
            );
        }
    }
}
