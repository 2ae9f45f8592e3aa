//! Reshape, permute and broadcast: the same elements under another shape, without moving them where
//! that is possible.
//!
//! Backward undoes the view: reshape back, permute by the inverse, and for a broadcast nothing at
//! all, since the tape sums a gradient to the shape before broadcasting.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, Saved, apply};
use crate::layout::checked_numel;
use crate::{Error, Layout, Meta, Result, Tensor};

impl Tensor {
    /// The same elements, in logical row-major order, as `shape`. Shares storage where strides
    /// allow, copies otherwise.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// let y = x.reshape(&[3, 2])?;
    /// assert_eq!((y.shape(), y.to_f64_vec()?), (&[3, 2][..], x.to_f64_vec()?));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        apply(Reshape { shape: shape.to_vec() }, &[self])
    }

    /// Without dimension `dim`, if its size is 1; otherwise, as in PyTorch, this tensor. Shares
    /// storage.
    ///
    /// ```
    /// let x = engine::Tensor::zeros(&[2, 1, 3], engine::DType::F32)?;
    /// assert_eq!(x.squeeze(1)?.shape(), [2, 3]);
    /// assert_eq!(x.squeeze(0)?.shape(), [2, 1, 3]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no dimension `dim`.
    pub fn squeeze(&self, dim: usize) -> Result<Tensor> {
        if self.dim("squeeze", dim)? != 1 {
            return Ok(self.clone());
        }
        let mut shape = self.shape().to_vec();
        shape.remove(dim);
        self.reshape(&shape)
    }

    /// With a dimension of size 1 put in before dimension `dim`, or at the end for the rank of this
    /// tensor. Shares storage.
    ///
    /// ```
    /// let x = engine::Tensor::zeros(&[2, 3], engine::DType::F32)?;
    /// assert_eq!(x.unsqueeze(0)?.shape(), [1, 2, 3]);
    /// assert_eq!(x.unsqueeze(2)?.shape(), [2, 3, 1]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `dim` is greater than the rank.
    pub fn unsqueeze(&self, dim: usize) -> Result<Tensor> {
        if dim > self.rank() {
            let message = format!("shape {:?} has no place {dim}", self.shape());
            return Err(Error::shape("unsqueeze", message));
        }
        let mut shape = self.shape().to_vec();
        shape.insert(dim, 1);
        self.reshape(&shape)
    }

    /// The dimensions in the order `dims`: dimension `i` of the result is dimension `dims[i]` of
    /// this tensor.
    ///
    /// ```
    /// let x = engine::Tensor::zeros(&[2, 3, 4], engine::DType::F32)?;
    /// assert_eq!(x.permute(&[2, 0, 1])?.shape(), [4, 2, 3]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn permute(&self, dims: &[usize]) -> Result<Tensor> {
        apply(Permute { dims: dims.to_vec() }, &[self])
    }

    /// Dimensions `a` and `b` exchanged.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.transpose(0, 1)?.to_f64_vec()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn transpose(&self, a: usize, b: usize) -> Result<Tensor> {
        for d in [a, b] {
            self.dim("transpose", d)?;
        }
        let mut dims: Vec<usize> = (0..self.rank()).collect();
        dims.swap(a, b);
        self.permute(&dims).map_err(|error| error.of("transpose"))
    }

    /// This tensor repeated to `shape`: missing leading dimensions and dimensions of size 1 repeat,
    /// without a copy.
    ///
    /// ```
    /// let column = engine::Tensor::from_slice(&[1.0, 2.0], &[2, 1])?;
    /// assert_eq!(column.broadcast_to(&[2, 2])?.to_f64_vec()?, [1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Tensor> {
        apply(BroadcastTo { shape: shape.to_vec() }, &[self])
    }
}

#[derive(Debug)]
pub(crate) struct Reshape {
    pub(crate) shape: Vec<usize>,
}

