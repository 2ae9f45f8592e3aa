//! Softmax over one dimension: yᵢ = exp(xᵢ − max x) / Σⱼ exp(xⱼ − max x). Taking the maximum off
//! first changes nothing but that no exponential overflows.
//!
//! Backward: dx = y·(dy − Σ dy·y), from the saved output.

mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply, save_if};
use crate::{Error, Meta, Result, Tensor};

impl Tensor {
    /// Softmax over dimension `dim`: positive numbers that sum to 1 along it.
    pub fn softmax(&self, dim: usize) -> Result<Tensor> {
        apply(Softmax { dim }, &[self])
    }
}

struct Softmax {
    dim: usize,
}

impl Op for Softmax {
    const NAME: &'static str = "softmax";
    /// The output.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(Self::NAME, inputs[0].dtype)?;
        if self.dim >= inputs[0].shape.len() {
            let message =
                format!("there is no dimension {} in shape {:?}", self.dim, inputs[0].shape);
            return Err(Error::shape(Self::NAME, message));
        }
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let (x, dim) = (x[0], self.dim);
        let on_cpu = || {
            if x.numel() == 0 {
                return Ok(x.clone());
            }
            let exp = x.sub(&x.max(&[dim])?)?.exp()?;
            exp.div(&exp.sum(&[dim])?)
        };
        let y = x.on_device(on_cpu, |gpu| cuda::forward(gpu, x, dim))?;
        let saved = save_if(need[0], &y);
        Ok((y, saved))
    }

    fn backward(&self, y: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let gradient = |y: Tensor| {
            let on_cpu = || {
                let mean = dy.mul(&y)?.sum(&[self.dim])?;
                dy.sub(&mean)?.mul(&y)
            };
            y.on_device(on_cpu, |gpu| cuda::backward(gpu, &y, dy, self.dim))
        };
        Ok(vec![y.map(gradient).transpose()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn equal_numbers_share_equally_and_large_ones_do_not_overflow() {
        let x = Tensor::from_slice(&[1000.0f32, 1000.0, -1000.0, 3.0, 3.0, 3.0], &[2, 3]).unwrap();
        let third = 1.0f32 / 3.0;
        assert_eq!(
            x.softmax(1).unwrap().to_vec::<f32>().unwrap(),
            [0.5, 0.5, 0.0, third, third, third]
        );
    }

    #[test]
    fn weights_are_those_of_exponentials() {
        let x = Tensor::from_slice(&[0.0, 2.0f64.ln(), 5.0f64.ln()], &[3, 1]).unwrap();
        for (y, expected) in
            x.softmax(0).unwrap().to_f64_vec().unwrap().into_iter().zip([0.125, 0.25, 0.625])
        {
            assert!((y - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn an_empty_tensor_stays_empty_and_errors_name_the_shape() {
        assert_eq!(Tensor::zeros(&[2, 0], DType::F32).unwrap().softmax(1).unwrap().shape(), [2, 0]);
        let message =
            Tensor::zeros(&[2, 3], DType::F32).unwrap().softmax(2).unwrap_err().to_string();
        assert_eq!(message, "softmax: there is no dimension 2 in shape [2, 3]");
    }
}
