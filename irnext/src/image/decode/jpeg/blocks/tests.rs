//! Blocks of handmade codes: each takes exactly its bits.

use super::*;

/// The codes of the tests, and the symbols that they stand for: zeros before a coefficient and
/// its size, of which 0 ends the block, or a run of them.
const CODES: [(&str, u8); 12] = [
    ("00", 0x01),
    ("010", 0x02),
    ("011", 0x11),
    ("1000", 0x00), // the end of this block
    ("1001", 0x10), // of 2 or 3 blocks
    ("1010", 0xE0), // of 16384 to 32767 blocks
    ("1011", 0xF0), // 16 zeros
    ("11000", 0xE1),
    ("11001", 0xF1),
    ("11010", 0x31),
    ("11011", 0x0F),
    ("11100", 0x71),
];

fn table() -> Option<HuffmanTable> {
    let mut counts = [0; 16];
    CODES.iter().for_each(|(code, _)| counts[code.len() - 1] += 1);
    Some(HuffmanTable::new(&counts, &CODES.map(|(_, symbol)| symbol)))
}

/// The bytes of a scan: codes by their symbols (`x11`), and bits (`101`).
fn scan(words: &str) -> Vec<u8> {
    let mut bits = String::new();
    for word in words.split_whitespace() {
        match word.strip_prefix('x') {
            Some(symbol) => {
                let symbol = u8::from_str_radix(symbol, 16).unwrap();
                bits += CODES.iter().find(|(_, of)| *of == symbol).unwrap().0;
            }
            None => bits += word,
        }
    }
    // The place behind the last bit is known by a marker.
    let eights = bits.as_bytes().chunks(8);
    eights
        .map(|eight| (0..8).fold(0, |b, i| b << 1 | u8::from(eight.get(i) != Some(&b'0'))))
        .flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] })
        .collect()
}

/// How many bits `words` have, of which [`scan`] makes whole bytes.
fn len(words: &str) -> u32 {
    let of_word = |word: &str| match word.strip_prefix('x') {
        Some(symbol) => {
            let symbol = u8::from_str_radix(symbol, 16).unwrap();
            CODES.iter().find(|(_, of)| *of == symbol).unwrap().0.len()
        }
        None => word.len(),
    };
    words.split_whitespace().map(of_word).sum::<usize>() as u32
}

