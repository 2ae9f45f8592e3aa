//! Counter-based random numbers: a draw depends on (seed, stream, index) and on nothing else.
//!
//! A sequential generator makes every draw depend on how many came before it, so a data loader with
//! two threads, or a run resumed half way, sees other numbers. Here the state *is* the position:
//! the generator for image 17 of epoch 3 can be made anywhere, at any time, and gives the same
//! draws.
//!
//! The function is Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
//! 2011).

use std::ops::Range;

/// A stream of draws that starts at a fixed position.
///
/// ```
/// use engine::Rng;
/// let mut a = Rng::at(42, 3, 17);
/// let mut b = Rng::at(42, 3, 17);
/// assert_eq!(a.uniform().to_bits(), b.uniform().to_bits());
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    /// block number, stream, index (low and high word)
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
    /// The second half of a Box–Muller pair, kept for the next call.
    spare: Option<f64>,
}

/// ```
/// use engine::Rng;
/// let mut rng = Rng::new(42);
/// assert!((0.0..1.0).contains(&rng.uniform()) && (-2.0..3.0).contains(&rng.range(-2.0..3.0)));
/// assert!(rng.below(6) < 6 && (1..7).contains(&rng.int(1..7))); // two dice
/// assert!(rng.chance(1.0) && !rng.chance(0.0) && rng.normal().is_finite());
/// let mut cards = [1, 2, 3, 4];
/// rng.shuffle(&mut cards);
/// assert_eq!(cards.iter().sum::<i32>(), 10);
/// // Bits: two words of 32 make one of 64, the low one first.
/// let (mut words, mut long) = (Rng::new(1), Rng::new(1));
/// let [low, high] = [words.next_u32(), words.next_u32()].map(u64::from);
/// assert_eq!(long.next_u64(), high << 32 | low);
/// ```
impl Rng {
    /// The draws of `seed` at stream 0, index 0.
    pub fn new(seed: u64) -> Self {
        Self::at(seed, 0, 0)
    }

    /// The draws of `seed` at (`stream`, `index`), for example (epoch, image number).
    /// One position holds 2³⁴ draws of 32 bits before it repeats.
    pub fn at(seed: u64, stream: u32, index: u64) -> Self {
        let (low, high) = split(seed);
        let (index_low, index_high) = split(index);
        Self {
            key: [low, high],
            counter: [0, stream, index_low, index_high],
            block: [0; 4],
            used: 4,
            spare: None,
        }
    }

    /// 32 uniform random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }

    /// 64 uniform random bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        u64::from(low) | u64::from(self.next_u32()) << 32
    }

    /// Uniform in [0, 1), with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [`range.start`, `range.end`); `range.start` if both are the same. A draw that
    /// would round to the end becomes the largest number below it. The bounds are finite; where
    /// they are not, draws may be NaN. From a range whose start is greater, draws lie between the
    /// two all the same, which may include the greater one.
    pub fn range(&mut self, Range { start, end }: Range<f64>) -> f64 {
        let (draw, width) = (self.uniform(), end - start);
        // The width of two large numbers may not be one, where both halves are.
        let drawn = match width.is_infinite() {
            false => start + width * draw,
            true => 2.0 * (start / 2.0 + (end / 2.0 - start / 2.0) * draw),
        };
        if start < end { drawn.min(end.next_down()) } else { drawn }
    }

    /// A whole number in [0, `n`), without bias; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Lemire's multiply-and-reject.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// A whole number in [`range.start`, `range.end`); `range.start` if the range is empty.
    pub fn int(&mut self, range: Range<i64>) -> i64 {
        if range.is_empty() {
            return range.start;
        }
        // The width may exceed the largest i64, and both steps may wrap around on the way.
        let width = range.end.wrapping_sub(range.start) as u64;
        range.start.wrapping_add(self.below(width) as i64)
    }

    /// `true` with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Normally distributed, mean 0, variance 1 (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Puts `items` into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// Ten rounds of Philox 4x32 on one 128-bit counter.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (low0, high0) = split(u64::from(counter[0]) * 0xD251_1F53);
        let (low1, high1) = split(u64::from(counter[2]) * 0xCD9E_8D57);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_vectors() {
        // Random123's kat_vectors, "philox4x32 10".
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn places_are_independent_of_each_other() {
        let first = Rng::at(7, 0, 0).next_u64();
        assert_ne!(first, Rng::at(7, 0, 1).next_u64());
        assert_ne!(first, Rng::at(7, 1, 0).next_u64());
        assert_ne!(first, Rng::at(8, 0, 0).next_u64());
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut rng = Rng::new(1);
        let n = 200_000;
        let (mut uniform, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            uniform += rng.uniform();
            let z = rng.normal();
            sum += z;
            squares += z * z;
        }
        let n = f64::from(n);
        assert!((uniform / n - 0.5).abs() < 0.005);
        assert!((sum / n).abs() < 0.01);
        assert!((squares / n - 1.0).abs() < 0.02);
    }

    #[test]
    fn the_end_of_a_range_is_never_drawn() {
        // Two neighboring numbers, to which half of all sums round, and a width beyond all numbers.
        for range in [1.0..1.0f64.next_up(), -f64::MAX..f64::MAX] {
            let mut rng = Rng::new(5);
            assert!((0..100).all(|_| range.contains(&rng.range(range.clone()))), "{range:?}");
        }
        // Other draws are unchanged.
        let (mut rng, mut twin) = (Rng::new(6), Rng::new(6));
        for _ in 0..100 {
            assert_eq!(rng.range(-0.3..0.7).to_bits(), (-0.3 + twin.uniform()).to_bits());
        }
        let reversed = Range { start: 3.0, end: 1.0 };
        assert!((1.0..=3.0).contains(&rng.range(reversed)));
        assert_eq!(rng.range(2.0..2.0), 2.0);
    }

    #[test]
    fn below_covers_its_range_and_nothing_else() {
        let mut rng = Rng::new(3);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count > 150));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn whole_numbers_come_from_the_whole_range() {
        let mut rng = Rng::new(4);
        let draws: Vec<i64> = (0..100).map(|_| rng.int(i64::MIN..i64::MAX)).collect();
        for half in [|x: &&i64| **x < 0, |x: &&i64| **x >= 0] {
            assert!(draws.iter().filter(half).count() > 25, "{draws:?}");
        }
        let mut seen: Vec<i64> = (0..100).map(|_| rng.int(-1..2)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [-1, 0, 1]);
        let reversed = std::ops::Range { start: 7, end: 3 };
        assert_eq!((rng.int(5..5), rng.int(reversed)), (5, 7));
    }
}
