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
