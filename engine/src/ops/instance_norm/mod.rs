//! Instance normalization (Ulyanov et al., 2016): every channel of every image brought to mean 0
//! and variance 1 over its own pixels, then scaled and shifted. There are no running statistics.
//! The arithmetic is in `ops/normalize/mod.rs`.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::normalize::{self, Normalize, Saved, Statistics};
use super::{Op, apply};
use crate::{Error, Meta, Result, Tensor, trace};

const NAME: &str = "instance_norm";

impl Tensor {
    /// `[N, C, H, W]` normalized by each map's own mean and biased variance over H and W, times
    /// `weight` `[C]`, plus `bias` `[C]`. Needs at least two pixels.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 3.0, 0.0, 8.0], &[1, 2, 1, 2])?;
    /// let weight = Tensor::from_slice(&[1.0, 10.0], &[2])?;
    /// let bias = Tensor::from_slice(&[0.0, 5.0], &[2])?;
    /// let y = x.instance_norm(&weight, &bias, 0.0)?;
    /// assert_eq!(y.to_f64_vec()?, [-1.0, 1.0, -5.0, 15.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn instance_norm(&self, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
        let inputs = [self, weight, bias];
        let y = infer(&inputs.map(Tensor::meta))?;
        let later = move |x: &[Tensor]| Ok(vec![x[0].instance_norm(&x[1], &x[2], eps)?]);
        if let Some(mut traced) = trace::defer(NAME, ByItself { eps }, &inputs, &[y], later)? {
            return Ok(traced.swap_remove(0));
        }
        let statistics = Statistics::of(NAME, self, self.shape()[0])?;
        apply(InstanceNorm(Normalize { statistics, eps, of_input: true, whole: None }), &inputs)
    }
}

/// Instance normalization as plans know it: of x, by a weight and a bias.
pub(crate) struct ByItself {
    pub(crate) eps: f64,
}

/// The mean and the biased variance of each channel of one image `[1, C, H, W]`.
pub(crate) fn moments(x: &Tensor) -> Result<[Vec<f64>; 2]> {
    let Statistics { mean, var } = Statistics::of(NAME, x, 1)?;
    Ok([mean.to_f64_vec()?, var.to_f64_vec()?])
}

struct InstanceNorm(Normalize);

impl Op for InstanceNorm {
    const NAME: &'static str = NAME;
    type Saved = Saved;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Saved)> {
        self.0.forward(NAME, inputs, need)
    }

    fn backward(&self, saved: Saved, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        self.0.backward(NAME, saved, dy, need)
    }
}

fn infer(inputs: &[Meta]) -> Result<Meta> {
    let x = normalize::infer(NAME, &inputs[0], &[("weight", &inputs[1]), ("bias", &inputs[2])])?;
    if x.shape[2] * x.shape[3] < 2 {
        let why = "a map needs more than one pixel (a single one has no variance)";
        return Err(Error::shape(NAME, format!("{why}, got shape {:?}", x.shape)));
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn every_map_is_brought_to_its_own_scale() {
        let x = Tensor::from_slice(&[1.0, 3.0, 0.0, 8.0, 10.0, 30.0, -1.0, 1.0], &[2, 2, 1, 2])
            .unwrap();
        let weight = Tensor::from_slice(&[5.0, 2.0], &[2]).unwrap();
        let bias = Tensor::from_slice(&[0.0, 1.0], &[2]).unwrap();
        let y = x.instance_norm(&weight, &bias, 0.0).unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [-5.0, 5.0, -1.0, 3.0, -5.0, 5.0, -1.0, 3.0]);
    }

    #[test]
    fn a_constant_map_becomes_the_bias() {
        let (x, one) = (
            Tensor::full(&[1, 1, 3, 3], 7.0, DType::F32).unwrap(),
            Tensor::ones(&[1], DType::F32).unwrap(),
        );
        assert_eq!(x.instance_norm(&one, &one, 1e-5).unwrap().to_f64_vec().unwrap(), [1.0; 9]);
    }

    #[test]
    fn an_empty_batch_is_accepted() {
        let (x, one) = (
            Tensor::zeros(&[0, 1, 3, 3], DType::F32).unwrap(),
            Tensor::ones(&[1], DType::F32).unwrap(),
        );
        assert_eq!(x.instance_norm(&one, &one, 1e-5).unwrap().shape(), [0, 1, 3, 3]);
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let (x, one) = (
            Tensor::zeros(&[3, 1, 1, 1], DType::F32).unwrap(),
            Tensor::ones(&[1], DType::F32).unwrap(),
        );
        assert_eq!(
            x.instance_norm(&one, &one, 1e-5).unwrap_err().to_string(),
            "instance_norm: a map needs more than one pixel (a single one has no variance), got \
             shape [3, 1, 1, 1]"
        );
        let two = Tensor::ones(&[2], DType::F32).unwrap();
        assert_eq!(
            x.instance_norm(&two, &one, 1e-5).unwrap_err().to_string(),
            "instance_norm: weight must have shape [1] for x [3, 1, 1, 1], got [2]"
        );
    }
}
