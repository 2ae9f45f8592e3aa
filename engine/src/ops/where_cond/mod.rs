//! A choice between two tensors, element by element, by a mask.
//!
//! Backward: dy where the element was chosen, and 0 elsewhere. The choice is not a product with the
//! mask, so that NaN and infinities that were not chosen do not show, in the value or the gradient.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::pointwise;
use super::{Op, apply};
use crate::layout::broadcast_shape;
use crate::ops::map;
use crate::{Element, Error, Meta, Result, Tensor, dispatch_element};
use kernels::pointwise::WHERE_COND;

impl Tensor {
    /// The elements of `yes` where this mask is not 0, and those of `no` where it is, all broadcast
    /// to a common shape: PyTorch's `torch.where(self, yes, no)`. The three have one dtype; on a
    /// GPU it must be a floating-point type. [Comparisons](Tensor::lt) make masks.
    ///
    /// Elements that are not chosen get a gradient of exactly 0, and the mask gets none. An
    /// operation before the choice may still turn that 0 into NaN, as the logarithm does at 0,
    /// whose gradient is 0 / 0: choose its argument as well.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::from_slice(&[-1.0, 0.0, 4.0], &[3])?;
    /// let zero = Tensor::scalar(0.0, DType::F64)?;
    /// let roots = x.gt(0.0)?.where_cond(&x.sqrt()?, &zero)?;
    /// assert_eq!(roots.to_f64_vec()?, [0.0, 0.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the dtypes differ or the shapes do not broadcast together.
    pub fn where_cond(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        apply(WhereCond, &[self, yes, no])
    }
}

#[derive(Debug)]
struct WhereCond;

impl Op for WhereCond {
    const NAME: &'static str = "where_cond";
    /// The mask.
    type Saved = Tensor;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = inputs[1].dtype;
        if let Some(other) = inputs.iter().find(|input| input.dtype != dtype) {
            return Err(Error::dtype(Self::NAME, dtype, other.dtype));
        }
        let shape = broadcast_shape(Self::NAME, &inputs[1].shape, &inputs[2].shape)?;
        Ok(Meta { shape: broadcast_shape(Self::NAME, &inputs[0].shape, &shape)?, dtype })
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, Tensor)> {
        let on_cpu = || {
            dispatch_element!(out.dtype, T => {
                let zero = <T as Element>::from_f64(0.0);
                map(Self::NAME, &out.shape, [x[0], x[1], x[2]], move |[mask, yes, no]: [T; 3]| {
                    if mask != zero { yes } else { no }
                })
            })
        };
        let y = x[0].on_device(on_cpu, |gpu| {
            crate::dispatch::require_compute(Self::NAME, out.dtype)?;
            pointwise(gpu, WHERE_COND, &out.shape, x, [0.0; 2])
        })?;
        Ok((y, x[0].detach()))
    }

    fn differentiable(&self, input: usize) -> bool {
        input > 0
    }

    fn backward(&self, mask: Tensor, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let zero = dy.constant(&[0.0], &[])?;
        let yes = need[1].then(|| mask.where_cond(dy, &zero)).transpose()?;
        let no = need[2].then(|| mask.where_cond(&zero, dy)).transpose()?;
        Ok(vec![None, yes, no])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape};

    #[test]
    fn nan_that_is_not_chosen_shows_nowhere() {
        let tape = Tape::new();
        let [nan, infinite] = [f64::NAN, f64::INFINITY];
        let mask = Tensor::from_slice(&[1.0, 0.0, nan, -2.0], &[4]).unwrap();
        let yes = tape.leaf(&Tensor::from_slice(&[1.0, nan, 3.0, 4.0], &[4]).unwrap());
        let no = tape.leaf(&Tensor::from_slice(&[nan, 20.0, infinite, nan], &[4]).unwrap());
        let y = mask.where_cond(&yes, &no).unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [1.0, 20.0, 3.0, 4.0]);
        let gradients = tape.backward(&y.square().unwrap().sum_all().unwrap()).unwrap();
        let of = |x: &Tensor| gradients.get(x).unwrap().to_f64_vec().unwrap();
        assert_eq!((of(&yes), of(&no)), (vec![2.0, 0.0, 6.0, 8.0], vec![0.0, 40.0, 0.0, 0.0]));
    }

    #[test]
    fn all_three_broadcast_and_integers_are_chosen_too() {
        let mask = Tensor::from_slice(&[0i64, 1], &[2, 1]).unwrap();
        let yes = Tensor::from_slice(&[1i64, 2, 3], &[3]).unwrap();
        let no = Tensor::scalar(-1.0, DType::I64).unwrap();
        let y = mask.where_cond(&yes, &no).unwrap();
        assert_eq!(y.to_vec::<i64>().unwrap(), [-1, -1, -1, 1, 2, 3]);
        let message = mask.where_cond(&yes, &Tensor::zeros(&[4], DType::I64).unwrap());
        assert_eq!(
            message.unwrap_err().to_string(),
            "where_cond: shapes [3] and [4] do not broadcast together"
        );
        let message = mask.where_cond(&yes, &Tensor::zeros(&[3], DType::U8).unwrap());
        assert_eq!(message.unwrap_err().to_string(), "where_cond: expected dtype i64, got u8");
    }
}
