//! GIF files: the first picture on its screen. Rows may come interlaced.

use std::borrow::Cow;
use std::io::Cursor;

use ::image::{DynamicImage, RgbaImage};
use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError};

use super::decoded::{Area, Decoded, Result, check_size, damaged, gray_out, truncated};
use crate::image::metadata::Metadata;
use crate::image::photo::Limits;
use crate::image::{FileKind, Note, SourceFile};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let bytes = &*with_palette(bytes);
    let mut decoder = open(bytes, false)?;
    let size = (u32::from(decoder.width()), u32::from(decoder.height()));
    check_size(size, limits)?;
    let mut decoded = Decoded::new(Default::default(), SourceFile::new(FileKind::Gif));
    decoded.icc = decoder.icc_profile().map(<[u8]>::to_vec);
    let xmp = decoder.xmp_metadata().map(<[u8]>::to_vec);
    decoded.metadata = Metadata { xmp, ..Metadata::default() };

    let frame =
        decoder.next_frame_info().map_err(reason)?.ok_or_else(|| truncated(FileKind::Gif))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let (interlaced, transparent) = (frame.interlaced, frame.transparent);
    let palette = decoder.palette().map_err(reason)?.to_vec();
    let color = |index: u8| {
        let start = 3 * usize::from(index);
        let alpha = if transparent == Some(index) { 0 } else { u8::MAX };
        // As in browsers, what the palette lacks is not there.
        palette.get(start..start + 3).map_or([0; 4], |rgb| [rgb[0], rgb[1], rgb[2], alpha])
    };
    let mut screen = RgbaImage::new(size.0, size.1);
    let mut line = vec![0; width];
    let mut put = |line: &[u8], y: usize| {
        for (x, &index) in line.iter().enumerate() {
            let (x, y) = ((left + x) as u32, (top + y) as u32);
            if let Some(pixel) = screen.get_pixel_mut_checked(x, y) {
                pixel.0 = color(index);
            }
        }
    };
    let rows = rows(height, interlaced);
    let mut there = 0;
    let mut stop = None;
    for &(y, repeats) in &rows {
        match decoder.fill_buffer(&mut line) {
            Ok(true) => (y..(y + repeats).min(height)).for_each(|y| put(&line, y)),
            Ok(false) => stop = Some(truncated(FileKind::Gif)),
            Err(error) => stop = Some(reason(error)),
        }
        if stop.is_some() {
            break;
        }
        there += 1;
    }
    decoded.pixels = DynamicImage::ImageRgba8(screen);
    match stop {
        Some(stop) if there == 0 || !limits.keep_going => return Err(stop),
        Some(_) => {
            let first_missing = if interlaced { 8 * there } else { there };
            gray_out(
                &mut decoded.pixels,
                missing(first_missing, (left, top), (width, height), size),
            );
            decoded.notes.push(Note::Incomplete((100 * there / height) as u8));
        }
        None => {}
    }
    let frames = open(bytes, true).map_or(1, frames);
    decoded.notes.extend((frames > 1).then_some(Note::FirstOf(frames)));
    Ok(decoded)
}

/// The file with grays for the colors that pictures without a palette of their own have, unless it
/// has such colors.
fn with_palette(bytes: &[u8]) -> Cow<'_, [u8]> {
    const HEADER: usize = 13;
    const IS_THERE: u8 = 0x80;
    const OF_256: u8 = 7;
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return bytes.into() };
    if header[10] & IS_THERE != 0 {
        return bytes.into();
    }
    let grays: Vec<u8> = (0..=u8::MAX).flat_map(|gray| [gray; 3]).collect();
    let mut file = [header, &grays, rest].concat();
    file[10] |= IS_THERE | OF_256;
    file.into()
}

fn open(bytes: &[u8], skip: bool) -> Result<Decoder<Cursor<&[u8]>>> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.skip_frame_decoding(skip);
    options.read_info(Cursor::new(bytes)).map_err(reason)
}

/// How many pictures there are.
fn frames(mut decoder: Decoder<Cursor<&[u8]>>) -> usize {
    std::iter::from_fn(|| decoder.next_frame_info().ok().flatten().map(|_| ())).count()
}

/// The rows of a picture in the order of the file, each with the number of rows that it stands for
/// until later ones replace them.
fn rows(height: usize, interlaced: bool) -> Vec<(usize, usize)> {
    const PASSES: [(usize, usize, usize); 4] = [(0, 8, 8), (4, 8, 4), (2, 4, 2), (1, 2, 1)];
    if !interlaced {
        return (0..height).map(|y| (y, 1)).collect();
    }
    let of_pass = |(start, step, repeats)| (start..height).step_by(step).map(move |y| (y, repeats));
    PASSES.into_iter().flat_map(of_pass).collect()
}

/// The part of the screen that a picture at `corner` would cover from this row of its own on.
fn missing(
    row: usize,
    (left, top): (usize, usize),
    (width, height): (usize, usize),
    screen: (u32, u32),
) -> Area {
    let (right, bottom) = (screen.0 as usize, screen.1 as usize);
    let (x, y) = (left.min(right), (top + row.min(height)).min(bottom));
    Area { x, y, width: (left + width).min(right) - x, height: (top + height).min(bottom) - y }
}

