//! Exponential moving average of a model's values.

use crate::params::Params;
use crate::{Error, Result};
use engine::{Device, Tensor};

/// A second set of values that follows a model's at a distance: v ← d·v + (1 − d)·p after each step.
///
/// Restoration networks score a little higher with the average than with the last step's values. The decay is ramped,
/// min(d, (1 + t)/(10 + t)) at update t, so that the random start is forgotten soon.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    updates: u64,
    values: Vec<Tensor>,
}

impl Ema {
    /// An average that starts at the model's values, with `decay` in [0, 1).
    pub fn new(params: &Params, decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::Setting(format!("the moving average's decay must be in [0, 1), got {decay}")));
        }
        Ok(Self { decay, updates: 0, values: params.values() })
    }

    /// An average that goes on from saved values.
    pub fn resume(decay: f64, updates: u64, values: Vec<Tensor>) -> Self {
        Self { decay, updates, values }
    }

    /// The same average on `device`.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let values = self.values.iter().map(|value| Ok(value.to_device(device)?)).collect::<Result<_>>()?;
        Ok(Self { values, ..self })
    }

    /// Takes in the model's values after a step.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        let t = self.updates as f64;
        let decay = self.decay.min((1.0 + t) / (10.0 + t));
        for (value, entry) in self.values.iter_mut().zip(params.entries()) {
            *value = value.scale(decay)?.add(&entry.value.scale(1.0 - decay)?)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// The averaged values, in the order of [`Params`].
    pub fn values(&self) -> &[Tensor] {
        &self.values
    }

    /// How many steps it has seen.
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
        let (id, mut params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], 0.0))).unwrap();
        let mut ema = Ema::new(&params, 0.5).unwrap();
        params.set(id, Tensor::ones(&[1], DType::F64)).unwrap();
        ema.update(&params).unwrap();
        // The first update's decay is 1/10.
        assert!((ema.values()[0].item().unwrap() - 0.9).abs() < 1e-15);
        for _ in 0..50 {
            ema.update(&params).unwrap();
        }
        assert!((ema.values()[0].item().unwrap() - 1.0).abs() < 1e-12);
        assert!(Ema::new(&params, 1.0).is_err());
    }
}
