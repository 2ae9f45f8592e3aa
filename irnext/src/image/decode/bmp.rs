//! BMP files that the decoder refuses for less than their pixels, or that are cut short.

use super::decoded::{Area, Result, check_size, truncated};
use crate::image::FileKind;
use crate::image::photo::Limits;

/// The bytes of a BMP file by which [`bottom_up`] decides.
pub(super) const BMP_HEADER: u64 = 34;

const RLE8: i32 = 1;
const RLE4: i32 = 2;

/// A BMP file from the top down as one from the bottom up, if it is run-length coded: the format
/// knows no such files, but there are some. Its rows come in reverse order then.
pub(super) fn bottom_up(bmp: &[u8]) -> Option<Vec<u8>> {
    let header = Header::read(bmp)?;
    let is_affected = header.top_down && header.is_run_length();
    let mut file = is_affected.then(|| bmp.to_vec())?;
    file[22..26].copy_from_slice(&i32::try_from(header.height).ok()?.to_le_bytes());
    Some(file)
}

/// A file with the longer header of OS/2, version 2, as one with the usual header, which is the
/// start of the longer one.
pub(super) fn with_usual_header(bmp: &[u8]) -> Option<Vec<u8>> {
    const FILE_HEADER: usize = 14;
    const USUAL: usize = 40;
    const LONG: usize = 64;
    let header = Header::read(bmp).filter(|header| header.compression < 3)?;
    let is_long = bmp.get(FILE_HEADER..)?.starts_with(&(LONG as u32).to_le_bytes());
    let start = header.data.checked_sub(LONG - USUAL).filter(|_| is_long)?;
    let mut file = [bmp.get(..FILE_HEADER + USUAL)?, bmp.get(FILE_HEADER + LONG..)?].concat();
    file[10..14].copy_from_slice(&u32::try_from(start).ok()?.to_le_bytes());
    file[FILE_HEADER] = USUAL as u8;
    Some(file)
}

/// A file with zeros for the rows that it lacks at its end, and where these are in the picture;
/// `None` if it lacks none. Bytes behind the last pixel may be missing.
pub(super) fn lengthened(bmp: &[u8], limits: &Limits) -> Result<Option<(Vec<u8>, Area)>> {
    let Some(header) = Header::read(bmp) else { return Ok(None) };
    let Some(data) = bmp.get(header.data..) else { return Err(truncated(FileKind::Bmp)) };
    check_size((header.width, header.height), limits)?;
    let (width, height) = (header.width as usize, header.height as usize);
    let (file, rows) = match (header.compression, header.bits) {
        (RLE8 | RLE4, _) => {
            let (rows, len) = run_length_rows(data, header.compression == RLE4);
            // With the code for the end.
            ([&bmp[..header.data + len], &[0, 1]].concat(), rows)
        }
        // With or without masks for the colors.
        (0 | 3 | 6, 1 | 2 | 4 | 8 | 16 | 24 | 32) => {
            let used = (width * usize::from(header.bits)).div_ceil(8);
            let row = used.next_multiple_of(4);
            let missing = (row * height).saturating_sub(data.len());
            // Of the last row, the bytes that fill it up may be missing.
            ([bmp, &vec![0; missing]].concat(), (data.len() + row - used) / row)
        }
        _ => return Ok(None),
    };
    match rows.min(height) {
        0 => Err(truncated(FileKind::Bmp)),
        rows if file.len() == bmp.len() || rows == height && header.is_run_length() => Ok(None),
        rows => {
            let y = if header.top_down { rows } else { 0 };
            Ok(Some((file, Area { x: 0, y, width, height: height - rows })))
        }
    }
}

/// How many rows run-length codes have, and where the codes end; all rows if their end is there,
/// which may come early.
fn run_length_rows(data: &[u8], four_bits: bool) -> (usize, usize) {
    let (mut rows, mut at) = (0, 0);
    loop {
        let len = match data[at..] {
            [0, 0, ..] => {
                rows += 1;
                2
            }
            [0, 1, ..] => return (usize::MAX, at),
            [0, 2, _, down, ..] => {
                rows += usize::from(down);
                4
            }
            [0, 2, ..] => return (rows, at),
            [0, count, ..] => {
                let bytes = usize::from(count).div_ceil(if four_bits { 2 } else { 1 });
                2 + bytes.next_multiple_of(2)
            }
            [_, _, ..] => 2,
            _ => return (rows, at),
        };
        if at + len > data.len() {
            return (rows, at);
        }
        at += len;
    }
}

/// What a file says about its pixels.
struct Header {
    /// Where they start.
    data: usize,
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    compression: i32,
}

impl Header {
    fn read(bmp: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(i32::from_le_bytes(bmp.get(at..at + 4)?.try_into().ok()?));
        let short = |at: usize| Some(u16::from_le_bytes(bmp.get(at..at + 2)?.try_into().ok()?));
        let data = usize::try_from(long(10)?).ok()?;
        // The oldest kind.
        if long(14)? == 12 {
            let (width, height) = (short(18)?.into(), short(20)?.into());
            let bits = short(24)?;
            return Some(Self { data, width, height, top_down: false, bits, compression: 0 });
        }
        let (width, height) = (u32::try_from(long(18)?).ok()?, long(22)?);
        let (top_down, height) = (height < 0, height.unsigned_abs());
        let (bits, compression) = (short(28)?, long(30)?);
        let is_known = long(14)? >= 40;
        is_known.then_some(Self { data, width, height, top_down, bits, compression })
    }

