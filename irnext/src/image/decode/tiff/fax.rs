//! Fax compression: Group 3, by lines or by pairs of lines (ITU-T T.4), and what TIFF makes of it
//! without marks between lines. Group 4 is left to the crate `tiff`, whose tables of codes are used
//! here.

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, slice_reader};

/// How lines follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fax {
    /// Each starts at a whole byte, without a mark ("modified Huffman").
    Bytes,
    /// A mark may come before each; in `pairs`, a bit behind it tells whether the line is coded by
    /// its difference from the one before.
    Marks {
        /// Whether there is such a bit.
        pairs: bool,
    },
}

/// The lines of a chunk.
pub(super) struct FaxLines {
    /// Packed bits, 1 for black; each line starts at a whole byte.
    pub bits: Vec<u8>,
    /// How many lines are damaged or missing.
    pub damaged: usize,
}

pub(super) fn decode(data: &[u8], width: u16, height: usize, fax: Fax) -> FaxLines {
    // A table may look behind the last code.
    let data = [data, &[0, 0, 0]].concat();
    let reader = &mut slice_reader(&data);
    let row_bytes = usize::from(width).div_ceil(8);
    let mut bits = vec![0; row_bytes * height];
    let mut reference: Vec<u16> = Vec::new();
    let mut damaged = 0;
    for row in bits.chunks_exact_mut(row_bytes.max(1)) {
        let by_difference = match fax {
            Fax::Bytes => {
                let rest = reader.bits_to_byte_boundary();
                let _ = reader.consume(rest);
                false
            }
            Fax::Marks { pairs } => {
                skip_mark(reader);
                pairs && next_bit(reader) == Some(false)
            }
        };
        let line = match by_difference {
            true => difference(reader, &reference, width),
            false => runs(reader, width),
        };
        match line {
            Some(line) => reference = line,
            // As fax machines do: the line before once more.
            None => {
                damaged += 1;
                seek_mark(reader);
            }
        }
        fill(row, &reference, width);
    }
    FaxLines { bits, damaged }
}

/// Where a line's color changes, beginning with white.
fn runs(reader: &mut impl BitReader, width: u16) -> Option<Vec<u16>> {
    let (mut changes, mut at, mut is_black) = (Vec::new(), 0u16, false);
    while at < width {
        at = at.checked_add(run(reader, is_black)?).filter(|at| *at <= width)?;
        changes.push(at);
        is_black = !is_black;
    }
    Some(changes)
}

/// The same of a line that is coded by its difference from the line before.
fn difference(reader: &mut impl BitReader, reference: &[u16], width: u16) -> Option<Vec<u16>> {
    let (mut changes, mut at, mut is_black) = (Vec::new(), 0u16, false);
    let mut is_start = true;
    while at < width {
        // The first change of the line above beyond this place, to the other color.
        let is_next = |&i: &usize| {
            let beyond = reference[i] > at || is_start && reference[i] == at;
            beyond && i % 2 == usize::from(is_black)
        };
        let next = (0..reference.len()).find(is_next).unwrap_or(reference.len());
        let above = |i: usize| reference.get(i).copied().unwrap_or(width);
        match mode::decode(reader)? {
            Mode::Pass => at = above(next + 1),
            Mode::Horizontal => {
                for color in [is_black, !is_black] {
                    at = at.checked_add(run(reader, color)?).filter(|at| *at <= width)?;
                    changes.push(at);
                }
            }
            Mode::Vertical(shift) => {
                let to = i32::from(above(next)) + i32::from(shift);
                at = u16::try_from(to).ok().filter(|to| (at..=width).contains(to))?;
                changes.push(at);
                is_black = !is_black;
            }
            Mode::Extension | Mode::EOF => return None,
        }
        is_start = false;
    }
    Some(changes)
}

/// The length of a run: codes for multiples of 64, and one for the rest.
fn run(reader: &mut impl BitReader, is_black: bool) -> Option<u16> {
    let mut sum = 0u16;
    loop {
        let part = if is_black { black::decode(reader) } else { white::decode(reader) }?;
        sum = sum.checked_add(part)?;
        if part < 64 {
            return Some(sum);
        }
    }
}

fn next_bit(reader: &mut impl BitReader) -> Option<bool> {
    let bit = reader.peek(1)?;
    reader.consume(1).ok()?;
    Some(bit == 1)
}

/// Skips the mark between lines if it is next: eleven zeros or more, and a one.
fn skip_mark(reader: &mut impl BitReader) {
    if reader.peek(11) == Some(0) {
        while next_bit(reader) == Some(false) {}
    }
}

/// Goes to the next mark.
fn seek_mark(reader: &mut impl BitReader) {
    while reader.peek(11).is_some_and(|bits| bits != 0) && reader.consume(1).is_ok() {}
}

/// Blackens every second stretch.
fn fill(row: &mut [u8], changes: &[u16], width: u16) {
    for pair in changes.chunks(2) {
        let &[start, ref end @ ..] = pair else { continue };
        for x in start..end.first().copied().unwrap_or(width) {
            row[usize::from(x) / 8] |= 0x80 >> (x % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of bits, which may be apart.
    fn bytes(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let byte = |eight: &[u8]| (0..8).fold(0, |sum, i| sum << 1 | eight.get(i).unwrap_or(&0));
        bits.chunks(8).map(byte).collect()
    }

    const MARK: &str = "000000000001";
    /// White 2, black 3, white 3, of Table 2 of T.4.
    const LINE: &str = "0111 10 1000";

    #[test]
    fn lines_are_read_with_marks_without_and_by_difference() {
        let row = 0b0011_1000;
        let two = bytes(&format!("{MARK} {LINE} {MARK} {LINE}"));
        let lines = decode(&two, 8, 2, Fax::Marks { pairs: false });
        assert_eq!((lines.bits, lines.damaged), (vec![row, row], 0));
        let without = [bytes(LINE), bytes(LINE)].concat();
        assert_eq!(decode(&without, 8, 2, Fax::Bytes).bits, [row, row]);
        // The second line's black starts one pixel further left and ends one further right; the
        // third has white above black (pass), and a run (horizontal).
        let pairs = bytes(&format!(
            "{MARK} 1 {LINE} {MARK} 0 010 011 1 {MARK} 0 0001 1 {MARK} 0 001 0111 11 1"
        ));
        let lines = decode(&pairs, 8, 4, Fax::Marks { pairs: true });
        assert_eq!(lines.damaged, 0);
        assert_eq!(lines.bits, [row, 0b0111_1100, 0, 0b0011_0000]);
    }

    #[test]
    fn a_damaged_line_is_the_one_before_and_the_next_mark_is_found() {
        let file = bytes(&format!("{MARK} {LINE} {MARK} 0111 0000000 {MARK} 10011"));
        let lines = decode(&file, 8, 4, Fax::Marks { pairs: false });
        let row = 0b0011_1000;
        assert_eq!((lines.bits, lines.damaged), (vec![row, row, 0, 0], 2));
    }
}
