//! Dropout.

use super::Module;
use crate::{Context, Cost, Error, LayerKind, Result};
use engine::Tensor;

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
            let (mut rng, kept) = (cx.rng()?, (1.0 / (1.0 - p)) as f32);
            let factors = Tensor::build(x.shape(), |factors: &mut [f32]| {
                factors.fill_with(|| if rng.chance(p) { 0.0 } else { kept });
            })?;
            x.mul(&factors.to_dtype(x.dtype())?.to_device(x.device())?)?
        } else {
            x.clone()
        };
        cx.report(|| Cost::new("", LayerKind::Dropout, x, &y));
        Ok(y)
    }
}
