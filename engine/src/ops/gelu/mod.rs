//! GELU, the exact one: y = x·Φ(x), where Φ(x) = ½(1 + erf(x/√2)) (Hendrycks and Gimpel, 2016).
//!
//! Backward: dx = dy·(Φ(x) + x·φ(x)), computed from the saved x in one pass: that costs about as
//! much as reading a saved derivative would, and half the memory. `cpu/gelu.rs` has the arithmetic.
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::pointwise;
use super::{Op, apply, save_if};
pub(crate) use crate::cpu::gelu::{Gelu, gelu_in_place};
use crate::ops::map;
use crate::rows::RowRule;
use crate::{Meta, Result, Tensor, dispatch_float};
use kernels::pointwise::{GELU, GELU_GRADIENT};

impl Tensor {
    /// x·Φ(x) of every element, within 3.2e-7 in f32 and to rounding in f64; 0 at −∞.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[f64::NEG_INFINITY, 0.0, 1.0], &[3])?;
    /// let y = x.gelu()?.to_f64_vec()?;
    /// assert!(y[0] == 0.0 && y[1] == 0.0 && (y[2] - 0.841344746).abs() < 1e-9);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn gelu(&self) -> Result<Tensor> {
        apply(GeluOp, &[self])
    }
}

pub(crate) struct GeluOp;

impl Op for GeluOp {
    const NAME: &'static str = "gelu";
    /// The input.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(Self::NAME, inputs[0].dtype)?;
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let x = x[0];
        let on_cpu = || {
            dispatch_float!(Self::NAME, x.dtype(), T => {
                map(Self::NAME, x.shape(), [x], |[x]: [T; 1]| x.gelu())
            })
        };
        let y = x.on_device(on_cpu, |gpu| pointwise(gpu, GELU, x.shape(), &[x], [0.0; 2]))?;
        Ok((y, save_if(need[0], x)))
    }

    fn backward(&self, x: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![x.map(|x| gradient(&x, dy)).transpose()?])
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

/// The gradient before a GELU that an operation took of its result, if it did and saved `z`, the
/// result before it.
pub(in crate::ops) fn backward_if_fused(z: Option<&Tensor>, dy: &Tensor) -> Result<Tensor> {
    z.map_or_else(|| Ok(dy.clone()), |z| gradient(z, dy))
}

/// dy·gelu′(x).
fn gradient(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    dy.on_device(
        || {
            dispatch_float!(GeluOp::NAME, dy.dtype(), T => {
                map(GeluOp::NAME, dy.shape(), [x, dy], |[x, dy]: [T; 2]| dy * x.gelu_derivative())
            })
        },
        |gpu| pointwise(gpu, GELU_GRADIENT, dy.shape(), &[x, dy], [0.0; 2]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Rng, Tape};

    #[test]
    fn value_and_gradient_at_one() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::scalar(1.0, DType::F64).unwrap());
        let y = x.gelu().unwrap();
        assert!((y.item().unwrap() - 0.841_344_746_068_543).abs() < 1e-15);
        let gradients = tape.backward(&y).unwrap();
        assert!((gradients.get(&x).unwrap().item().unwrap() - 1.083_315_470_587_686).abs() < 1e-15);
    }

    #[test]
    fn long_tensors_and_strided_ones_get_the_bits_of_single_numbers() {
        let x = Tensor::randn(&[2, 5, 90, 101], DType::F32, &mut Rng::new(3))
            .unwrap()
            .scale(3.0)
            .unwrap();
        let expected: Vec<f32> = x.to_vec::<f32>().unwrap().into_iter().map(Gelu::gelu).collect();
        assert_eq!(x.gelu().unwrap().to_vec::<f32>().unwrap(), expected);
        let wide = x.permute(&[3, 1, 0, 2]).unwrap().broadcast_to(&[101, 5, 2, 90]).unwrap();
        assert_eq!(
            wide.gelu().unwrap().permute(&[2, 1, 3, 0]).unwrap().to_vec::<f32>().unwrap(),
            expected
        );
    }

    #[test]
    fn only_floats() {
        let message = Tensor::ones(&[2], DType::I64).unwrap().gelu().unwrap_err().to_string();
        assert_eq!(message, "gelu: expected dtype f32 or f64, got i64");
    }
}
