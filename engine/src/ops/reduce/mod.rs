//! Sums, means, maxima and their places over dimensions.
//!
//! Determinism: the elements that go into one output are cut into pieces of a constant size; each
//! piece is summed in order, and the pieces are added in order. Threads only decide who does which
//! piece.
//!
//! Backward of a sum repeats dy; of a mean divides it by the count first; of a maximum gives it to
//! the first largest element.

mod cpu;
pub(crate) mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;
#[cfg(test)]
mod tests;

use super::view::Shape;
use super::{Op, apply};
use crate::{DType, Error, Meta, Result, Tensor};

impl Tensor {
    /// The sum over `dims`, which the result does not have. No dimensions: a copy.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// let sums = x.sum(&[1])?;
    /// assert_eq!((sums.shape(), sums.to_f64_vec()?), (&[2][..], vec![6.0, 15.0]));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn sum(&self, dims: &[usize]) -> Result<Tensor> {
        self.sum_keepdim(dims)?.without(dims)
    }

    /// Like [`sum`](Self::sum), but `dims` remain with size 1, so that the result broadcasts to
    /// this tensor.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.sum_keepdim(&[1])?.shape(), [2, 1]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn sum_keepdim(&self, dims: &[usize]) -> Result<Tensor> {
        apply(ScaledSum { dims: dims.to_vec(), scale: 1.0 }, &[self])
    }

    /// The mean over `dims`, which the result does not have. Over no elements it is NaN.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.mean(&[0])?.to_f64_vec()?, [2.5, 3.5, 4.5]);
    /// assert_eq!(x.mean(&[0, 1])?.shape(), []);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn mean(&self, dims: &[usize]) -> Result<Tensor> {
        self.mean_keepdim(dims)?.without(dims)
    }

    /// Like [`mean`](Self::mean), but `dims` remain with size 1.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// let centered = x.sub(&x.mean_keepdim(&[1])?)?;
    /// assert_eq!(centered.to_f64_vec()?, [-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn mean_keepdim(&self, dims: &[usize]) -> Result<Tensor> {
        let mean = infer("mean", &self.meta(), dims)?;
        let scale = mean.numel().max(1) as f64 / self.numel() as f64;
        // In half precision the sum may be larger than the largest number.
        let mean = match self.dtype() {
            DType::F16 | DType::BF16 => apply(ScaledSum { dims: dims.to_vec(), scale }, &[self]),
            _ => self.sum_keepdim(dims).and_then(|sum| sum.scale(scale)),
        };
        mean.map_err(|error| error.of("mean"))
    }

    /// The largest element over `dims`, which the result does not have. The gradient goes to the
    /// first of equal ones, as that of PyTorch's `torch.max` over a dimension does; `torch.amax`
    /// shares it evenly among them.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.amax(&[1])?.to_f64_vec()?, [3.0, 6.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are no elements to choose from.
    pub fn amax(&self, dims: &[usize]) -> Result<Tensor> {
        self.amax_keepdim(dims)?.without(dims)
    }

    /// Like [`amax`](Self::amax), but `dims` remain with size 1.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.amax_keepdim(&[1])?.shape(), [2, 1]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`amax`](Self::amax).
    pub fn amax_keepdim(&self, dims: &[usize]) -> Result<Tensor> {
        apply(Max { dims: dims.to_vec() }, &[self]).map_err(|error| error.of("amax"))
    }

    /// The index of the largest element along dimension `dim`, which the result does not have, as
    /// an i64. The first of equals, or of NaN. No gradient flows back.
    ///
    /// ```
    /// let scores = engine::Tensor::from_slice(&[0.1, 0.7, 0.2, 0.5, 0.3, 0.5], &[2, 3])?;
    /// let classes = scores.argmax(1)?;
    /// assert_eq!((classes.shape(), classes.to_vec::<i64>()?), (&[2][..], vec![1, 0]));
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no dimension `dim`, or it has no elements.
    pub fn argmax(&self, dim: usize) -> Result<Tensor> {
        self.argmax_keepdim(dim)?.squeeze(dim)
    }

    /// Like [`argmax`](Self::argmax), but `dim` remains with size 1, so that
    /// [`gather`](Tensor::gather) takes the result.
    ///
    /// ```
    /// let scores = engine::Tensor::from_slice(&[0.1, 0.7, 0.2, 0.5, 0.3, 0.5], &[2, 3])?;
    /// let largest = scores.gather(1, &scores.argmax_keepdim(1)?)?;
    /// assert_eq!(largest.to_f64_vec()?, [0.7, 0.5]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`argmax`](Self::argmax).
    pub fn argmax_keepdim(&self, dim: usize) -> Result<Tensor> {
        apply(ArgMax { dim }, &[self])
    }

    /// The tensor without `dims`, which are of size 1.
    fn without(&self, dims: &[usize]) -> Result<Tensor> {
        let remaining = self.shape().iter().enumerate().filter(|(dim, _)| !dims.contains(dim));
        self.reshape(&remaining.map(|(_, &size)| size).collect::<Vec<_>>())
    }

    /// The sum of all elements, without dimensions.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.sum_all()?.item()?, 21.0);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn sum_all(&self) -> Result<Tensor> {
        self.sum_keepdim(&(0..self.rank()).collect::<Vec<_>>())?.reshape(&[])
    }

    /// The mean of all elements, without dimensions.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.mean_all()?.item()?, 3.5);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn mean_all(&self) -> Result<Tensor> {
        self.mean_keepdim(&(0..self.rank()).collect::<Vec<_>>())?.reshape(&[])
    }

    /// The sum over those dimensions in which `shape` broadcasts to this tensor's shape: the
    /// adjoint of broadcasting.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.sum_to(&[3])?.to_f64_vec()?, [5.0, 7.0, 9.0]);
    /// assert_eq!(x.sum_to(&[2, 1])?.to_f64_vec()?, [6.0, 15.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn sum_to(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let refuse =
            || Error::shape("sum_to", format!("{:?} does not come from {shape:?}", self.shape()));
        let missing = self.rank().checked_sub(shape.len()).ok_or_else(refuse)?;
        let fits = |(&whole, &size): (&usize, &usize)| size == 1 || size == whole;
        if !self.shape()[missing..].iter().zip(shape).all(fits) {
            return Err(refuse());
        }
        let repeated = |d: usize| d < missing || (shape[d - missing] == 1 && self.shape()[d] != 1);
        let dims: Vec<usize> = (0..self.rank()).filter(|&d| repeated(d)).collect();
        self.sum_keepdim(&dims)?.reshape(shape)
    }
}

