//! PNG files that the decoder refuses for less than their pixels, or that are damaged.

use std::borrow::Cow;
use std::io::Cursor;

use ::image::DynamicImage;
use ::png::{BitDepth, Decoder, InterlaceInfo, Transformations, splat_interlaced_row};

use crc32fast::Hasher;

use super::decoded::{Area, Result, damaged, gray_out};
use super::samples::{eight_bits, sixteen_bits};
use crate::image::metadata::png::chunk_at;
use crate::image::photo::Limits;
use crate::image::{FileKind, Note};

/// The file with right checksums, if some of them are wrong, and the whole file otherwise. The
/// checksum of a chunk tells that something in it is damaged, and not what: often it is the
/// checksum itself, of a program that made a mistake.
pub(super) fn with_right_checksums(png: &[u8]) -> Cow<'_, [u8]> {
    let mut file = Cow::Borrowed(png);
    let mut at = 8;
    while let Some((checked, next)) = chunk_at(png, at) {
        let mut hasher = Hasher::new();
        hasher.update(&png[checked.clone()]);
        let right = hasher.finalize().to_be_bytes();
        if png[checked.end..next] != right {
            file.to_mut()[checked.end..next].copy_from_slice(&right);
        }
        at = next;
    }
    file
}

/// The rows up to the damage. Those of an interlaced file stand for the pixels that are missing
/// between them.
pub(super) fn readable_part(bytes: &[u8], limits: &Limits) -> Result<(DynamicImage, Note)> {
    let refusal = || damaged(FileKind::Png);
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_limits(::png::Limits {
        bytes: usize::try_from(limits.max_pixels.saturating_mul(16)).unwrap_or(usize::MAX),
    });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|_| refusal())?;
    let (width, height) = (reader.info().width, reader.info().height);
    let (color, depth) = reader.output_color_type();
    let channels = color.samples();
    let pixel = channels * if depth == BitDepth::Sixteen { 2 } else { 1 };
    let stride = pixel * width as usize;
    let mut data = vec![0; stride * height as usize];
    // Rows with anything in them, and pixels that are in the file.
    let (mut rows, mut there) = (0, 0);
    while let Ok(Some(row)) = reader.next_interlaced_row() {
        there += row.data().len() / pixel;
        match row.interlace() {
            InterlaceInfo::Null(_) => {
                data[rows * stride..][..stride].copy_from_slice(row.data());
                rows += 1;
            }
            InterlaceInfo::Adam7(info) => {
                splat_interlaced_row(&mut data, stride, row.data(), info, 8 * pixel as u8);
                // The first pass has every eighth row.
                rows = (rows + 8).min(height as usize);
            }
        }
    }
    if there == 0 {
        return Err(refusal());
    }
    let size = (width, height);
    let mut image = match depth {
        BitDepth::Sixteen => {
            let samples = data.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]));
            sixteen_bits(samples.collect(), channels, size)
        }
        _ => eight_bits(data, channels, size),
    }
    .ok_or_else(refusal)?;
    let (width, height) = (width as usize, height as usize);
    gray_out(&mut image, Area { x: 0, y: rows, width, height: height - rows });
    let percent = (100 * there / (width * height)).min(99) as u8;
    Ok((image, Note::Incomplete(percent)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Photo;

    const SIDE: usize = 24;

    /// A gray PNG file whose bytes grow with its rows, so that it can be cut anywhere; interlaced
    /// with the pixels in the order of the passes.
    fn file(interlaced: bool, level: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        const PASSES: [[usize; 4]; 7] = [
            [0, 0, 8, 8],
            [4, 0, 8, 8],
            [0, 4, 4, 8],
            [2, 0, 4, 4],
            [0, 2, 2, 4],
            [1, 0, 2, 2],
            [0, 1, 1, 2],
        ];
        let passes = if interlaced { &PASSES[..] } else { &[[0, 0, 1, 1]] };
        let mut lines = Vec::new();
        for &[x, y, right, down] in passes {
            for y in (y..SIDE).step_by(down) {
                lines.push(0);
                lines.extend((x..SIDE).step_by(right).map(|x| level(x, y)));
            }
        }
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        let header = [&[0, 0, 0, 24, 0, 0, 0, 24, 8, 0, 0, 0][..], &[interlaced.into()]].concat();
        // Without compression.
        let data = miniz_oxide::deflate::compress_to_vec_zlib(&lines, 0);
        for (kind, contents) in [(b"IHDR", &header[..]), (b"IDAT", &data), (b"IEND", &[])] {
            let body = [&kind[..], contents].concat();
            png.extend((contents.len() as u32).to_be_bytes());
            png.extend(&body);
            png.extend(crc32fast::hash(&body).to_be_bytes());
        }
        png
    }

    fn read(bytes: &[u8], keep_going: bool) -> std::result::Result<Photo, String> {
        let option = Some("--keep-going");
        let limits = Limits { keep_going, keep_going_option: option, ..Limits::default() };
        Photo::from_bytes(bytes, &limits)
    }

    fn levels(photo: &Photo) -> Vec<u8> {
        photo.pixels.iter().map(|[gray, ..]| (gray * 255.0).round() as u8).collect()
    }

    #[test]
    fn rows_that_are_black_are_there_and_missing_ones_are_gray() {
        let black = file(false, |_, _| 0);
        for rows in [1, 12, 23] {
            // Behind the head of the file, of its data and of the block in them.
            let cut = &black[..8 + 25 + 8 + 7 + (SIDE + 1) * rows];
            let percent = 100 * rows / SIDE;
            let words = format!("only {percent} % of the picture is there");
            assert!(read(cut, false).unwrap_err().contains(&words));
            let photo = read(cut, true).unwrap();
            assert_eq!(photo.notes, [Note::Incomplete(percent as u8)]);
            let gray = vec![128; (SIDE - rows) * SIDE];
            assert_eq!(levels(&photo), [vec![0; rows * SIDE], gray].concat());
        }
    }

    #[test]
    fn half_an_interlaced_file_is_a_coarse_picture() {
        let level = |x: usize, y: usize| (8 * y + x) as u8;
        let whole = file(true, level);
        let pixels: Vec<_> = (0..SIDE * SIDE).map(|i| level(i % SIDE, i / SIDE)).collect();
        assert_eq!(levels(&read(&whole, false).unwrap()), pixels);
        // The passes up to the sixth, which has every second pixel of every second row.
        let fifth = 3 * 4 + 3 * 4 + 3 * 7 + 6 * 7 + 6 * 13;
        let cut = &whole[..8 + 25 + 8 + 7 + fifth];
        assert!(read(cut, false).unwrap_err().contains("only 25 % of the picture is there"));
        let photo = read(cut, true).unwrap();
        assert_eq!(photo.notes, [Note::Incomplete(25)]);
        let coarse: Vec<_> =
            (0..SIDE * SIDE).map(|i| level(i % SIDE / 2 * 2, i / SIDE / 2 * 2)).collect();
        assert_eq!(levels(&photo), coarse);
        // Two rows of the first pass, each of which stands for eight; the rest is gray.
        let photo = read(&whole[..8 + 25 + 8 + 7 + 2 * 4], true).unwrap();
        let expected = (0..SIDE * SIDE).map(|i| match i / SIDE {
            row @ 0..16 => level(i % SIDE / 8 * 8, row / 8 * 8),
            _ => 128,
        });
        assert_eq!(levels(&photo), expected.collect::<Vec<_>>());
        assert_eq!(photo.notes, [Note::Incomplete(1)]);
        assert!(read(&whole[..8 + 25 + 8 + 7 + 3], true).is_err());
    }
}
