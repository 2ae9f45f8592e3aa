//! Gradients against finite differences.
//!
//! A function of tensors is reduced to a number by a fixed random projection, L = Σ y·r. The tape's
//! dL/dx is compared, element by element, with the four-point central difference (8·(L(x+h) −
//! L(x−h)) − (L(x+2h) − L(x−2h))) / 12h, whose error is O(h⁴).

use crate::{DType, Error, Result, Rng, Tape, Tensor};

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
pub struct Report {
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
/// What `f` returns, or a message with the input, the element and both gradients of the first
/// difference above the tolerance.
pub fn gradcheck(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    options: &GradCheck,
) -> Result<Report> {
    if let Some(input) = inputs.iter().find(|x| x.dtype() != DType::F64) {
        return Err(Error::dtype("gradcheck", DType::F64, input.dtype()));
    }
    let mut rng = Rng::new(options.seed);
    let tape = Tape::new();
    let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
    let output = f(&leaves)?;
    let projection = Tensor::randn(output.shape(), DType::F64, &mut rng)?;
    let weights = projection.to_f64_vec()?;
    let mut gradients = tape.backward_from(&[&output], vec![Some(projection)])?;
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
    let mut report = Report::default();
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
                project(&all)
            };
            let h = options.step;
            let numeric = (8.0 * (at(h)? - at(-h)?) - (at(2.0 * h)? - at(-2.0 * h)?)) / (12.0 * h);
            let difference = (numeric - analytic[which][element]).abs() / scale;
            if difference.is_nan() || difference > options.tolerance {
                let message = format!(
                    "gradient of input {which} {:?}, element {element}: backward gives {:.9e}, \
                     finite differences {numeric:.9e} \
                     (relative difference {difference:.1e})",
                    input.shape(),
                    analytic[which][element]
                );
                return Err(Error::disagreement("gradcheck", message));
            }
            report.worst = report.worst.max(difference);
            report.compared += 1;
        }
    }
    Ok(report)
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
