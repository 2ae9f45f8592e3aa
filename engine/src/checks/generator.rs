//! Random settings, shapes and tensors for samples.

use crate::{Layout, Rng, Tensor};
use std::ops::RangeInclusive;

/// The values that a sample's input may take.
///
/// Finite differences see a function at both sides of a point. Where it has a kink, as relu at 0,
/// they find a mean of two slopes, and the check fails though the gradient is right. So inputs stay
/// away from kinks by more than twice the step of [`GradCheck`](super::GradCheck), 1e-3: by their
/// values, or, for a kink elsewhere than at 0, moved there.
///
/// ```
/// use engine::checks::{GradCheck, SampleGenerator, Values, gradcheck};
/// use engine::Tensor;
/// let options = GradCheck::default();
/// let x = SampleGenerator::from_seed(0).tensor(&[3, 4], Values::AwayFromZero);
/// gradcheck(|x| x[0].relu(), &[x.clone()], &options)?;
/// // The kink of max(x − 1, 0) is at 1.
/// gradcheck(|x| x[0].affine(1.0, -1.0)?.relu(), &[x.affine(1.0, 1.0)?], &options)?;
/// // At the kink itself the slopes are 0 and 1.
/// let zero = Tensor::from_slice(&[0.0], &[1])?;
/// assert!(gradcheck(|x| x[0].relu(), &[zero], &options).is_err());
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Normal, variance 1.
    Normal,
    /// Uniform in [0.5, 2): for logarithms, roots and denominators.
    Positive,
    /// At least 0.25 from zero: for functions with a kink there.
    AwayFromZero,
    /// A random arrangement of values 0.2 apart: for maxima.
    Distinct,
}

/// Where a sample's random choices come from: a list that property testing can shrink, or a seed.
///
/// The first choices of a list are used up one by one; after its end every choice is the smallest.
///
/// ```
/// use engine::checks::{SampleGenerator, Values};
/// let mut c = SampleGenerator::from_seed(1);
/// let (stride, padded) = (c.size(1..=3), c.flag());
/// let groups = c.pick(&[1, 2]);
/// println!("stride {stride}, padded {padded}, groups {groups}");
/// let channels = c.channels(&[1, 4, 6]);
/// let shape = c.map_shape(channels, 3, 9); // [n, channels, h, w]
/// let x = c.tensor(&shape, Values::AwayFromZero);
/// assert!(x.shape() == shape && x.to_f64_vec()?.iter().all(|x| x.abs() >= 0.25));
/// let (a, b) = c.broadcast_pair();
/// assert!(c.tensor(&a, Values::Normal).add(&c.tensor(&b, Values::Normal)).is_ok());
///
/// // A list is what property testing shrinks: after its end every choice is the smallest.
/// let mut c = SampleGenerator::from_list(vec![1, 0, 1, 1], 0);
/// assert_eq!((c.extent(2..=9), c.broadcastable(&[4, 5])), (3, vec![1]));
/// assert_eq!((c.extent(2..=9), c.shape(1..=3, 5)), (2, vec![1]));
///
/// let mut large = SampleGenerator::large(0); // for benchmarks
/// assert!(large.is_large() && large.shape(2..=2, 5) == [1024, 1024]);
/// # Ok::<_, engine::Error>(())
/// ```
pub struct SampleGenerator {
    list: Option<std::vec::IntoIter<u32>>,
    rng: Rng,
    large: bool,
}

impl SampleGenerator {
    /// SampleGenerator read from `list`; `seed` gives the values of tensors.
    pub fn from_list(list: Vec<u32>, seed: u64) -> Self {
        Self { list: Some(list.into_iter()), rng: Rng::new(seed), large: false }
    }

