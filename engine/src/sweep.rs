//! One sweep over every operation.
//!
//! A room says once how to make a random use of its operations ([`Room::operations`]); the sweep
//! puts each through the same checks: the gradients against finite differences in f64, f32 against
//! f64, and strided inputs against dense ones. Property tests drive it with shrinking choices,
//! `irnext gradcheck` with seeds. Benches take the same samples with [large](Choices::large)
//! dimensions.

use crate::gradcheck::{self, GradCheck, Report};
use crate::{DType, Device, Error, Layout, Result, Rng, Tape, Tensor};
use std::ops::RangeInclusive;

/// A room's entry in the sweep.
pub struct Room {
    /// The folder's name.
    pub name: &'static str,
    /// Its operations: the name each records on a tape, and how to make a random use of it.
    pub operations: &'static [(&'static str, Sampler)],
}

/// Makes a random use of an operation.
pub type Sampler = fn(&mut Choices) -> Sample;

/// A computation on tensors.
pub type Computation = dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync;

/// One use of an operation: inputs in f64, and what to do with them.
pub struct Sample {
    /// Says what is special here: shapes and settings.
    pub label: String,
    /// The inputs, all differentiable, in any layout.
    pub inputs: Vec<Tensor>,
    /// The computation, which must work in f32 and f64.
    pub run: Box<Computation>,
}

impl Sample {
    /// A sample whose label starts with `settings` and lists the shapes of `inputs`.
    pub fn new(
        settings: impl Into<String>,
        inputs: Vec<Tensor>,
        run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        let shapes: Vec<String> = inputs.iter().map(|x| format!("{:?}", x.shape())).collect();
        let label = format!("{} {}", settings.into(), shapes.join(" ")).trim().to_string();
        Self { label, inputs, run: Box::new(run) }
    }
}

/// What values a sample's input may take.
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
pub struct Choices {
    list: Option<std::vec::IntoIter<u32>>,
    rng: Rng,
    large: bool,
}

impl Choices {
    /// Choices read from `list`; `seed` gives the values of tensors.
    pub fn from_list(list: Vec<u32>, seed: u64) -> Self {
        Self { list: Some(list.into_iter()), rng: Rng::new(seed), large: false }
    }

    /// Choices drawn from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self { list: None, rng: Rng::new(seed), large: false }
    }

    /// Choices drawn from `seed`, for a bench: the same settings, but dimensions so large that a
    /// tensor has about a million elements, and all in the standard layout.
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

    /// A whole number in `range`: a setting. What is the size of a dimension is an
    /// [`extent`](Self::extent).
    pub fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        let width = range.end() - range.start() + 1;
        range.start() + self.next() as usize % width
    }

    /// One of `options`, which must not be empty.
    pub fn pick<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.next() as usize % options.len()].clone()
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.next() % 2 == 1
    }

    /// The side of a map or of a matrix, in `range`; 24 times the longest if large.
    pub fn extent(&mut self, range: RangeInclusive<usize>) -> usize {
        if self.large { 24 * range.end() } else { self.size(range) }
    }

    /// A number of channels, one of `options`; four times the last if large.
    pub fn channels(&mut self, options: &[usize]) -> usize {
        if self.large { 4 * options[options.len() - 1] } else { self.pick(options) }
    }

    /// A shape of so many dimensions, each of 1 to `most`. If large: of as many as may be, and of
    /// about a million elements.
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

    /// An f64 tensor of `shape` in some layout: standard, row-major, or a view with gaps into
    /// something larger.
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
    let outer = Layout::row_major(&larger);
    let inner =
        (0..shape.len()).fold(outer.clone(), |layout, d| layout.slice(d, 1, shape[d], step));
    let values = tensor.to_f64_vec().expect("in main memory");
    let base = Tensor::build_in(outer, |out: &mut [f64]| {
        out.fill(f64::NAN);
        let rows = crate::loop_nest::LoopNest::new(&Layout::row_major(shape), [&inner]);
        let (row, [stride]) = (rows.row(), rows.row_strides());
        for (i, &value) in values.iter().enumerate() {
            out[rows.start(i / row)[0] + i % row * stride] = value;
        }
    });
    base.view(inner)
}

/// The outcome of putting one sample through the checks.
pub struct Outcome {
    /// The comparison of gradients with finite differences.
    pub gradients: Report,
    /// The largest difference of f32 from f64, relative to the largest value (at least 1).
    pub f32_error: f64,
    /// The operations that were recorded, in order.
    pub recorded: Vec<&'static str>,
}

