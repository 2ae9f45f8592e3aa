//! Concatenation along a dimension: each input is written to its part of the output. In
//! channels-last memory the channels of a pixel lie together, so joining channels is a write with a
//! larger pixel stride.
//!
//! Backward: each input's gradient is its slice of dy, a view.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::copy_region;
use super::{Op, Saved, apply};
use crate::cpu::write_region;
use crate::rows::RowRule;
use crate::{Error, Layout, Meta, Result, Tensor, dispatch_element};

impl Tensor {
    /// `tensors`, at least one, concatenated along dimension `dim`; they agree in dtype and in all
    /// other dimensions.
    ///
    /// ```
    /// use engine::Tensor;
    /// let a = Tensor::from_slice(&[1.0, 2.0], &[2, 1])?;
    /// let b = Tensor::from_slice(&[3.0, 4.0, 5.0, 6.0], &[2, 2])?;
    /// assert_eq!(Tensor::concat(&[&a, &b], 1)?.to_f64_vec()?, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn concat(tensors: &[&Tensor], dim: usize) -> Result<Tensor> {
        apply(Concat { dim }, tensors)
    }

    /// `tensors`, at least one and of one shape, joined along a new dimension `dim`.
    ///
    /// ```
    /// use engine::Tensor;
    /// let [a, b] = [[1.0, 2.0], [3.0, 4.0]].map(|x| Tensor::from_slice(&x, &[2]).unwrap());
    /// let rows = Tensor::stack(&[&a, &b], 0)?;
    /// assert_eq!((rows.shape(), rows.to_f64_vec()?), (&[2, 2][..], vec![1.0, 2.0, 3.0, 4.0]));
    /// let columns = Tensor::stack(&[&a, &b], 1)?;
    /// assert_eq!(columns.to_f64_vec()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are no tensors, their shapes or dtypes differ, or `dim` is greater than their rank.
    pub fn stack(tensors: &[&Tensor], dim: usize) -> Result<Tensor> {
        if let Some(other) = tensors.iter().find(|x| x.shape() != tensors[0].shape()) {
            let message = format!("{:?} and {:?} differ", tensors[0].shape(), other.shape());
            return Err(Error::shape("stack", message));
        }
        let raised = tensors.iter().map(|x| x.unsqueeze(dim)).collect::<Result<Vec<_>>>();
        raised
            .and_then(|raised| Tensor::concat(&raised.iter().collect::<Vec<_>>(), dim))
            .map_err(|error| error.of("stack"))
    }
}

#[derive(Debug)]
pub(crate) struct Concat {
    pub(crate) dim: usize,
}

/// The size of each input along the dimension; it costs no tensor memory.
pub(crate) struct Sizes(Vec<usize>);

impl Saved for Sizes {
    fn bytes(&self) -> usize {
        0
    }
}

impl Sizes {
    /// The part of `layout` that belongs to each input.
    fn parts(&self, layout: &Layout, dim: usize) -> Vec<Layout> {
        let mut start = 0;
        let part = |&size: &usize| {
            start += size;
            layout.slice(dim, start - size, size, 1)
        };
        self.0.iter().map(part).collect()
    }
}

