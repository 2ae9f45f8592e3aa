//! Softmax over one dimension: yᵢ = exp(xᵢ − max x) / Σⱼ exp(xⱼ − max x), and its logarithm yᵢ =
//! xᵢ − max x − log Σⱼ exp(xⱼ − max x). Taking the maximum off first changes nothing but that no
//! exponential overflows. The logarithm of a softmax that has underflowed to 0 would be −∞;
//! computed together it is a finite number.
//!
//! Backward, from the saved output: dx = y·(dy − Σ dy·y) of softmax, dx = dy − exp(y)·Σ dy of its
//! logarithm.

mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply, save_if};
use crate::{Meta, Result, Tensor};

impl Tensor {
    /// Softmax over dimension `dim`: positive numbers that sum to 1 along it.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 0.0, 1000.0, 0.0], &[2, 2])?;
    /// assert_eq!(x.softmax(1)?.to_f64_vec()?, [0.5, 0.5, 1.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn softmax(&self, dim: usize) -> Result<Tensor> {
        apply(Softmax { dim }, &[self])
    }

    /// The logarithm of [`softmax`](Tensor::softmax) over dimension `dim`. It stays finite where
    /// the softmax underflows.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, -1000.0], &[1, 2])?;
    /// assert_eq!(x.log_softmax(1)?.to_f64_vec()?, [0.0, -1000.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no dimension `dim`, or the dtype is an integer.
    pub fn log_softmax(&self, dim: usize) -> Result<Tensor> {
        apply(LogSoftmax { dim }, &[self])
    }
}

#[derive(Debug)]
struct Softmax {
    dim: usize,
}

#[derive(Debug)]
struct LogSoftmax {
    dim: usize,
}

impl Op for Softmax {
    const NAME: &'static str = "softmax";
    /// The output.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, &inputs[0], self.dim)
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let (x, dim) = (x[0], self.dim);
        let on_cpu = || {
            let exp = x.sub(&x.amax_keepdim(&[dim])?)?.exp()?;
            exp.div(&exp.sum_keepdim(&[dim])?)
        };
        let y = x.on_device(on_cpu, |gpu| cuda::forward(gpu, x, dim, false))?;
        let saved = save_if(need[0], &y);
        Ok((y, saved))
    }

    fn backward(&self, y: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let gradient = |y: Tensor| {
            let on_cpu = || {
                let mean = dy.mul(&y)?.sum_keepdim(&[self.dim])?;
                dy.sub(&mean)?.mul(&y)
            };
            y.on_device(on_cpu, |gpu| cuda::backward(gpu, &y, dy, self.dim))
        };
        Ok(vec![y.map(gradient).transpose()?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl Op for LogSoftmax {
    const NAME: &'static str = "log_softmax";
    /// The output.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, &inputs[0], self.dim)
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let (x, dim) = (x[0], self.dim);
        let on_cpu = || {
            let below = x.sub(&x.amax_keepdim(&[dim])?)?;
            below.sub(&below.exp()?.sum_keepdim(&[dim])?.log()?)
        };
        let y = x.on_device(on_cpu, |gpu| cuda::forward(gpu, x, dim, true))?;
        let saved = save_if(need[0], &y);
        Ok((y, saved))
    }

    fn backward(&self, y: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let gradient = |y: Tensor| {
            let sum = dy.sum_keepdim(&[self.dim])?;
            dy.sub(&y.exp()?.mul(&sum)?)
        };
        Ok(vec![y.map(gradient).transpose()?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

/// The shape rule of both.
fn infer(op: &'static str, x: &Meta, dim: usize) -> Result<Meta> {
    crate::dispatch::require_compute(op, x.dtype)?;
    x.dim(op, dim)?;
    Ok(x.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape};

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
    fn logarithms_are_those_of_pytorch() {
        let tape = Tape::new();
        let x = Tensor::from_slice(&[0.5, -1.0, 2.0, 3.0, 3.0, -700.0], &[2, 3]).unwrap();
        let x = tape.leaf(&x);
        let y = x.log_softmax(1).unwrap();
        let dy = Tensor::from_slice(&[1.0, 2.0, -3.0, 0.5, 0.0, 1.0], &[2, 3]).unwrap();
        let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
        // By torch.log_softmax in f64.
        let expected = [
            -1.7413112966571571,
            -3.241311296657157,
            -0.24131129665715703,
            -std::f64::consts::LN_2,
            -std::f64::consts::LN_2,
            -703.6931471805599,
        ];
        for (y, expected) in y.to_f64_vec().unwrap().iter().zip(expected) {
            assert!((y - expected).abs() <= 4e-16 * expected.abs(), "{y} {expected}");
        }
        let dx = gradients.get(&x).unwrap().to_f64_vec().unwrap();
        for (dx, expected) in dx.iter().zip([1.0, 2.0, -3.0, -0.25, -0.75, 1.0]) {
            assert!((dx - expected).abs() < 1e-15, "{dx} {expected}");
        }
    }

    #[test]
    fn logarithms_do_not_underflow() {
        let x = Tensor::from_slice(&[1e4f32, 0.0, -1e4], &[3]).unwrap();
        assert_eq!(x.log_softmax(0).unwrap().to_vec::<f32>().unwrap(), [0.0, -1e4, -2e4]);
        let none = Tensor::zeros(&[0, 2], DType::F32).unwrap();
        assert_eq!(none.log_softmax(0).unwrap().shape(), [0, 2]);
    }

    #[test]
    fn an_empty_tensor_stays_empty_and_errors_name_the_shape() {
        assert_eq!(Tensor::zeros(&[2, 0], DType::F32).unwrap().softmax(1).unwrap().shape(), [2, 0]);
        let message =
            Tensor::zeros(&[2, 3], DType::F32).unwrap().softmax(2).unwrap_err().to_string();
        assert_eq!(message, "softmax: there is no dimension 2 in shape [2, 3]");
    }
}
