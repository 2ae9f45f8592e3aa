//! Losses: numbers that training minimizes. Each is a mean, as PyTorch's are by default, without
//! dimensions, and on the tape of its input.
//!
//! A prediction and its target have one shape: nothing is broadcast, because a target of another
//! shape is a mistake more often than not.

use crate::{Result, indices};
use engine::{Error, Tensor};

/// The mean of (`prediction` − `target`)², PyTorch's `mse_loss`.
///
/// ```
/// use engine::Tensor;
/// let prediction = Tensor::from_slice(&[1.0, 2.0], &[2])?;
/// let target = Tensor::from_slice(&[1.0, 5.0], &[2])?;
/// assert_eq!(nn::loss::mse(&prediction, &target)?.item()?, (0.0 + 9.0) / 2.0);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ.
pub fn mse(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(difference("mse", prediction, target)?.square()?.mean_all()?)
}

/// The mean of |`prediction` − `target`|, PyTorch's `l1_loss`. Where both are equal, the gradient
/// is 0.
///
/// ```
/// use engine::Tensor;
/// let prediction = Tensor::from_slice(&[1.0, 2.0], &[2])?;
/// let target = Tensor::from_slice(&[1.0, 5.0], &[2])?;
/// assert_eq!(nn::loss::l1(&prediction, &target)?.item()?, (0.0 + 3.0) / 2.0);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ.
pub fn l1(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(difference("l1", prediction, target)?.abs()?.mean_all()?)
}

/// The mean of √((`prediction` − `target`)² + `eps`²) (Charbonnier et al. 1994): L1 for large
/// differences, and smooth around 0. Restoration networks are trained with an `eps` of 1e-3.
///
/// ```
/// use engine::Tensor;
/// let prediction = Tensor::from_slice(&[1.0, 2.0], &[2])?;
/// let target = Tensor::from_slice(&[1.0, 6.0], &[2])?;
/// assert_eq!(nn::loss::charbonnier(&prediction, &target, 3.0)?.item()?, (3.0 + 5.0) / 2.0);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ; [`crate::Error::Setting`] if `eps` is not positive, or its square is 0 or
/// not finite in the dtype of `prediction`: without it, the root has no slope at 0.
pub fn charbonnier(prediction: &Tensor, target: &Tensor, eps: f64) -> Result<Tensor> {
    let squares = difference("charbonnier", prediction, target)?.square()?;
    let square = Tensor::scalar(eps * eps, squares.dtype())?.item()?;
    if !(eps > 0.0 && square > 0.0 && square.is_finite()) {
        let message = format!(
            "charbonnier: eps must be positive, and its square a positive number in {}, got {eps}",
            squares.dtype()
        );
        return Err(crate::Error::Setting(message));
    }
    Ok(squares.affine(1.0, eps * eps)?.sqrt()?.mean_all()?)
}

/// The mean of −log softmax(`logits`) at the `targets`, PyTorch's `cross_entropy`. `logits` are
/// `[N, C]` or `[N, C, …]`, the scores of C classes; `targets` are the indices of classes, of i64,
/// `[N]` or `[N, …]`. No index is ignored, not even PyTorch's −100.
///
/// ```
/// use engine::Tensor;
/// let logits = Tensor::from_slice(&[0.0, 0.0, 3f64.ln(), 0.0], &[2, 2])?;
/// let targets = Tensor::from_slice(&[1i64, 0], &[2])?;
/// let loss = nn::loss::cross_entropy(&logits, &targets)?.item()?;
/// // The probabilities are 1/2 and 3/4.
/// assert!((loss - (2f64.ln() + (4.0f64 / 3.0).ln()) / 2.0).abs() < 1e-12);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// # Errors
/// If the shapes do not fit, or `targets` is not of i64. On the CPU, if a target is not a class; on
/// a GPU the loss is NaN then.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    const NAME: &str = "cross_entropy";
    let expected = match logits.shape() {
        [n, classes, rest @ ..] => Some(([&[*n], rest].concat(), *classes)),
        _ => None,
    };
    let Some((_, classes)) = expected.filter(|(shape, _)| shape == targets.shape()) else {
        let (logits, targets) = (logits.shape(), targets.shape());
        let message = format!("logits {logits:?} are not [N, C, …] for targets {targets:?} [N, …]");
        return Err(Error::shape(NAME, message).into());
    };
    let targets = indices::require_below::<Classes>(targets, classes)?;
    let scores = logits.log_softmax(1).map_err(|error| error.of(NAME))?;
    Ok(scores.gather(1, &targets.unsqueeze(1)?)?.mean_all()?.neg()?)
}

