//! Dropout.

use super::Module;
use crate::{Context, Cost, Error, LayerKind, Result};
use engine::{DType, Element, Rng, Tensor};

/// Dropout (Srivastava et al. 2014): in training every element becomes 0 with probability p, and
/// the others are divided by 1 − p. In evaluation, the identity.
///
/// The places depend on the [seed and step](Context::with_seed) of the pass, and on how many layers
/// have drawn in it before. So a run is the same each time, also resumed. Inside an
/// [`engine::Replay`] on a GPU, a recording would drop the same places in every step.
///
/// ```
/// use engine::{DType, Tape, Tensor};
/// use nn::layers::{Dropout, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, DType::F64, |_| Ok(()))?;
/// let (dropout, x) = (Dropout::new(0.5)?, Tensor::ones(&[1000], DType::F64)?);
/// let tape = Tape::new();
/// let pass = |step| Context::training(&params, &tape).with_seed(7, step);
/// let dropped = |step| dropout.forward(&pass(step), &x).and_then(|y| Ok(y.to_f64_vec()?));
/// assert_eq!(dropped(3)?, dropped(3)?);
/// assert_ne!(dropped(3)?, dropped(4)?);
/// let evaluated = dropout.forward(&Context::inference(&params), &x)?;
/// assert_eq!(evaluated.to_f64_vec()?, x.to_f64_vec()?);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout(f64);

impl Dropout {
    /// A layer that drops with probability `p`.
    ///
    /// # Errors
    /// [`Error::Setting`] if `p` is not in [0, 1).
    pub fn new(p: f64) -> Result<Self> {
        match (0.0..1.0).contains(&p) {
            true => Ok(Self(p)),
            false => Err(Error::Setting(format!("dropout: p must be in [0, 1), got {p}"))),
        }
    }
}

impl Module for Dropout {
    /// # Errors
    /// In training, if the pass has no seed.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let Self(p) = *self;
        let y = if cx.is_training() && p > 0.0 {
            let factors = match x.dtype() {
                DType::F64 => factors::<f64>(x.shape(), p, cx.rng()?)?,
                dtype => factors::<f32>(x.shape(), p, cx.rng()?)?.to_dtype(dtype)?,
            };
            let factors = factors.to_device(x.device())?;
            x.mul(&factors).map_err(|error| error.of("dropout"))?
        } else {
            x.clone()
        };
        cx.report(|| Cost::new("", LayerKind::Dropout, x, &y));
        Ok(y)
    }
}

/// 0 for the elements to drop, 1/(1 − p) for the others.
fn factors<T: Element>(shape: &[usize], p: f64, mut rng: Rng) -> Result<Tensor> {
    let [dropped, kept] = [0.0, 1.0 / (1.0 - p)].map(T::from_f64);
    Ok(Tensor::build(shape, |factors: &mut [T]| {
        factors.fill_with(|| if rng.chance(p) { dropped } else { kept });
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mode, Params};

    #[test]
    fn integers_are_refused_by_name() {
        let (_, params) = Params::build(0, DType::F64, |_| Ok(())).unwrap();
        let cx = Context::new(&params, Mode::Train, None).with_seed(7, 3);
        let x = Tensor::ones(&[2], DType::I64).unwrap();
        let message = Dropout::new(0.5).unwrap().forward(&cx, &x).unwrap_err().to_string();
        assert!(message.starts_with("dropout: expected dtype f32"), "{message}");
    }

    #[test]
    fn elements_are_scaled_in_their_own_precision() {
        let (_, params) = Params::build(0, DType::F64, |_| Ok(())).unwrap();
        let dropped = |dtype| {
            let cx = Context::new(&params, Mode::Train, None).with_seed(7, 3);
            let x = Tensor::ones(&[100], dtype).unwrap();
            let y = Dropout::new(0.3).unwrap().forward(&cx, &x).unwrap();
            y.to_f64_vec().unwrap()
        };
        for (x, y) in dropped(DType::F64).into_iter().zip(dropped(DType::F32)) {
            let factor = 1.0 / (1.0 - 0.3);
            assert!([(0.0, 0.0), (factor, f64::from(factor as f32))].contains(&(x, y)), "{x} {y}");
        }
    }
}