/// Reads blocks; each result must come after exactly these bits.
fn reads(words: &str, read: impl FnOnce(&mut Bits<'_>) -> Result<(), Stop>) -> bool {
    let bytes = scan(words);
    let (whole, used) = (8 * (len(words).div_ceil(8)), len(words));
    let mut bits = Bits::new(&bytes, 0);
    let is_read = read(&mut bits).is_ok();
    is_read && bits.take(whole - used).is_some() && bits.take(1).is_none()
}

#[test]
fn sequential_blocks_have_63_coefficients_at_most() {
    let table = table();
    let read = |words: &str| reads(words, |bits| sequential([&table, &table], bits));
    assert!(read("x00 x00"), "nothing");
    assert!(read("x02 11 x00"), "an average of two bits");
    assert!(read("x00 x01 1 x02 01 x11 0 x00"), "three coefficients");
    assert!(read("x00 xF0 xF0 xF0 x71 1 x31 1 x11 1 x01 1"), "up to the last, without an end");
    assert!(read("x00 xF0 xF0 xF0 x71 1 x00"), "up to 56, and an end");
    assert!(read("x00 x10"), "a run ends the block in these scans");
    let fails = |words: &str| {
        let bytes = scan(words);
        sequential([&table, &table], &mut Bits::new(&bytes, 0)).unwrap_err()
    };
    assert_eq!(fails("x00 xF0 xF0 xF0 x71 1 x31 1 x11 1 x11 1"), Stop::Damage, "too many");
    assert_eq!(fails("x00 xF0 xF0 xF0 xF0"), Stop::Damage, "zeros behind the end");
    assert_eq!(fails("x10 x00"), Stop::Damage, "an average of 16 bits");
    assert_eq!(fails("x0F 11010101"), Stop::End, "bits of the average");
    assert_eq!(fails("x00 x02"), Stop::End, "bits of a coefficient");
    assert_eq!(sequential([&None, &table], &mut Bits::new(&[0], 0)), Err(Stop::Damage));
    assert_eq!(sequential([&table, &None], &mut Bits::new(&[0], 0)), Err(Stop::Damage));
}

/// The state of a component between the blocks of a scan.
struct State {
    band: SpectralBand,
    nonzero: u64,
    run: u32,
}

impl State {
    fn first(first: usize, last: usize) -> Self {
        Self { band: SpectralBand { first, last, high: 0 }, nonzero: 0, run: 0 }
    }

    fn refining(first: usize, last: usize, nonzero: &[usize]) -> Self {
        let nonzero = nonzero.iter().fold(0, |bits, k| bits | 1u64 << k);
        Self { band: SpectralBand { first, last, high: 1 }, nonzero, run: 0 }
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<(), Stop> {
        let table = table();
        progressive(self.band, [&table, &table], bits, &mut self.nonzero, &mut self.run)
    }

    /// Reads a block of exactly these bits.
    fn reads(&mut self, words: &str) -> bool {
        reads(words, |bits| self.next(bits))
    }

    fn fails(mut self, words: &str) -> Stop {
        self.next(&mut Bits::new(&scan(words), 0)).unwrap_err()
    }

    fn has(&self, nonzero: &[usize]) -> bool {
        self.nonzero == Self::refining(0, 0, nonzero).nonzero
    }
}

#[test]
fn averages_come_first_and_are_refined_by_a_bit() {
    assert!(State::first(0, 0).reads("x02 10"));
    assert_eq!(State::first(0, 0).fails("x0F"), Stop::End);
    let mut refining = State::refining(0, 0, &[]);
    assert!(refining.reads("1") && refining.reads("0"));
    let mut none = State::refining(0, 0, &[]);
    assert_eq!(none.next(&mut Bits::new(&[], 0)), Err(Stop::End));
    // Neither takes the table of the other coefficients, but the first takes its own.
    let band = |high| SpectralBand { first: 0, last: 0, high };
    let read = |high, dc: &Option<HuffmanTable>| {
        progressive(band(high), [dc, &None], &mut Bits::new(&[0], 0), &mut 0, &mut 0)
    };
    assert_eq!([read(0, &table()), read(1, &None)], [Ok(()), Ok(())]);
    assert_eq!(read(0, &None), Err(Stop::Damage));
    let ac = SpectralBand { first: 1, last: 5, high: 0 };
    let bits = &mut Bits::new(&[0], 0);
    assert_eq!(progressive(ac, [&table(), &None], bits, &mut 0, &mut 0), Err(Stop::Damage));
}

#[test]
fn first_scans_of_a_band_set_its_coefficients() {
    let mut state = State::first(1, 5);
    assert!(state.reads("x01 1 x11 0 x02 10 x01 1") && state.has(&[1, 3, 4, 5]));
    let mut state = State::first(6, 63);
    assert!(state.reads("x31 1 xF0 xF0 x71 0 x00") && state.has(&[9, 49]));
    let mut state = State::first(6, 63);
    assert!(state.reads("xF0 xF0 xF0 x71 1 x01 0 x01 1") && state.has(&[61, 62, 63]));
    assert_eq!(State::first(1, 5).fails("x31 1 x11 1"), Stop::Damage, "behind the band");
    assert_eq!(State::first(6, 19).fails("xF0"), Stop::Damage, "zeros behind the band");
    assert_eq!(State::first(1, 5).fails("x01 1 x31"), Stop::End, "no bits of the coefficient");
}

#[test]
fn runs_of_blocks_take_no_codes() {
    let mut state = State::first(1, 5);
    assert!(state.reads("x01 1 x00") && state.run == 0, "this block alone");
    for (words, run) in [("x10 0", 2), ("x10 1", 3), ("xE0 00000000000101", (1 << 14) + 5)] {
        let mut state = State::first(1, 5);
        assert!(state.reads(words), "{words}");
        for left in (0..run).rev() {
            assert_eq!(state.run, left);
            if left > 0 {
                assert!(state.reads(""), "{words}");
            }
        }
        assert!(state.reads("x01 0 x00") && state.has(&[1]), "{words}");
    }
    assert_eq!(State::first(1, 5).fails("xE0 0000"), Stop::End);
}

#[test]
fn refinements_pass_a_bit_for_each_coefficient_on_the_way() {
    // At 2 there is one; the first zero is 1.
    let mut state = State::refining(1, 5, &[2]);
    assert!(state.reads("x01 1 x01 1 0 x00") && state.has(&[1, 2, 3]));
    // One zero on the way, with a coefficient in front and one behind.
    let mut state = State::refining(1, 7, &[1, 3]);
    assert!(state.reads("x11 0 1 1 x00") && state.has(&[1, 3, 4]));
    // An end has a bit for those that are left, and for no others.
    for (nonzero, bits) in [(&[][..], ""), (&[1], "1"), (&[5], "0"), (&[1, 3, 5], "101")] {
        assert!(State::refining(1, 5, nonzero).reads(&format!("x00 {bits}")), "{nonzero:?}");
    }
    assert!(State::refining(6, 63, &[1, 5, 6, 63]).reads("x00 10"), "outside of the band");
    assert!(State::refining(1, 5, &[6]).reads("x00"), "outside of the band");
    let mut state = State::refining(1, 63, &[2, 20, 40]);
    assert!(state.reads("x01 1 x01 1 1 x00 01") && state.has(&[1, 2, 3, 20, 40]));
    // Sixteen zeros, and the coefficients among them, but not the one behind.
    let mut state = State::refining(1, 63, &[2, 18, 19]);
    assert!(state.reads("xF0 1 x01 1 0 0 x00") && state.has(&[2, 18, 19, 20]));
    // The last of the band needs no end, and the bits of those behind the last new one come
    // with the next code.
    assert!(State::refining(1, 3, &[1, 2]).reads("x01 1 01"));
    assert!(State::refining(1, 3, &[3]).reads("x11 1 x00 1"));
    // A coefficient of more than one bit is not new, but its one bit is.
    assert!(State::refining(1, 3, &[]).reads("x02 1 x00"));
}

#[test]
fn runs_have_a_bit_for_each_coefficient_of_their_blocks() {
    let mut state = State::refining(1, 5, &[2, 5, 6]);
    assert!(state.reads("x10 0 1 1") && state.run == 1);
    assert!(state.reads("0 1") && state.run == 0);
    // The next block has codes again.
    assert!(state.reads("x01 1 x00 1 1") && state.has(&[1, 2, 5, 6]));
    let mut whole = State { run: 1, ..State::refining(1, 63, &[1, 32, 63]) };
    assert!(whole.reads("101") && whole.run == 0);
    let mut last = State { run: 9, ..State::refining(5, 5, &[5]) };
    assert!(last.reads("1") && last.run == 8);
}

#[test]
fn refinements_that_end_or_leave_the_band_fail() {
    let band = |nonzero: &[usize]| State::refining(1, 5, nonzero);
    assert_eq!(band(&[]).fails("x71 1"), Stop::Damage, "behind the band");
    assert_eq!(band(&[1, 2, 3, 4, 5]).fails("x01 1 11111"), Stop::Damage, "no zero is left");
    assert_eq!(band(&[1, 2, 3, 4, 5]).fails("x31 1"), Stop::End, "bits on the way");
    assert_eq!(band(&[1, 2, 3, 4, 5]).fails("x00 1"), Stop::End, "bits at the end");
    assert_eq!(band(&[1]).fails("xF0 1"), Stop::Damage, "too few zeros");
    // The code fills the byte, and its bit is missing.
    let (mut state, table) = (band(&[]), table());
    let mut bits = Bits::new(&[0b1111_1100], 0);
    bits.take(6);
    let stop =
        progressive(state.band, [&table, &table], &mut bits, &mut state.nonzero, &mut state.run);
    assert_eq!(stop, Err(Stop::End));
}
