//! The bits of a JPEG scan, and the Huffman codes in them.

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, held: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([0xFF, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next bits, most significant first; `None` if they are not all there.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        if self.count < count {
            self.fill();
        }
        self.count = self.count.checked_sub(count)?;
        Some((self.held >> self.count & ((1 << count) - 1)) as u32)
    }

    /// The next 16 bits, with ones behind the last.
    fn peek(&mut self) -> u16 {
        if self.count < 16 {
            self.fill();
        }
        match self.count {
            16.. => (self.held >> (self.count - 16)) as u16,
            count => (self.held << (16 - count)) as u16 | (0xFFFF >> count) as u16,
        }
    }

    /// Skips to the next marker. Returns where it is, and how many whole bytes were left.
    pub fn finish(mut self) -> (usize, usize) {
        let mut left = self.count as usize / 8;
        loop {
            match self.bytes.get(self.at..) {
                Some([0xFF, 0xFF, ..]) => self.at += 1,
                Some([0xFF, 1..=254, ..] | [0xFF] | []) | None => return (self.at, left),
                Some([0xFF, 0, ..]) => (self.at, left) = (self.at + 2, left + 1),
                Some([_, ..]) => (self.at, left) = (self.at + 1, left + 1),
            }
        }
    }
}

/// A Huffman table.
#[derive(Clone)]
pub(super) struct HuffmanTable {
    /// For each of the first 9 bits, the length of the code and its symbol; length 0 for longer
    /// codes.
    short: Vec<(u8, u8)>,
    /// For each length, the first code that is too long for it, aligned to 16 bits.
    limit: [u32; 17],
    /// For each length, the offset from a code to the index of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

const SHORT: u8 = 9;

impl HuffmanTable {
    /// From the number of codes of each length, 1 to 16, and their symbols.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut table = Self {
            short: vec![(0, 0); 1 << SHORT],
            limit: [0; 17],
            offset: [0; 17],
            symbols: symbols.into(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for (length, &count) in (1u8..).zip(counts) {
            table.offset[usize::from(length)] = index as i32 - code as i32;
            for _ in 0..count {
                if length <= SHORT
                    && let Some(&symbol) = symbols.get(index)
                {
                    let shift = SHORT - length;
                    let first = (code as usize) << shift;
                    let places = table.short.iter_mut().skip(first).take(1 << shift);
                    places.for_each(|place| *place = (length, symbol));
                }
                (code, index) = (code + 1, index + 1);
            }
            table.limit[usize::from(length)] = code << (16 - length);
            code <<= 1;
        }
        table
    }

    /// The next symbol; an error for a code that the table does not have.
    pub fn decode(&self, bits: &mut Bits<'_>) -> Result<u8, Stop> {
        let next = bits.peek();
        let (mut length, mut symbol) = self.short[usize::from(next >> (16 - SHORT))];
        if length == 0 {
            length = (SHORT + 1..=16)
                .find(|&length| u32::from(next) < self.limit[usize::from(length)])
                .ok_or(if bits.count < 16 { Stop::End } else { Stop::Damage })?;
            let index = i32::from(next >> (16 - length)) + self.offset[usize::from(length)];
            let place = usize::try_from(index).ok().and_then(|index| self.symbols.get(index));
            symbol = *place.ok_or(Stop::Damage)?;
        }
        bits.take(length.into()).ok_or(Stop::End)?;
        Ok(symbol)
    }
}

/// Why a scan cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It ends before the picture does.
    End,
    /// It says what no encoder writes.
    Damage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end_at_a_marker() {
        let bytes = [0b1010_0101, 0xFF, 0, 0b0000_0001, 0xFF, 0xD9, 0xAA];
        let mut bits = Bits::new(&bytes, 0);
        assert_eq!([bits.take(0), bits.take(1), bits.take(4)], [Some(0), Some(1), Some(0b0100)]);
        assert_eq!(bits.take(11), Some(0b101_1111_1111));
        assert_eq!(bits.peek(), 0x01FF, "ones behind the last bit");
        assert_eq!(bits.take(8), Some(1));
        assert_eq!([bits.take(0), bits.take(1)], [Some(0), None]);
        // From another place, and more bits than are held at once.
        let long: Vec<u8> = (0..40).collect();
        let mut bits = Bits::new(&long, 3);
        for i in 1..19 {
            assert_eq!(bits.take(16), Some((2 * i + 1) << 8 | (2 * i + 2)));
        }
        assert_eq!([bits.take(16), bits.take(8)], [None, Some(39)]);
    }

