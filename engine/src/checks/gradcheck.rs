//! Gradients against finite differences.
//!
//! A function of tensors is reduced to a number by a fixed random projection, L = Σ y·r. The tape's
//! dL/dx is compared, element by element, with the four-point central difference (8·(L(x+h) −
//! L(x−h)) − (L(x+2h) − L(x−2h))) / 12h, whose error is O(h⁴).

use crate::{DType, Error, Result, Rng, Tape, Tensor};
use std::fmt;

/// The operation that errors name.
const OP: &str = "gradcheck";

/// The settings of a check. See [`gradcheck`] for an example.
#[derive(Clone, Debug)]
pub struct GradCheck {
    /// The step h.
    pub step: f64,
    /// The largest difference allowed, relative to the largest gradient of that input (at least
    /// 1e-3 of the largest of all inputs').
    pub tolerance: f64,
    /// At most this many elements of each input are tried, chosen at random.
    pub elements: usize,
    /// Seed of the projection and of the choice.
    pub seed: u64,
}

impl Default for GradCheck {
    fn default() -> Self {
        Self { step: 1e-3, tolerance: 1e-6, elements: 48, seed: 0 }
    }
}

/// The result of a passed check. See [`gradcheck`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradcheckReport {
    /// The largest relative difference.
    pub worst: f64,
    /// The number of elements that were compared.
    pub compared: usize,
}

/// Checks the gradient of `f` at `inputs` (f64 each) with respect to all of them.
///
/// ```
/// use engine::Tensor;
/// use engine::checks::{GradCheck, gradcheck};
/// let x = Tensor::from_slice(&[0.5, 1.0, 2.0], &[3])?;
/// let report = gradcheck(|x| x[0].log()?.mul(&x[0]), &[x.clone()], &GradCheck::default())?;
/// assert!(report.compared == 3 && report.worst < 1e-9);
/// // Half of this gradient is missing, as one factor is off the tape.
/// let wrong = gradcheck(|x| x[0].mul(&x[0].detach()), &[x], &GradCheck::default());
/// assert!(wrong.unwrap_err().to_string().starts_with("gradcheck: gradient of input 0 [3]"));
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for a step that is not positive and finite, or a tolerance that is negative or
/// NaN. [`Error::Disagreement`] with the input, the element and both gradients of the largest
/// difference above the tolerance, and with the number of elements that differ by more. Where `f`
/// or its backward pass fails, with the stage and the reason; lack of memory and an interruption
/// are returned as they are.
pub fn gradcheck(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    options: &GradCheck,
) -> Result<GradcheckReport> {
    let GradCheck { step, tolerance, .. } = *options;
    if !(step > 0.0 && step.is_finite()) {
        return Err(Error::shape(OP, format!("the step must be positive and finite, got {step}")));
    }
    if tolerance.is_nan() || tolerance < 0.0 {
        let message = format!("the tolerance must not be negative, got {tolerance}");
        return Err(Error::shape(OP, message));
    }
    for (which, input) in inputs.iter().enumerate() {
        if input.dtype() != DType::F64 {
            let expected = format!("{} of input {which}", DType::F64);
            return Err(Error::dtype(OP, expected, input.dtype()));
        }
    }
    let mut rng = Rng::new(options.seed);
    let tape = Tape::new();
    let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
    let output = at_stage("the forward pass on a tape", f(&leaves))?;
    let projection = Tensor::randn(output.shape(), DType::F64, &mut rng)?;
    let weights = projection.to_f64_vec()?;
    let gradients = tape.backward_from(&[&output], vec![Some(projection)]);
    let mut gradients = at_stage("the backward pass", gradients)?;
    let analytic: Vec<Vec<f64>> = leaves
        .iter()
        .map(|leaf| {
            gradients.take(leaf).map_or_else(|| Ok(vec![0.0; leaf.numel()]), |g| g.to_f64_vec())
        })
        .collect::<Result<_>>()?;
    let project = |inputs: &[Tensor]| -> Result<f64> {
        Ok(f(inputs)?.to_f64_vec()?.iter().zip(&weights).map(|(y, w)| y * w).sum())
    };

    let overall = analytic.iter().flatten().fold(0.0f64, |m, g| m.max(g.abs()));
    let (mut report, mut wrong, mut worst) = (GradcheckReport::default(), 0, None);
    for (which, input) in inputs.iter().enumerate() {
        let values = input.to_f64_vec()?;
        let scale = analytic[which]
            .iter()
            .fold(0.0f64, |m, g| m.max(g.abs()))
            .max(1e-3 * overall)
            .max(1e-6);
        for element in chosen(values.len(), options.elements, &mut rng) {
            let at = |offset: f64| {
                let mut moved = values.clone();
                moved[element] += offset;
                let mut all = inputs.to_vec();
                all[which] = Tensor::from_slice(&moved, input.shape())?;
                at_stage(Moved { element, which }, project(&all))
            };
            let h = step;
            let numeric = (8.0 * (at(h)? - at(-h)?) - (at(2.0 * h)? - at(-2.0 * h)?)) / (12.0 * h);
            let found = analytic[which][element];
            // Where the gradients are next to nothing, relative to the slope that they miss.
            let scale = if numeric.abs() > 1e3 * scale { numeric.abs() } else { scale };
            let difference = (numeric - found).abs() / scale;
            report.compared += 1;
            wrong += usize::from(difference.is_nan() || difference > tolerance);
            // NaN is worse than any number.
            if !report.worst.is_nan() && (difference.is_nan() || difference > report.worst) {
                report.worst = difference;
                worst = Some((which, element, found, numeric));
            }
        }
    }
    match worst {
        Some((which, element, found, numeric)) if wrong > 0 => {
            let message = format!(
                "gradient of input {which} {:?}, element {element}: backward gives {found:.9e}, \
                 finite differences {numeric:.9e} (relative difference {:.1e}, the worst of \
                 {wrong} too large among {})",
                inputs[which].shape(),
                report.worst,
                report.compared
            );
            Err(Error::disagreement(OP, message))
        }
        _ => Ok(report),
    }
}

