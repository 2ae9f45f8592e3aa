//! Softplus, a relu without a corner: y = ln(1 + eˣ).
//!
//! Backward: dx = dy·σ(x) with σ(x) = 1/(1 + e⁻ˣ), from the saved x.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply, map, save_if};
use crate::{Meta, Result, Tensor, dispatch_float};

impl Tensor {
    /// ln(1 + eˣ) of every element.
    pub fn softplus(&self) -> Result<Tensor> {
        apply(Softplus, &[self])
    }
}

struct Softplus;

impl Op for Softplus {
    const NAME: &'static str = "softplus";
    /// The input.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(Self::NAME, inputs[0].dtype)?;
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let y = dispatch_float!(Self::NAME, x[0].dtype(), T => {
            // max(x, 0) + ln(1 + e⁻|x|): the same number, and eˣ cannot overflow.
            map(Self::NAME, x[0].shape(), [x[0]], |[x]: [T; 1]| {
                x.max(0.0) + (-x.abs()).exp().ln_1p()
            })
        })?;
        Ok((y, save_if(need[0], x[0])))
    }

    fn backward(&self, x: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let gradient = |x: Tensor| {
            dispatch_float!(Self::NAME, dy.dtype(), T => {
                map(Self::NAME, dy.shape(), [&x, dy], |[x, dy]: [T; 2]| dy / (1.0 + (-x).exp()))
            })
        };
        Ok(vec![x.map(gradient).transpose()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_do_not_overflow() {
        let x = Tensor::from_slice(&[-1000.0f32, 0.0, 1000.0], &[3]).unwrap();
        let y = x.softplus().unwrap().to_vec::<f32>().unwrap();
        assert_eq!(y, [0.0, std::f32::consts::LN_2, 1000.0]);
    }
}