    /// SampleGenerator drawn from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self { list: None, rng: Rng::new(seed), large: false }
    }

    /// A generator seeded with `seed`, for a bench: the same settings, but dimensions so large that
    /// a tensor has about a million elements, and all contiguous.
    pub fn large(seed: u64) -> Self {
        Self { large: true, ..Self::from_seed(seed) }
    }

    /// Whether dimensions are large: then gradients will not be compared with finite differences.
    pub fn is_large(&self) -> bool {
        self.large
    }

    fn next(&mut self) -> u32 {
        match &mut self.list {
            Some(list) => list.next().unwrap_or(0),
            None => self.rng.next_u32(),
        }
    }

    /// A whole number in `range`, or its start if that is empty: a setting. The size of a dimension
    /// is an [`extent`](Self::extent).
    pub fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        let (start, choice) = (*range.start(), self.next() as usize);
        match range.end().saturating_sub(start).checked_add(1) {
            Some(width) => start + choice % width,
            None => choice, // among all there are
        }
    }

    /// One of `options`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.next() as usize % options.len()].clone()
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.next() % 2 == 1
    }

    /// The side of a map or of a matrix, in `range`; 24 times the longest if large.
    pub fn extent(&mut self, range: RangeInclusive<usize>) -> usize {
        if self.large { range.end().saturating_mul(24) } else { self.size(range) }
    }

    /// A number of channels, one of `options`; four times the last if large.
    ///
    /// # Panics
    /// If there are none.
    pub fn channels(&mut self, options: &[usize]) -> usize {
        if self.large { 4 * options[options.len() - 1] } else { self.pick(options) }
    }

    /// A shape whose number of dimensions is in `ranks`, each of 1 to `most`. If large: of as many
    /// as may be, and of about a million elements.
    pub fn shape(&mut self, ranks: RangeInclusive<usize>, most: usize) -> Vec<usize> {
        let rank = if self.large { *ranks.end() } else { self.size(ranks) };
        (0..rank).map(|_| if self.large { 1 << (20 / rank) } else { self.size(1..=most) }).collect()
    }

    /// A feature map's shape `[n, channels, height, width]`: n of 1 to 2, sides of `least` to
    /// `most` (as [`Self::extent`]).
    pub fn map_shape(&mut self, channels: usize, least: usize, most: usize) -> Vec<usize> {
        vec![self.size(1..=2), channels, self.extent(least..=most), self.extent(least..=most)]
    }

    /// A shape that broadcasts to `shape`: the same, or with some dimensions 1 and some leading
    /// ones missing.
    pub fn broadcastable(&mut self, shape: &[usize]) -> Vec<usize> {
        if self.flag() {
            return shape.to_vec();
        }
        let missing = self.size(0..=shape.len());
        shape[missing..].iter().map(|&size| if self.flag() { 1 } else { size }).collect()
    }

    /// Two shapes of at most four dimensions, one of which broadcasts to the other.
    pub fn broadcast_pair(&mut self) -> (Vec<usize>, Vec<usize>) {
        let shape = self.shape(0..=4, 5);
        let smaller = self.broadcastable(&shape);
        if self.flag() { (smaller, shape) } else { (shape, smaller) }
    }

    /// An f64 tensor of `shape` in some layout: standard, row-major, or a view with gaps into
    /// something larger.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn tensor(&mut self, shape: &[usize], values: Values) -> Tensor {
        let form = if self.large { 0 } else { self.next() % 4 };
        let numel = shape.iter().product();
        let mut data: Vec<f64> = (0..numel)
            .map(|i| match values {
                Values::Normal => self.rng.normal(),
                Values::Positive => self.rng.range(0.5..2.0),
                Values::AwayFromZero => {
                    (self.rng.uniform() + 0.25) * if self.rng.chance(0.5) { 1.0 } else { -1.0 }
                }
                Values::Distinct => 0.2 * (i as f64 - numel as f64 / 2.0),
            })
            .collect();
        if matches!(values, Values::Distinct) {
            self.rng.shuffle(&mut data);
        }
        let dense =
            Tensor::from_slice(&data, shape).expect("as many values as the shape has elements");
        match form {
            0 => dense,
            1 => dense.row_major().expect("a copy in main memory"),
            _ => in_the_middle_of_something_larger(&dense, form == 3),
        }
    }
}

/// A view with the values of `tensor` into a storage that has other values (NaN) around them.
fn in_the_middle_of_something_larger(tensor: &Tensor, every_second: bool) -> Tensor {
    let shape = tensor.shape();
    let step = if every_second { 2 } else { 1 };
    let larger: Vec<usize> = shape.iter().map(|&size| size * step + 2).collect();
    let outer = Layout::row_major_of(&larger);
    let inner =
        (0..shape.len()).fold(outer.clone(), |layout, d| layout.slice(d, 1, shape[d], step));
    let values = tensor.to_f64_vec().expect("in main memory");
    let base = Tensor::build_in(outer, |out: &mut [f64]| {
        out.fill(f64::NAN);
        let rows = crate::loop_nest::LoopNest::new(&Layout::row_major_of(shape), [&inner]);
        let (row, [stride]) = (rows.row(), rows.row_strides());
        for (i, &value) in values.iter().enumerate() {
            out[rows.start(i / row)[0] + i % row * stride] = value;
        }
    });
    base.expect("memory for a sample").view(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges)]
    fn any_range_has_a_choice() {
        for mut c in [SampleGenerator::from_seed(0), SampleGenerator::from_list(vec![7; 9], 0)] {
            // From the wrong end, or with every number.
            assert_eq!((c.size(5..=2), c.extent(5..=2), c.map_shape(3, 5, 2)[2]), (5, 5, 5));
            assert_eq!(c.shape(2..=1, 0), [1, 1]);
            c.size(0..=usize::MAX);
        }
        assert_eq!(SampleGenerator::large(0).extent(0..=usize::MAX), usize::MAX);
    }
}
