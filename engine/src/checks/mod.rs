//! Checks of every operation against its definition.
//!
//! The `samples.rs` of an operation says once how to make a random use of it ([`OpInfo`]); each
//! sample goes through the same checks: the gradients against finite differences in f64, f32
//! against f64, and strided inputs against dense ones. Property tests drive it with shrinking
//! choices, `irnext gradcheck` with seeds. Benches take the same samples with
//! [large](SampleGenerator::large) dimensions.

mod generator;
mod gradcheck;

use crate::{DType, Device, Error, Result, Rng, Tape, Tensor, counted};
pub use generator::{SampleGenerator, Values};
pub use gradcheck::{GradCheck, GradcheckReport, gradcheck};
use std::fmt;

/// The samples of the operations in one folder.
///
/// ```
/// use engine::checks::{SampleGenerator, check};
/// let matmul = engine::ops::OPS.iter().find(|info| info.name == "matmul").unwrap();
/// let (name, sampler) = matmul.operations[0];
/// let outcome = check(&sampler(&mut SampleGenerator::from_seed(3)))?;
/// assert!(outcome.recorded.contains(&name));
/// # Ok::<_, engine::Error>(())
/// ```
pub struct OpInfo {
    /// The folder's name.
    pub name: &'static str,
    /// Its operations: the name each records on a tape, and how to make a random use of it.
    pub operations: &'static [(&'static str, Sampler)],
}

/// Makes a random use of an operation.
pub type Sampler = fn(&mut SampleGenerator) -> Sample;

/// A computation on tensors.
pub type Computation = dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync;

/// One use of an operation: inputs in f64, and the function to apply. See [`check`] for an example.
pub struct Sample {
    /// A description of the sample: shapes and settings.
    pub label: String,
    /// The inputs, all differentiable, in any layout.
    pub inputs: Vec<Tensor>,
    /// The computation, which must work in f32 and f64.
    pub run: Box<Computation>,
}

impl Sample {
    /// A sample whose label starts with `settings` and lists the shapes of `inputs`. See [`check`]
    /// for an example.
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

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, inputs, .. } = self;
        f.debug_struct("Sample")
            .field("label", label)
            .field("inputs", inputs)
            .finish_non_exhaustive()
    }
}

/// The outcome of putting one sample through the checks. See [`check`] for an example.
#[derive(Clone, Debug)]
pub struct CheckOutcome {
    /// The comparison of gradients with finite differences.
    pub gradients: GradcheckReport,
    /// The largest difference of f32 from f64, relative to the largest value (at least 1).
    pub f32_error: f64,
    /// The operations that were recorded, in order.
    pub recorded: Vec<&'static str>,
}

/// Puts `sample` through the checks and fails with what differed.
///
/// ```
/// use engine::checks::{Sample, SampleGenerator, Values, check};
/// let mut c = SampleGenerator::from_seed(0);
/// let shape = c.shape(1..=3, 4);
/// let x = c.tensor(&shape, Values::Positive);
/// let outcome = check(&Sample::new("y = x²", vec![x], |x| x[0].square()))?;
/// assert_eq!(outcome.recorded, ["square"]);
/// assert!(outcome.gradients.worst < 1e-6 && outcome.f32_error < 1e-6);
/// # Ok::<_, engine::Error>(())
/// ```
pub fn check(sample: &Sample) -> Result<CheckOutcome> {
    const F32_TOLERANCE: f64 = 2e-4;
    let options = GradCheck::default();
    let run = |stage: &str, inputs: &[Tensor]| {
        let stage = format!("{}: {stage}", sample.label);
        gradcheck::in_check("check", stage, (sample.run)(inputs).and_then(|y| y.to_f64_vec()))
    };
    let strided = run("with strided inputs", &sample.inputs)?;
    let dense: Vec<Tensor> =
        sample.inputs.iter().map(|x| dense_copy(x, DType::F64)).collect::<Result<_>>()?;
    let value = run("with dense inputs", &dense)?;
    if value.len() != strided.len() {
        let message = format!(
            "{}: strided inputs give {}, dense ones {}",
            sample.label,
            counted(strided.len(), "element"),
            value.len()
        );
        return Err(Error::disagreement("check", message));
    }
    if let Some(i) = differs(&value, &strided, 1e-12) {
        let message = format!(
            "{}: strided inputs give {} at {i}, dense ones {}",
            sample.label, strided[i], value[i]
        );
        return Err(Error::disagreement("check", message));
    }
    let single: Vec<Tensor> =
        sample.inputs.iter().map(|x| dense_copy(x, DType::F32)).collect::<Result<_>>()?;
    let f32_error = difference(&value, &run("in f32", &single)?);
    if f32_error.is_nan() || f32_error > F32_TOLERANCE {
        return Err(Error::disagreement(
            "check",
            format!("{}: f32 differs from f64 by {f32_error:.1e}", sample.label),
        ));
    }
    let gradients = gradcheck(&sample.run, &sample.inputs, &options)?;
    let tape = Tape::new();
    let leaves: Vec<Tensor> = sample.inputs.iter().map(|x| tape.leaf(x)).collect();
    (sample.run)(&leaves)?;
    Ok(CheckOutcome { gradients, f32_error, recorded: tape.operations() })
}