/// The classes that targets name.
struct Classes;

impl indices::Named for Classes {
    const OP: &'static str = "cross_entropy";

    fn out_of_range(index: i64, count: usize) -> String {
        format!("the target {index} is not a class: there are {count}, from 0 on")
    }
}

/// The mean of −t·log σ(x) − (1 − t)·log(1 − σ(x)), PyTorch's `binary_cross_entropy_with_logits`:
/// x are the `logits`, the scores of any number of questions with two answers, and t the `targets`,
/// the probabilities of yes, most often 1 or 0. The logarithms stay finite where the sigmoid σ is
/// rounded to 0 or 1.
///
/// ```
/// use engine::Tensor;
/// let logits = Tensor::from_slice(&[0.0, 3f64.ln(), 1000.0], &[3])?;
/// let targets = Tensor::from_slice(&[1.0, 0.0, 1.0], &[3])?;
/// let loss = nn::loss::binary_cross_entropy_with_logits(&logits, &targets)?.item()?;
/// // The probabilities of the right answers are 1/2, 1/4 and 1.
/// assert!((loss - (2f64.ln() + 4f64.ln()) / 3.0).abs() < 1e-12);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// # Errors
/// If the shapes or the dtypes differ.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    const NAME: &str = "binary_cross_entropy_with_logits";
    require_shape(NAME, logits, targets)?;
    // Those of yes, and those of no, which are 0: their softmax has σ(x) and 1 − σ(x).
    let no = logits.constant(&[0.0], &[])?.broadcast_to(logits.shape())?;
    let pair = Tensor::stack(&[logits, &no], 0)?;
    let logs = pair.log_softmax(0).map_err(|error| error.of(NAME))?;
    let [yes, no] = [0, 1].map(|answer| logs.narrow(0, answer, 1)?.squeeze(0));
    let (yes, no) = (yes?, no?);
    let by_yes = yes.mul(targets).map_err(|error| error.of(NAME))?;
    let by_no = targets.affine(-1.0, 1.0)?.mul(&no)?;
    Ok(by_yes.add(&by_no)?.mean_all()?.neg()?)
}

fn difference(op: &'static str, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    require_shape(op, prediction, target)?;
    Ok(prediction.sub(target).map_err(|error| error.of(op))?)
}