    #[test]
    fn the_end_of_a_scan_is_its_marker_and_whole_bytes_are_counted() {
        let finish = |bytes: &[u8], taken: u32| {
            let mut bits = Bits::new(bytes, 0);
            assert!(bits.take(taken).is_some());
            bits.finish()
        };
        let marker = [1, 2, 0xFF, 0xD0];
        // A part of a byte is padding.
        assert_eq!([16, 15, 9, 8, 7].map(|n| finish(&marker, n)), [0, 0, 0, 1, 1].map(|n| (2, n)));
        // A marker may have further 0xFF in front. Nothing is held if nothing was taken.
        assert_eq!(finish(&[1, 0xFF, 0xFF, 0xFF, 0xD9], 8), (3, 0));
        assert_eq!(finish(&[1, 2, 0xFF, 0, 3, 0xFF, 0xD9], 0), (5, 4));
        // More than are held at once; a file without a marker; one that ends within it.
        let long = [[7; 20].as_slice(), &[0xFF, 0, 0xFF, 0, 9, 0xFF, 0xD9]].concat();
        assert_eq!(finish(&long, 1), (25, 22));
        assert_eq!([finish(&[7; 20], 1), finish(&[7, 0xFF], 1)], [(20, 19), (1, 0)]);
    }

    /// Codes of 1 to 16 bits: `0`, `10`, `110`, … for symbols 1, 2, 3, …
    fn ladder() -> HuffmanTable {
        HuffmanTable::new(&[1; 16], &std::array::from_fn::<u8, 16, _>(|i| i as u8 + 1))
    }

    #[test]
    fn codes_of_every_length_have_their_symbols() {
        let table = ladder();
        for length in 1..=16u8 {
            // The code, then zeros.
            let code = (0xFFFFu32 << (17 - length)) as u16 & !(1 << (16 - length));
            let bytes = [(code >> 8) as u8, 0, code as u8, 0, 0];
            // No 0xFF without the zero behind it.
            let bytes: Vec<u8> = match bytes[0] {
                0xFF => bytes.into(),
                _ => vec![bytes[0], bytes[2], 0],
            };
            let mut bits = Bits::new(&bytes, 0);
            assert_eq!(table.decode(&mut bits), Ok(length));
            let rest = 8 * if bytes[0] == 0xFF { 4 } else { 3 } - u32::from(length);
            assert_eq!([bits.take(rest), bits.take(1)], [Some(0), None], "{length}");
        }
        // Two of 3 bits behind one of 2, and two of 10.
        let mut counts = [0; 16];
        (counts[1], counts[2], counts[9]) = (1, 2, 2);
        let table = HuffmanTable::new(&counts, b"abcde");
        let mut bits = Bits::new(&[0b0001_0011, 0b1000_0000, 0b0010_0000, 0b0001_0000], 0);
        let symbols = std::array::from_fn(|_| table.decode(&mut bits));
        assert_eq!(symbols, [b'a', b'b', b'c', b'd', b'e'].map(Ok));
    }

    #[test]
    fn codes_that_end_or_that_the_table_does_not_have_are_no_symbols() {
        let table = ladder();
        let decode = |bytes: &[u8]| table.decode(&mut Bits::new(bytes, 0));
        // Cut within a short code, and within a long one; sixteen ones are none.
        assert_eq!(decode(&[]), Err(Stop::End));
        assert_eq!(decode(&[0xFF, 0, 0b1111_1110]), Ok(16));
        assert_eq!(decode(&[0xFF, 0, 0xFF, 0]), Err(Stop::Damage));
        assert_eq!(decode(&[0xFF, 0]), Err(Stop::End));
        let mut bits = Bits::new(&[0b1111_1101], 0);
        bits.take(2);
        assert_eq!([table.decode(&mut bits), table.decode(&mut bits)], [Ok(5), Err(Stop::End)]);
        // Fewer symbols than codes, among the short codes and the long ones.
        let short = HuffmanTable::new(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], b"a");
        assert_eq!(short.decode(&mut Bits::new(&[0], 0)), Ok(b'a'));
        assert_eq!(short.decode(&mut Bits::new(&[0x80, 0, 0], 0)), Err(Stop::Damage));
        let mut counts = [0; 16];
        counts[9] = 2;
        let long = HuffmanTable::new(&counts, b"a");
        assert_eq!(long.decode(&mut Bits::new(&[0, 0], 0)), Ok(b'a'));
        assert_eq!(long.decode(&mut Bits::new(&[0, 0b0100_0000], 0)), Err(Stop::Damage));
    }
}