/// How far a device is from the CPU in f64: the largest differences relative to the largest value
/// (at least 1). See [`check_on`] for an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// Of the value.
    pub value: f64,
    /// Of the gradients.
    pub gradient: f64,
}

/// The dtypes in which devices are compared with the CPU, and how far each may be off. The half
/// types round every tensor that is kept or handed on, to 2⁻¹¹ and 2⁻⁸ of a number; sums inside a
/// kernel are in f32.
pub const DEVICE_TOLERANCES: [(DType, f64); 4] =
    [(DType::F64, 1e-11), (DType::F32, 2e-5), (DType::F16, 8e-3), (DType::BF16, 6e-2)];

/// Runs `sample` in `dtype` on `device`, and on the CPU in f64 with the same numbers, and compares
/// the values and, for a random projection, the gradients of every input.
///
/// ```
/// use engine::checks::{Sample, SampleGenerator, Values, check_on};
/// use engine::{DType, Device};
/// let x = SampleGenerator::from_seed(0).tensor(&[3, 4], Values::Normal);
/// let sample = Sample::new("y = eˣ", vec![x], |x| x[0].exp());
/// let distance = check_on(&sample, Device::Cpu, DType::F32, 2e-5)?;
/// assert!(distance.value > 0.0 && distance.gradient < 2e-5);
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// If they differ by more than `tolerance`, with what differs.
pub fn check_on(sample: &Sample, device: Device, dtype: DType, tolerance: f64) -> Result<Distance> {
    // The same numbers on both sides: those that the dtype has.
    let rounded = sample.inputs.iter().map(|x| x.to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
    let exact = rounded.iter().map(|x| x.to_dtype(DType::F64)).collect::<Result<Vec<_>>>()?;
    let shape = (sample.run)(&exact)?.shape().to_vec();
    let projection = Tensor::randn(&shape, DType::F64, &mut Rng::new(7))?.to_dtype(dtype)?;
    let (value, gradients) = value_and_gradients(sample, &exact, projection.to_dtype(DType::F64)?)?;
    let there = rounded.iter().map(|x| x.to_device(device)).collect::<Result<Vec<_>>>()?;
    let (value_there, gradients_there) =
        value_and_gradients(sample, &there, projection.to_device(device)?)?;
    let far = |a: &[f64], b: &[f64]| if a.len() == b.len() { difference(a, b) } else { f64::NAN };
    let far_gradients = gradients.iter().zip(&gradients_there).map(|(a, b)| far(a, b));
    // The input whose gradient is off by most; NaN is more than any number.
    let (worst, gradient) = far_gradients.enumerate().fold((0, 0.0), |(i, most), (k, d)| {
        if f64::is_nan(most) || d <= most { (i, most) } else { (k, d) }
    });
    let distance = Distance { value: far(&value, &value_there), gradient };
    if !(distance.value <= tolerance && distance.gradient <= tolerance) {
        let message = format!(
            "{}: {dtype} on {device} is off by {:.1e} in value and {gradient:.1e} in gradients, \
             by most in that of input {worst}; {tolerance:.0e} is allowed",
            sample.label, distance.value
        );
        return Err(Error::disagreement("check", message));
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
    crate::dispatch_float!("check", dtype, T => {
        let values = tensor.to_f64_vec()?.into_iter();
        let values: Vec<T> = values.map(<T as crate::Element>::from_f64).collect();
        Tensor::from_slice(&values, tensor.shape())
    })
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    let scale = a.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0.0, |m, (x, y)| {
        if (x - y).is_nan() { f64::NAN } else { f64::max(m, (x - y).abs() / scale) }
    })
}

/// The place of the largest difference of equally many numbers, if it is more than `tolerance`.
fn differs(a: &[f64], b: &[f64], tolerance: f64) -> Option<usize> {
    let scale = a.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let far = |i: usize| if (a[i] - b[i]).is_nan() { f64::INFINITY } else { (a[i] - b[i]).abs() };
    let worst = (0..a.len()).max_by(|&i, &j| far(i).total_cmp(&far(j)))?;
    (far(worst) > tolerance * scale).then_some(worst)
}