/// The stage that moves one element of an input to compute a finite difference.
struct Moved {
    element: usize,
    which: usize,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the forward pass with element {} of input {} moved", self.element, self.which)
    }
}

/// The result of a stage of the check; its error says which.
fn at_stage<R>(stage: impl fmt::Display, result: Result<R>) -> Result<R> {
    in_check(OP, stage, result)
}

/// Like [`at_stage`], for the check `op`.
pub(super) fn in_check<R>(
    op: &'static str,
    stage: impl fmt::Display,
    result: Result<R>,
) -> Result<R> {
    result.map_err(|error| match error {
        Error::Memory { .. } | Error::Interrupted { .. } => error,
        error => Error::disagreement(op, format!("{stage}: {error}")),
    })
}

/// `most` of the numbers below `n`, or all of them, in order.
fn chosen(n: usize, most: usize, rng: &mut Rng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..n).collect();
    if n > most {
        rng.shuffle(&mut all);
        all.truncate(most);
        all.sort_unstable();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(f: impl Fn(&[Tensor]) -> Result<Tensor>) -> String {
        let [x, y] =
            [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].map(|x| Tensor::from_slice(&x, &[3]).unwrap());
        gradcheck(f, &[x, y], &GradCheck::default()).unwrap_err().to_string()
    }

    #[test]
    fn settings_that_check_nothing_are_refused() {
        let x = [Tensor::from_slice(&[1.0, 2.0], &[2]).unwrap()];
        // Half of this gradient is missing.
        let wrong = |x: &[Tensor]| x[0].mul(&x[0].detach());
        let settings = GradCheck::default();
        for (options, expected) in [
            (GradCheck { tolerance: f64::NAN, ..settings }, "the tolerance must not be negative"),
            (GradCheck { tolerance: -1.0, ..settings }, "the tolerance must not be negative"),
            (GradCheck { step: 0.0, ..settings }, "the step must be positive and finite"),
            (GradCheck { step: f64::NAN, ..settings }, "the step must be positive and finite"),
            (GradCheck { step: f64::INFINITY, ..settings }, "the step must be positive"),
        ] {
            let message = gradcheck(wrong, &x, &options).unwrap_err().to_string();
            assert!(message.starts_with(&format!("gradcheck: {expected}")), "{message}");
        }
    }

    #[test]
    fn the_worst_difference_is_reported() {
        // The gradient of each element of y lacks a part: 0.001, 0.3 and 0.02 of its own.
        let missing = Tensor::from_slice(&[0.001, 0.3, 0.02], &[3]).unwrap();
        let wrong = |x: &[Tensor]| {
            let kept = x[1].sub(&x[1].mul(&missing)?)?;
            x[0].add(&kept)?.add(&x[1].detach().mul(&missing)?)
        };
        let found = message(wrong);
        assert!(found.starts_with("gradcheck: gradient of input 1 [3], element 1:"), "{found}");
        assert!(found.ends_with("the worst of 3 too large among 6)"), "{found}");
        // NaN is worse still.
        let first = Tensor::from_slice(&[1.0, 0.0, 0.0], &[3]).unwrap();
        let found = message(|x| {
            let y = wrong(x)?;
            y.add(&x[0].detach().affine(1.0, -1.0)?.mul(&first)?.sqrt()?)
        });
        assert!(found.contains("input 0 [3], element 0: ") && found.contains("NaN"), "{found}");
    }

    #[test]
    fn errors_name_the_stage() {
        let other = Tensor::ones(&[2], DType::F64).unwrap();
        assert_eq!(
            message(|x| x[0].add(&other)),
            "gradcheck: the forward pass on a tape: add: shapes [3] and [2] do not broadcast \
             together"
        );
        let on_tape = |x: &Tensor| x.is_on_tape();
        let found = message(|x| if on_tape(&x[0]) { x[0].exp() } else { x[0].add(&other) });
        assert!(found.starts_with(
            "gradcheck: the forward pass with element 0 of input 0 moved: add: shapes"
        ));
        let nothing = message(|x| x[0].scale(0.0)?.add(&x[0].detach()));
        assert!(nothing.contains("(relative difference 1.0e0"), "{nothing}");
        let constant = message(|x| Ok(x[0].detach()));
        assert!(constant.starts_with("gradcheck: the backward pass: backward: the tensor"));
        let single = Tensor::ones(&[1], DType::F32).unwrap();
        let inputs = [other.clone(), single];
        let error = gradcheck(|x| x[0].exp(), &inputs, &GradCheck::default()).unwrap_err();
        assert_eq!(error.to_string(), "gradcheck: expected dtype f64 of input 1, got f32");
    }
}