    fn is_run_length(&self) -> bool {
        matches!(self.compression, RLE8 | RLE4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Note, Photo};

    /// A BMP file of `height` rows (negative from the top down), of 2x4 pixels.
    fn file(height: i32, bits: u16, compression: u32, data: &[u8]) -> Vec<u8> {
        let colors = if bits == 8 { 2 } else { 0 };
        let start = 54 + 4 * colors;
        let mut file = b"BM".to_vec();
        file.extend([0; 8]);
        file.extend([start, 40, 2].map(u32::to_le_bytes).concat());
        file.extend(height.to_le_bytes());
        file.extend([1u16, bits].map(u16::to_le_bytes).concat());
        file.extend([compression, 0, 0, 0, colors, 0].map(u32::to_le_bytes).concat());
        file.extend(
            [[10; 3], [200; 3]].iter().take(colors as usize).flat_map(|c| [c[0], c[1], c[2], 0]),
        );
        [&file[..], data].concat()
    }

    fn read(bytes: &[u8], keep_going: bool) -> std::result::Result<Photo, String> {
        let option = Some("--keep-going");
        let limits = Limits { keep_going, keep_going_option: option, ..Limits::default() };
        Photo::from_bytes(bytes, &limits)
    }

    /// The grays of the first column.
    fn rows(photo: &Photo) -> Vec<u8> {
        (0..4).map(|y| (photo.image().at(0, y)[0] * 255.0).round() as u8).collect()
    }

    #[test]
    fn the_rows_that_are_there_are_read_and_told() {
        let data: Vec<u8> =
            [10u8, 20, 30, 40].iter().flat_map(|&v| [v, v, v, v, v, v, 0, 0]).collect();
        let (gray, upwards) = (128, file(4, 24, 0, &data));
        assert_eq!(rows(&read(&upwards, false).unwrap()), [40, 30, 20, 10]);
        // Without the bytes that fill up the last row, nothing is missing.
        let filled = &upwards[..upwards.len() - 2];
        assert_eq!(read(filled, false).unwrap().notes, []);
        for (height, expected) in [(4, [gray, gray, 20, 10]), (-4, [10, 20, gray, gray])] {
            let file = file(height, 24, 0, &data);
            for (lost, there) in [(3, 3), (10, 3), (11, 2), (15, 2)] {
                let cut = &file[..file.len() - lost];
                let refusal = read(cut, false).unwrap_err();
                let words = format!("truncated: only {} % of the picture is there", 25 * there);
                assert!(refusal.contains(&words) && refusal.contains("--keep-going"), "{refusal}");
                let photo = read(cut, true).unwrap();
                assert_eq!(photo.notes, [Note::Incomplete(25 * there as u8)]);
                if there == 2 {
                    assert_eq!(rows(&photo), expected);
                }
            }
            let refusal = read(&file[..file.len() - 30], false).unwrap_err();
            assert!(
                refusal.contains("truncated") && !refusal.contains("--keep-going"),
                "{refusal}"
            );
            assert!(read(&file[..40], true).is_err());
        }
    }

    #[test]
    fn the_longer_header_of_os_2_is_read() {
        let data = [0, 1, 0, 0].repeat(4);
        let usual = file(4, 8, 0, &data);
        let mut long = usual.clone();
        long.splice(54..54, [7; 24]);
        (long[10], long[14]) = (long[10] + 24, 64);
        let photo = read(&long, false).unwrap();
        assert_eq!(photo.image(), read(&usual, false).unwrap().image());
        assert_eq!(Photo::size_of_bytes(&long).unwrap(), (2, 4));
        assert!(read(&long[..long.len() - 4], false).unwrap_err().contains("only 75 %"));
    }

    #[test]
    fn run_length_codes_that_end_early_are_told() {
        // Two of the second color, a row; literals; two rows down; two of the first; the end.
        let codes = [2, 1, 0, 0, 2, 0, 0, 0, 2, 1, 0, 0, 2, 0, 0, 1];
        let whole = file(4, 8, 1, &codes);
        assert_eq!(rows(&read(&whole, false).unwrap()), [10, 200, 10, 200]);
        // An end that comes early is no damage.
        assert_eq!(read(&file(4, 8, 1, &[2, 1, 0, 0, 0, 1]), false).unwrap().notes, []);
        for (len, there) in [(15, 3), (13, 3), (11, 2), (9, 2), (8, 2), (4, 1)] {
            for height in [4, -4] {
                let cut = file(height, 8, 1, &codes[..len]);
                let refusal = read(&cut, false).unwrap_err();
                let words = format!("only {} % of the picture", 25 * there);
                assert!(refusal.contains(&words), "{len}: {refusal}");
                let photo = read(&cut, true).unwrap();
                assert_eq!(photo.notes, [Note::Incomplete(25 * there as u8)], "{len}");
                let mut expected = [200, 10, 200, 10];
                expected[there..].fill(128);
                if height > 0 {
                    expected.reverse();
                }
                assert_eq!(rows(&photo), expected, "{len}");
            }
        }
    }

    #[test]
    fn run_length_codes_are_counted_as_they_are_written() {
        // Literals of 3, filled up to 4; a step down of 2; an end of row; half a code.
        let eight = [0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 0, 9];
        assert_eq!(run_length_rows(&eight, false), (3, 14));
        // Two literals go to a byte.
        let four = [0, 5, 1, 2, 3, 0, 0, 0, 2, 1];
        assert_eq!(run_length_rows(&four, true), (1, 10));
        assert_eq!(run_length_rows(&four[..5], true), (0, 0));
        assert_eq!(run_length_rows(&[0, 2, 1], false), (0, 0));
        assert_eq!(run_length_rows(&[0, 0, 0, 1, 7], false), (usize::MAX, 2));
        assert_eq!(run_length_rows(&[], false), (0, 0));
    }
}