/// An error of the loss `op` unless both have one shape.
fn require_shape(op: &'static str, prediction: &Tensor, target: &Tensor) -> Result<()> {
    let (prediction, target) = (prediction.shape(), target.shape());
    if prediction == target {
        return Ok(());
    }
    let message = format!("the prediction is {prediction:?}, the target {target:?}");
    Err(Error::shape(op, message).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::checks::{GradCheck, gradcheck};
    use engine::{DType, Rng, Tape};

    type Loss = fn(&Tensor, &Tensor) -> Result<Tensor>;
    const PAIRWISE: [Loss; 4] =
        [mse, l1, |x, t| charbonnier(x, t, 0.1), binary_cross_entropy_with_logits];

    fn draw(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, DType::F64, &mut Rng::new(seed)).unwrap()
    }

    /// As an error of the engine, for its check of gradients.
    fn engine_error(error: crate::Error) -> Error {
        match error {
            crate::Error::Engine(error) => error,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, target) = (draw(&[2, 3, 4], 1), draw(&[2, 3, 4], 2));
        for loss in PAIRWISE {
            let f = |x: &[Tensor]| loss(&x[0], &x[1]).map_err(engine_error);
            gradcheck(f, &[x.clone(), target.clone()], &GradCheck::default()).unwrap();
        }
        let classes = Tensor::from_slice(&[2i64, 0, 1, 1, 2, 0, 2, 2], &[2, 4]).unwrap();
        let f = |x: &[Tensor]| cross_entropy(&x[0], &classes).map_err(engine_error);
        gradcheck(f, &[x], &GradCheck::default()).unwrap();
    }

    #[test]
    fn values_and_gradients_are_those_of_the_formulas() {
        let both = |loss: Loss| {
            let tape = Tape::new();
            let x = tape.leaf(&Tensor::from_slice(&[3.0, 1.0, -4.0, 0.0], &[2, 2]).unwrap());
            let target = Tensor::from_slice(&[0.0, 1.0, 0.0, 0.0], &[2, 2]).unwrap();
            let loss = loss(&x, &target).unwrap();
            assert!(loss.shape().is_empty());
            let gradients = tape.backward(&loss).unwrap();
            (loss.item().unwrap(), gradients.get(&x).unwrap().to_f64_vec().unwrap())
        };
        assert_eq!(both(mse), (25.0 / 4.0, vec![1.5, 0.0, -2.0, 0.0]));
        assert_eq!(both(l1), (7.0 / 4.0, vec![0.25, 0.0, -0.25, 0.0]));
        // √(9 + 16) = 5, √16 = 4, √(16 + 16); d/√(d² + 16) over 4.
        let (value, gradient) = both(|x, t| charbonnier(x, t, 4.0));
        assert!((value - (5.0 + 4.0 + 32f64.sqrt() + 4.0) / 4.0).abs() < 1e-15);
        for (found, expected) in gradient.iter().zip([0.15, 0.0, -0.125 * 2f64.sqrt(), 0.0]) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
        // (softmax − one-hot)/N: the probabilities are (1/4, 3/4), (1/2, 1/2).
        let tape = Tape::new();
        let logits = Tensor::from_slice(&[0.0, 3f64.ln(), 5.0, 5.0], &[2, 2]).unwrap();
        let logits = tape.leaf(&logits);
        let targets = Tensor::from_slice(&[1i64, 0], &[2]).unwrap();
        let loss = cross_entropy(&logits, &targets).unwrap();
        assert!((loss.item().unwrap() - ((4.0f64 / 3.0).ln() + 2f64.ln()) / 2.0).abs() < 1e-15);
        let gradient = tape.backward(&loss).unwrap().get(&logits).unwrap().to_f64_vec().unwrap();
        for (found, expected) in gradient.iter().zip([0.125, -0.125, -0.25, 0.25]) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
    }

    #[test]
    fn answers_are_scored_by_their_probabilities() {
        // At 0, where max(x, 0) and |x| have kinks, and far out, where the sigmoid is 0 or 1.
        let x = [0.0f64, 0.0, 2.0, -2.0, 800.0, -800.0, 1e300];
        let t = [1.0, 0.25, 0.0, 0.5, 0.0, 0.0, 1.0];
        let tape = Tape::new();
        let logits = tape.leaf(&Tensor::from_slice(&x, &[7]).unwrap());
        let targets = Tensor::from_slice(&t, &[7]).unwrap();
        let loss = binary_cross_entropy_with_logits(&logits, &targets).unwrap();
        // (1 − t)·x + log(1 + e^−x), in PyTorch's form, whose exponents are negative.
        let expected: f64 = x
            .iter()
            .zip(t)
            .map(|(&x, t)| (1.0 - t) * x + (-x.abs()).exp().ln_1p() + (-x).max(0.0))
            .sum();
        assert!((loss.item().unwrap() - expected / 7.0).abs() < 1e-13 * expected);
        // In f32 a sure answer still costs something.
        let [sure, yes] = [9.0, 1.0].map(|x| Tensor::full(&[1], x, DType::F32).unwrap());
        let cost = binary_cross_entropy_with_logits(&sure, &yes).unwrap().item().unwrap();
        assert!((cost - (-9f64).exp().ln_1p()).abs() < 1e-7, "{cost}");
        // (σ(x) − t)/N.
        let gradient = tape.backward(&loss).unwrap().get(&logits).unwrap().to_f64_vec().unwrap();
        for ((x, t), found) in x.iter().zip(t).zip(gradient) {
            let expected = (1.0 / (1.0 + (-x).exp()) - t) / 7.0;
            assert!((found - expected).abs() < 1e-15, "{x} {t}: {found} {expected}");
        }
    }

    #[test]
    fn maps_of_classes_are_as_their_pixels() {
        let maps = draw(&[2, 3, 2, 2], 3);
        let classes = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 1, 2, 2], &[2, 2, 2]).unwrap();
        let loss = cross_entropy(&maps, &classes).unwrap().item().unwrap();
        let pixels = maps.permute(&[0, 2, 3, 1]).unwrap().reshape(&[8, 3]).unwrap();
        let of_pixels = cross_entropy(&pixels, &classes.reshape(&[8]).unwrap()).unwrap();
        assert!((loss - of_pixels.item().unwrap()).abs() < 1e-15);
    }

    #[test]
    fn planned_losses_are_the_same() {
        let (x, target) = (draw(&[3, 5], 4), draw(&[3, 5], 5));
        let classes = Tensor::from_slice(&[4i64, 0, 2], &[3]).unwrap();
        let all = |x: &[Tensor]| {
            let mut losses: Vec<Tensor> =
                PAIRWISE.iter().map(|loss| loss(&x[0], &x[1])).collect::<Result<_>>()?;
            losses.push(cross_entropy(&x[0], &x[2])?);
            Ok::<_, crate::Error>(losses)
        };
        let inputs = [x, target, classes];
        let values = |losses: Vec<Tensor>| -> Vec<u64> {
            losses.iter().map(|loss| loss.item().unwrap().to_bits()).collect()
        };
        assert_eq!(values(engine::planned(&inputs, all).unwrap()), values(all(&inputs).unwrap()));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (x, row) = (draw(&[2, 3], 1), draw(&[3], 1));
        let names = ["mse", "l1", "charbonnier", "binary_cross_entropy_with_logits"];
        for (loss, name) in PAIRWISE.into_iter().zip(names) {
            let message = loss(&x, &row).unwrap_err().to_string();
            assert_eq!(message, format!("{name}: the prediction is [2, 3], the target [3]"));
        }
        let classes = |data: &[i64], shape: &[usize]| Tensor::from_slice(data, shape).unwrap();
        let message = |logits: &Tensor, targets: &Tensor| {
            cross_entropy(logits, targets).unwrap_err().to_string()
        };
        assert_eq!(
            message(&x, &classes(&[0, 1], &[2, 1])),
            "cross_entropy: logits [2, 3] are not [N, C, …] for targets [2, 1] [N, …]"
        );
        assert!(message(&row, &classes(&[0], &[])).contains("logits [3]"));
        for wrong in [3, -1, -100] {
            let expected =
                format!("cross_entropy: the target {wrong} is not a class: there are 3, from 0 on");
            let targets = classes(&[0, wrong], &[2]);
            assert_eq!(message(&x, &targets), expected);
            // The same in a plan, where it is found later.
            let planned = engine::planned(&[x.clone(), targets], |x| {
                Ok::<_, crate::Error>(vec![cross_entropy(&x[0], &x[1])?])
            });
            assert_eq!(planned.unwrap_err().to_string(), expected);
        }
        for eps in [0.0, -1e-3, f64::NAN, f64::INFINITY, 1e-200, 1e200] {
            let error = charbonnier(&x, &x, eps).unwrap_err().to_string();
            assert!(error.starts_with("charbonnier: eps must be positive"), "{error}");
        }
        let single = x.to_dtype(DType::F32).unwrap();
        for (loss, name) in PAIRWISE.into_iter().zip(names) {
            let error = loss(&x, &single).unwrap_err().to_string();
            assert_eq!(error, format!("{name}: expected dtype f64, got f32"));
        }
        let whole = x.to_dtype(DType::I64).unwrap();
        let error = message(&whole, &classes(&[0, 1], &[2]));
        assert!(error.starts_with("cross_entropy: expected dtype f32"), "{error}");
        assert!(charbonnier(&single, &single, 1e-30).is_err());
        assert!(charbonnier(&x, &x, 1e-30).is_ok());
        assert!(message(&x, &draw(&[2], 1)).contains("expected dtype i64"));
    }
}