/// The sum times a constant.
pub(crate) struct ScaledSum {
    dims: Vec<usize>,
    scale: f64,
}

impl ScaledSum {
    /// The constant, if this is the sum over the pixels of each map `[N, C, H, W]`.
    pub(crate) fn of_pixels(&self) -> Option<f64> {
        matches!(self.dims[..], [2, 3] | [3, 2]).then_some(self.scale)
    }

    fn value(&self, x: &Tensor) -> Result<Tensor> {
        x.on_device(
            || cpu::sum(x, &self.dims, self.scale),
            |gpu| cuda::fold(gpu, cuda::SUM, x, &self.dims, self.scale),
        )
    }
}

impl Op for ScaledSum {
    const NAME: &'static str = "sum";
    /// The input's shape.
    type Saved = Shape;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, &inputs[0], &self.dims)
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Shape)> {
        Ok((self.value(x[0])?, Shape(x[0].shape().to_vec())))
    }

    fn backward(
        &self,
        Shape(shape): Shape,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dy = if self.scale == 1.0 { dy.clone() } else { dy.scale(self.scale)? };
        Ok(vec![Some(dy.view(dy.layout().broadcast_to(Self::NAME, &shape)?))])
    }
}

struct Max {
    dims: Vec<usize>,
}

impl Op for Max {
    const NAME: &'static str = "max";
    /// Input and output.
    type Saved = (Tensor, Tensor);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let meta = infer(Self::NAME, &inputs[0], &self.dims)?;
        if inputs[0].shape.contains(&0) {
            return Err(Error::shape(
                Self::NAME,
                format!("{:?} has no largest element", inputs[0].shape),
            ));
        }
        Ok(meta)
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let y = x[0].on_device(
            || cpu::max(x[0], &self.dims),
            |gpu| cuda::fold(gpu, cuda::MAX, x[0], &self.dims, 1.0),
        )?;
        Ok((y.clone(), (x[0].detach(), y)))
    }

    fn backward(
        &self,
        (x, y): Self::Saved,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dx = x.on_device(
            || cpu::max_backward(&x, &y, dy, &self.dims),
            |gpu| cuda::max_backward(gpu, "max", &x, &y, dy, &self.dims),
        )?;
        Ok(vec![Some(dx)])
    }
}

#[derive(Debug)]
struct ArgMax {
    dim: usize,
}

impl Op for ArgMax {
    const NAME: &'static str = "argmax";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let meta = infer(Self::NAME, &inputs[0], &[self.dim])?;
        if inputs[0].shape[self.dim] == 0 {
            let message =
                format!("{:?} has no largest element along {}", inputs[0].shape, self.dim);
            return Err(Error::shape(Self::NAME, message));
        }
        Ok(Meta { dtype: DType::I64, ..meta })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        let y = x[0].on_device(
            || cpu::argmax(x[0], self.dim),
            |gpu| cuda::argmax(gpu, Self::NAME, x[0], self.dim),
        )?;
        Ok((y, ()))
    }

    fn differentiable(&self, _: usize) -> bool {
        false
    }

    fn backward(&self, (): (), _: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

fn infer(op: &'static str, x: &Meta, dims: &[usize]) -> Result<Meta> {
    crate::dispatch::require_compute(op, x.dtype)?;
    let mut shape = x.shape.clone();
    for (i, &d) in dims.iter().enumerate() {
        x.dim(op, d)?;
        if dims[..i].contains(&d) {
            return Err(Error::shape(op, format!("dimension {d} is repeated in {dims:?}")));
        }
        shape[d] = 1;
    }
    Ok(Meta { shape, dtype: x.dtype })
}