impl Op for Reshape {
    const NAME: &'static str = "reshape";
    type Saved = Shape;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let from = &inputs[0].shape;
        if checked_numel(from) != checked_numel(&self.shape) {
            return Err(Error::shape(
                Self::NAME,
                format!("shape {from:?} has a different number of elements than {:?}", self.shape),
            ));
        }
        Ok(Meta { shape: self.shape.clone(), dtype: inputs[0].dtype })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Shape)> {
        Ok((reshaped(x[0], &self.shape)?, Shape(x[0].shape().to_vec())))
    }

    fn backward(
        &self,
        Shape(shape): Shape,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(reshaped(dy, &shape)?)])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

/// A view if the strides allow it, else a view of a row-major copy.
fn reshaped(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    match x.layout().reshape(shape) {
        Some(layout) => Ok(x.view(layout)),
        None => Ok(x.row_major()?.view(Layout::row_major_of(shape))),
    }
}

#[derive(Debug)]
struct Permute {
    dims: Vec<usize>,
}

impl Op for Permute {
    const NAME: &'static str = "permute";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let shape = &inputs[0].shape;
        let mut sorted = self.dims.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.len()) {
            return Err(Error::shape(
                Self::NAME,
                format!("{:?} is not an order of the dimensions of {shape:?}", self.dims),
            ));
        }
        Ok(Meta { shape: self.dims.iter().map(|&d| shape[d]).collect(), dtype: inputs[0].dtype })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        Ok((x[0].view(x[0].layout().permute(&self.dims)), ()))
    }

    fn backward(&self, (): (), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let mut inverse = vec![0; self.dims.len()];
        for (i, &d) in self.dims.iter().enumerate() {
            inverse[d] = i;
        }
        Ok(vec![Some(dy.view(dy.layout().permute(&inverse)))])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

#[derive(Debug)]
pub(crate) struct BroadcastTo {
    pub(crate) shape: Vec<usize>,
}

impl Op for BroadcastTo {
    const NAME: &'static str = "broadcast_to";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        Layout::row_major_of(&inputs[0].shape).broadcast_to(Self::NAME, &self.shape)?;
        Ok(Meta { shape: self.shape.clone(), dtype: inputs[0].dtype })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        Ok((x[0].view(x[0].layout().broadcast_to(Self::NAME, &self.shape)?), ()))
    }

    fn backward(&self, (): (), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.clone())])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

/// A shape saved for backward; it costs no tensor memory.
pub(crate) struct Shape(pub(super) Vec<usize>);

impl Saved for Shape {
    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_keeps_logical_order_whatever_the_memory_order() {
        let data: Vec<f64> = (0..24).map(f64::from).collect();
        let map = Tensor::from_slice(&data, &[1, 2, 3, 4]).unwrap();
        assert!(!map.layout().is_row_major());
        assert_eq!(map.reshape(&[4, 6]).unwrap().to_f64_vec().unwrap(), data);
        assert!(map.reshape(&[5, 5]).is_err());
    }

    #[test]
    fn dimensions_of_one_come_and_go_without_a_copy() {
        let x = Tensor::from_slice(&[1u8, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
        for dim in 0..=2 {
            let more = x.unsqueeze(dim).unwrap();
            assert_eq!((more.rank(), more.shape()[dim]), (3, 1));
            assert!(std::ptr::eq(x.raw::<u8>(), more.raw::<u8>()));
            let same = more.squeeze(dim).unwrap();
            assert_eq!(
                (same.shape(), same.to_vec::<u8>().unwrap()),
                (x.shape(), vec![1, 2, 3, 4, 5, 6])
            );
        }
        assert_eq!(x.squeeze(1).unwrap().shape(), [2, 3]);
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert_eq!(message(x.squeeze(2)), "squeeze: there is no dimension 2 in shape [2, 3]");
        assert_eq!(message(x.unsqueeze(3)), "unsqueeze: shape [2, 3] has no place 3");
    }

    #[test]
    fn permuting_moves_nothing() {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        assert_eq!(
            x.transpose(0, 1).unwrap().to_f64_vec().unwrap(),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
        assert!(x.permute(&[0, 0]).is_err());
        assert!(x.transpose(0, 2).is_err());
    }
}