/// Puts `sample` through the checks and fails with what differed.
pub fn check(sample: &Sample) -> Result<Outcome> {
    const F32_TOLERANCE: f64 = 2e-4;
    let options = GradCheck::default();
    let strided = (sample.run)(&sample.inputs)?.to_f64_vec()?;
    let dense: Vec<Tensor> =
        sample.inputs.iter().map(|x| dense_copy(x, DType::F64)).collect::<Result<_>>()?;
    let value = (sample.run)(&dense)?.to_f64_vec()?;
    if let Some(i) = differs(&value, &strided, 1e-12) {
        let message = format!(
            "{}: strided inputs give {} at {i}, dense ones {}",
            sample.label, strided[i], value[i]
        );
        return Err(Error::disagreement("sweep", message));
    }
    let single: Vec<Tensor> =
        sample.inputs.iter().map(|x| dense_copy(x, DType::F32)).collect::<Result<_>>()?;
    let single = (sample.run)(&single)?.to_f64_vec()?;
    let f32_error = difference(&value, &single);
    if f32_error.is_nan() || f32_error > F32_TOLERANCE {
        return Err(Error::disagreement(
            "sweep",
            format!("{}: f32 differs from f64 by {f32_error:.1e}", sample.label),
        ));
    }
    let gradients = gradcheck::gradcheck(&sample.run, &sample.inputs, &options)?;
    let tape = Tape::new();
    let leaves: Vec<Tensor> = sample.inputs.iter().map(|x| tape.leaf(x)).collect();
    (sample.run)(&leaves)?;
    Ok(Outcome { gradients, f32_error, recorded: tape.operations() })
}

/// How far a device is from the CPU in f64: the largest differences relative to the largest value
/// (at least 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// Of the value.
    pub value: f64,
    /// Of the gradients.
    pub gradient: f64,
}

/// The dtypes in which devices are compared with the CPU, and how far each may be off. The half
/// types round every tensor that is kept or handed on, to 2⁻¹¹ and 2⁻⁸ of a number; what is summed
/// inside a kernel is summed in f32.
pub const DEVICE_TOLERANCES: [(DType, f64); 4] =
    [(DType::F64, 1e-11), (DType::F32, 2e-5), (DType::F16, 8e-3), (DType::BF16, 6e-2)];

/// Runs `sample` in `dtype` on `device`, and on the CPU in f64 with the same numbers, and compares
/// the values and, for a random projection, the gradients of every input.
///
/// # Errors
/// If they differ by more than `tolerance`, with what differs.
pub fn check_on(sample: &Sample, device: Device, dtype: DType, tolerance: f64) -> Result<Distance> {
    // The same numbers on both sides: those that the dtype has.
    let rounded = sample.inputs.iter().map(|x| x.to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
    let exact = rounded.iter().map(|x| x.to_dtype(DType::F64)).collect::<Result<Vec<_>>>()?;
    let shape = (sample.run)(&exact)?.shape().to_vec();
    let projection = Tensor::randn(&shape, DType::F64, &mut Rng::new(7)).to_dtype(dtype)?;
    let (value, gradients) = value_and_gradients(sample, &exact, projection.to_dtype(DType::F64)?)?;
    let there = rounded.iter().map(|x| x.to_device(device)).collect::<Result<Vec<_>>>()?;
    let (value_there, gradients_there) =
        value_and_gradients(sample, &there, projection.to_device(device)?)?;
    let far = |a: &[f64], b: &[f64]| if a.len() == b.len() { difference(a, b) } else { f64::NAN };
    let distance = Distance {
        value: far(&value, &value_there),
        gradient: gradients
            .iter()
            .zip(&gradients_there)
            .map(|(a, b)| far(a, b))
            .fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m }),
    };
    if !(distance.value <= tolerance && distance.gradient <= tolerance) {
        let message = format!(
            "{}: {dtype} on {device} is off by {:.1e} in value and {:.1e} in gradients; \
             {tolerance:.0e} is allowed",
            sample.label, distance.value, distance.gradient
        );
        return Err(Error::disagreement("sweep", message));
    }
    Ok(distance)
}

fn value_and_gradients(
    sample: &Sample,
    inputs: &[Tensor],
    projection: Tensor,
) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    let tape = Tape::new();
    let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
    let value = (sample.run)(&leaves)?;
    let projection = projection.to_dtype(value.dtype())?;
    let numbers = value.detach().to_f64_vec()?;
    let mut gradients = tape.backward_from(&[&value], vec![Some(projection)])?;
    let gradients = leaves.iter().map(|leaf| match gradients.take(leaf) {
        Some(gradient) => gradient.to_f64_vec(),
        None => Ok(vec![0.0; leaf.numel()]),
    });
    Ok((numbers, gradients.collect::<Result<_>>()?))
}

fn dense_copy(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    crate::dispatch_float!("sweep", dtype, T => {
        let values: Vec<T> = tensor.to_f64_vec()?
            .into_iter()
            .map(<T as crate::Element>::from_f64)
            .collect();
        Tensor::from_slice(&values, tensor.shape())
    })
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    let scale = a.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0.0, |m, (x, y)| {
        if (x - y).is_nan() { f64::NAN } else { f64::max(m, (x - y).abs() / scale) }
    })
}

fn differs(a: &[f64], b: &[f64], tolerance: f64) -> Option<usize> {
    let scale = a.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    (0..a.len().max(b.len())).find(|&i| match (a.get(i), b.get(i)) {
        (Some(x), Some(y)) => (x - y).is_nan() || (x - y).abs() > tolerance * scale,
        _ => true,
    })
}
