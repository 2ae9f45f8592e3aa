//! Exponential moving average of a model's values.

use crate::params::Params;
use crate::{Error, Result};
use engine::optimizer::{self, StepScalars};
use engine::{Device, Tensor};

/// A second set of values that follows a model's values slowly: v ← d·v + (1 − d)·p after each
/// step.
///
/// Restoration networks score a little higher with the average than with the values of the last
/// step. The decay is ramped, min(d, (1 + t)/(10 + t)) at update t, so the random start is soon
/// forgotten.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::{Ema, Params};
/// let (w, mut params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 0.0)))?;
/// let mut ema = Ema::new(&params, 0.999)?;
/// params.set(w, Tensor::scalar(1.0, DType::F64)?)?;
/// ema.update(&params)?;
/// // The first decay is 1/10.
/// assert_eq!(ema.values()[0].item()?, 0.9);
/// // Saved, and resumed.
/// let saved = (ema.updates(), ema.values().to_vec());
/// let mut resumed = Ema::resume(0.999, saved.0, saved.1)?;
/// (ema.update(&params)?, resumed.update(&params)?);
/// assert_eq!(resumed.values()[0].item()?, ema.values()[0].item()?);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    updates: u64,
    values: Vec<Tensor>,
    /// The decay of the next update.
    scalars: StepScalars,
}

impl Ema {
    /// An average that starts at the model's values, with `decay` in [0, 1).
    ///
    /// # Errors
    /// [`Error::Setting`] for another decay.
    pub fn new(params: &Params, decay: f64) -> Result<Self> {
        Self::resume(decay, 0, params.values())
    }

    /// An average that resumes from saved values, with `decay` in [0, 1). They are shared, not
    /// copied, and kept off any tape.
    ///
    /// # Errors
    /// [`Error::Setting`] for another decay.
    pub fn resume(decay: f64, updates: u64, values: Vec<Tensor>) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::Setting(format!(
                "the moving average's decay must be in [0, 1), got {decay}"
            )));
        }
        let values = values.iter().map(Tensor::detach).collect();
        Ok(Self { decay, updates, values, scalars: StepScalars::default() })
    }

    /// The same average on `device`.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let values =
            self.values.iter().map(|value| Ok(value.to_device(device)?)).collect::<Result<_>>()?;
        Ok(Self { values, scalars: StepScalars::default(), ..self })
    }

    /// Adds the model's values after a step to the average.
    ///
    /// # Errors
    /// If they do not fit: [`Error::Setting`]. Nothing is counted then.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        params.require_fit(&self.values)?;
        let before = self.updates;
        let updated = self.count().and_then(|()| self.apply(params, None, false));
        if updated.is_err() {
            self.restore(before);
        }
        updated
    }

    /// Counts an update and sets its decay.
    pub(crate) fn count(&mut self) -> Result<()> {
        let t = self.updates as f64;
        let decay = self.decay.min((1.0 + t) / (10.0 + t));
        self.scalars.set(vec![optimizer::decay_scalars(decay)])?;
        self.updates = self.updates.saturating_add(1);
        Ok(())
    }

    /// Puts back an earlier count.
    pub(crate) fn restore(&mut self, updates: u64) {
        self.updates = updates;
    }

    /// Adds the model's values with the decay of the last counted update, unless `norm`, by which
    /// the step was clipped, is not finite.
    pub(crate) fn apply(
        &mut self,
        params: &Params,
        norm: Option<&Tensor>,
        in_place: bool,
    ) -> Result<()> {
        let values: Vec<&Tensor> = params.entries().iter().map(|entry| &entry.value).collect();
        Ok(optimizer::average(&mut self.scalars, &mut self.values, &values, norm, in_place)?)
    }

    /// The averaged values, in the order of [`Params`].
    pub fn values(&self) -> &[Tensor] {
        &self.values
    }

    /// The number of updates.
    pub fn updates(&self) -> u64 {
        self.updates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::DType;

    #[test]
    fn it_follows_the_model() {
        let (id, mut params) =
            Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], 0.0))).unwrap();
        let mut ema = Ema::new(&params, 0.5).unwrap();
        params.set(id, Tensor::ones(&[1], DType::F64).unwrap()).unwrap();
        ema.update(&params).unwrap();
        // The first update's decay is 1/10.
        assert!((ema.values()[0].item().unwrap() - 0.9).abs() < 1e-15);
        for _ in 0..50 {
            ema.update(&params).unwrap();
        }
        assert!((ema.values()[0].item().unwrap() - 1.0).abs() < 1e-12);
        assert!(Ema::new(&params, 1.0).is_err());
        // Counts do not overflow.
        let mut ema = Ema::resume(0.5, u64::MAX, params.values()).unwrap();
        params.set(id, Tensor::zeros(&[1], DType::F64).unwrap()).unwrap();
        ema.update(&params).unwrap();
        assert_eq!((ema.updates(), ema.values()[0].item().unwrap()), (u64::MAX, 0.5));
    }

    #[test]
    fn a_decay_out_of_range_is_refused() {
        let (_, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], 0.0))).unwrap();
        for decay in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            let expected = format!("the moving average's decay must be in [0, 1), got {decay}");
            for made in [Ema::new(&params, decay), Ema::resume(decay, 3, params.values())] {
                assert_eq!(made.unwrap_err().to_string(), expected);
            }
        }
    }

    #[test]
    fn a_resumed_average_is_off_the_tape() {
        let (_, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], 0.0))).unwrap();
        let tape = engine::Tape::new();
        let values = vec![tape.leaf(&params.values()[0])];
        let mut ema = Ema::resume(0.5, 0, values).unwrap();
        ema.update(&params).unwrap();
        assert!(tape.operations().is_empty() && tape.node_id(&ema.values()[0]).is_none());
    }

    #[test]
    fn an_update_of_another_model_is_not_counted() {
        let built = |count: usize| {
            Params::build(0, DType::F64, |b| Ok(b.constant("w", &[count], 0.0))).unwrap().1
        };
        let mut ema = Ema::new(&built(1), 0.5).unwrap();
        assert!(ema.update(&built(2)).is_err());
        assert_eq!(ema.updates(), 0);
    }
}