impl Op for Concat {
    const NAME: &'static str = "concat";
    type Saved = Sizes;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dim = self.dim;
        let Some(first) = inputs.first() else {
            return Err(Error::shape(Self::NAME, "there is nothing to join"));
        };
        first.dim(Self::NAME, dim)?;
        let mut joined = Meta { shape: first.shape.clone(), dtype: first.dtype };
        joined.shape[dim] = 0;
        for input in inputs {
            if input.dtype != first.dtype {
                return Err(Error::dtype(Self::NAME, first.dtype, input.dtype));
            }
            let same = |d: usize| d == dim || input.shape[d] == first.shape[d];
            if input.shape.len() != first.shape.len() || !(0..first.shape.len()).all(same) {
                let message = format!(
                    "{:?} and {:?} differ in more than dimension {dim}",
                    first.shape, input.shape
                );
                return Err(Error::shape(Self::NAME, message));
            }
            // A sum that overflows is refused with the shape, as one that is too large.
            joined.shape[dim] = joined.shape[dim].saturating_add(input.shape[dim]);
        }
        Ok(joined)
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        (self.dim != 2).then_some(RowRule::Same)
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, Sizes)> {
        let sizes = Sizes(x.iter().map(|x| x.shape()[self.dim]).collect());
        let layout = Layout::of(&out.shape);
        let parts = || x.iter().zip(sizes.parts(&layout, self.dim));
        let on_cpu = || {
            dispatch_element!(x[0].dtype(), T => {
                Tensor::build_in(layout.clone(), |y: &mut [T]| {
                    for (x, part) in parts() {
                        write_region(y, &part, x.raw(), x.layout());
                    }
                })
            })
        };
        let y = x[0].on_device(on_cpu, |gpu| {
            let y = Tensor::new_on_gpu(gpu, &out.shape, out.dtype)?;
            for (x, part) in parts() {
                copy_region(gpu, Self::NAME, &y, &part, x)?;
            }
            Ok(y)
        })?;
        Ok((y, sizes))
    }

    fn backward(&self, sizes: Sizes, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let parts = sizes.parts(dy.layout(), self.dim);
        Ok(parts.into_iter().zip(need).map(|(part, need)| need.then(|| dy.view(part))).collect())
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
    fn parts_lie_side_by_side() {
        let a = Tensor::from_slice(&[1i64, 2], &[2, 1]).unwrap();
        let b = Tensor::from_slice(&[3i64, 4, 5, 6], &[2, 2]).unwrap();
        assert_eq!(
            Tensor::concat(&[&a, &b], 1).unwrap().to_vec::<i64>().unwrap(),
            [1, 3, 4, 2, 5, 6]
        );
        assert_eq!(
            Tensor::concat(&[&b, &b], 0).unwrap().to_vec::<i64>().unwrap(),
            [3, 4, 5, 6, 3, 4, 5, 6]
        );
        assert_eq!(Tensor::concat(&[&a], 0).unwrap().to_vec::<i64>().unwrap(), [1, 2]);
        let none = Tensor::zeros(&[2, 0], DType::I64).unwrap();
        assert_eq!(
            Tensor::concat(&[&none, &a, &none], 1).unwrap().to_vec::<i64>().unwrap(),
            [1, 2]
        );
    }

    #[test]
    fn joined_channels_are_channels_last() {
        let data =
            |channels: usize| (0..2 * channels * 60 * 70).map(|i| i as f64).collect::<Vec<_>>();
        let a = Tensor::from_slice(&data(3), &[2, 3, 60, 70]).unwrap();
        let b = Tensor::from_slice(&data(5), &[2, 5, 60, 70]).unwrap().row_major().unwrap();
        let y = Tensor::concat(&[&a, &b], 1).unwrap();
        assert!(y.layout().is_contiguous());
        assert_eq!(y.narrow(1, 0, 3).unwrap().to_f64_vec().unwrap(), data(3));
        assert_eq!(y.narrow(1, 3, 5).unwrap().to_f64_vec().unwrap(), data(5));
    }

    #[test]
    fn stacked_tensors_lie_along_a_new_dimension() {
        let tape = Tape::new();
        let [a, b] =
            [[1.0, 2.0], [3.0, 4.0]].map(|x| tape.leaf(&Tensor::from_slice(&x, &[2, 1]).unwrap()));
        let y = Tensor::stack(&[&a, &b, &a], 2).unwrap();
        assert_eq!(y.shape(), [2, 1, 3]);
        assert_eq!(y.to_f64_vec().unwrap(), [1.0, 3.0, 1.0, 2.0, 4.0, 2.0]);
        let gradients = tape.backward(&y.square().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(gradients.get(&a).unwrap().to_f64_vec().unwrap(), [4.0, 8.0]);
        let other = Tensor::zeros(&[1, 2], DType::F64).unwrap();
        let message = Tensor::stack(&[&a, &other], 0).unwrap_err().to_string();
        assert_eq!(message, "stack: [2, 1] and [1, 2] differ");
        assert!(Tensor::stack(&[], 0).is_err() && Tensor::stack(&[&a], 3).is_err());
    }

    #[test]
    fn only_inputs_on_the_tape_get_a_gradient() {
        let tape = Tape::new();
        let fixed = Tensor::ones(&[2], DType::F64).unwrap();
        let x = tape.leaf(&Tensor::from_slice(&[3.0], &[1]).unwrap());
        let y = Tensor::concat(&[&fixed, &x], 0).unwrap();
        let gradients = tape.backward(&y.mul(&y).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_f64_vec().unwrap(), [6.0]);
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let [a, b] = [[2, 3], [3, 2]].map(|shape| Tensor::zeros(&shape, DType::F32).unwrap());
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert_eq!(
            message(Tensor::concat(&[&a, &b], 0)),
            "concat: [2, 3] and [3, 2] differ in more than dimension 0"
        );
        assert_eq!(
            message(Tensor::concat(&[&a], 2)),
            "concat: there is no dimension 2 in shape [2, 3]"
        );
        assert_eq!(message(Tensor::concat(&[], 0)), "concat: there is nothing to join");
        let double = Tensor::zeros(&[2, 3], DType::F64).unwrap();
        assert_eq!(
            message(Tensor::concat(&[&a, &double], 0)),
            "concat: expected dtype f32, got f64"
        );
    }
}