/// A decoder's error in words.
fn reason(error: DecodingError) -> String {
    use std::io::ErrorKind::UnexpectedEof;
    match error {
        DecodingError::UnexpectedEof => truncated(FileKind::Gif),
        DecodingError::Io(error) if error.kind() == UnexpectedEof => truncated(FileKind::Gif),
        DecodingError::OutOfMemory | DecodingError::MemoryLimit => {
            "takes too much memory to decode".into()
        }
        _ => damaged(FileKind::Gif),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Photo;

    /// A picture of 5x20 whose rows differ, on a screen of 9x24, whole or interlaced.
    fn file(interlaced: bool) -> Vec<u8> {
        let palette: Vec<u8> = (0..32).flat_map(|i| [8 * i, 255 - 8 * i, 7]).collect();
        let mut file = Vec::new();
        let mut encoder = gif::Encoder::new(&mut file, 9, 24, &palette).unwrap();
        let rows = rows(20, interlaced);
        let indices: Vec<u8> = rows
            .iter()
            .flat_map(|(y, _)| (0..5u8).map(|x| (*y as u8 + 7 * x) % 32).collect::<Vec<_>>())
            .collect();
        let frame = gif::Frame {
            left: 2,
            top: 3,
            width: 5,
            height: 20,
            interlaced,
            buffer: indices.into(),
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).unwrap();
        encoder.write_frame(&frame).unwrap();
        drop(encoder);
        file
    }

    fn read(bytes: &[u8], keep_going: bool) -> std::result::Result<Photo, String> {
        let option = Some("--keep-going");
        let limits = Limits { keep_going, keep_going_option: option, ..Limits::default() };
        Photo::from_bytes(bytes, &limits)
    }

    /// The red of a row's first pixel, which tells which row it is; none where there is no picture.
    fn row_at(photo: &Photo, y: usize) -> Option<usize> {
        let red = photo.image().at(2, y)[0];
        let opaque = photo.alpha.as_ref().unwrap()[y * 9 + 2] == 1.0;
        opaque.then_some((red * 255.0 / 8.0).round() as usize)
    }

    #[test]
    fn the_picture_lies_at_its_place_on_the_screen() {
        for interlaced in [false, true] {
            let photo = read(&file(interlaced), false).unwrap();
            assert_eq!(photo.sides(), (9, 24));
            assert_eq!(photo.notes, [Note::FirstOf(2)]);
            for y in 0..24 {
                let row = (3..23).contains(&y).then(|| y - 3);
                assert_eq!(row_at(&photo, y), row, "{interlaced}");
            }
            let opaque = photo.alpha.unwrap().iter().filter(|alpha| **alpha == 1.0).count();
            assert_eq!(opaque, 5 * 20);
        }
    }

    #[test]
    fn a_picture_without_a_palette_is_gray() {
        let mut file = file(false);
        // The palette is behind the header.
        file.drain(13..13 + 3 * 32);
        file[10] = 0;
        let photo = read(&file, false).unwrap();
        let expected = (0..20).map(|y| [y as f32 / 255.0; 3]);
        assert!(expected.enumerate().all(|(y, gray)| photo.image().at(2, y + 3) == gray));
    }

    /// The file, cut so that this many rows are left.
    fn cut(file: &[u8], rows: u8) -> Vec<u8> {
        let percent = 5 * rows;
        let mut lens = (0..file.len()).rev();
        let len = lens.find(|&len| match read(&file[..len], true) {
            Ok(photo) => photo.notes.contains(&Note::Incomplete(percent)),
            Err(_) => false,
        });
        file[..len.unwrap()].to_vec()
    }

    #[test]
    fn the_rows_that_are_there_are_counted() {
        let gray = Some(16);
        for rows in [7, 10, 19] {
            let half = cut(&file(false), rows);
            let refusal = read(&half, false).unwrap_err();
            let words = format!("truncated: only {} % of the picture is there", 5 * rows);
            assert!(refusal.contains(&words) && refusal.contains("--keep-going"), "{refusal}");
            let photo = read(&half, true).unwrap();
            for y in 0..20 {
                let row = if y < usize::from(rows) { Some(y) } else { gray };
                assert_eq!(row_at(&photo, y + 3), row, "{rows}");
            }
        }
    }

    #[test]
    fn interlaced_rows_stand_for_those_that_are_missing() {
        // Two rows of the first pass; all of it; one row of the third as well.
        for (rows, shown) in [
            (2, [0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16]),
            (3, [0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16]),
            (6, [0, 0, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 16, 16, 16, 16]),
        ] {
            let photo = read(&cut(&file(true), rows), true).unwrap();
            let found: Vec<_> = (0..20).map(|y| row_at(&photo, y + 3).unwrap()).collect();
            // Gray has the red of row 16.
            assert_eq!(found, shown, "{rows}");
            assert!(photo.notes.contains(&Note::Incomplete(5 * rows)));
        }
    }
}
