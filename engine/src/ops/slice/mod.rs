//! Slices along a dimension: a view, nothing is copied.
//!
//! Backward writes dy into zeros, where the elements came from.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::copy_region;
use super::view::Shape;
use super::{Op, apply};
use crate::cpu::write_region;
use crate::memory::reserve;
use crate::{Error, Layout, Meta, Result, Tensor, counted, dispatch_float};

impl Tensor {
    /// The `len` elements `start, start + step, …` of dimension `dim`. `step` is at least 1.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[6])?;
    /// assert_eq!(x.slice(0, 1, 3, 2)?.to_f64_vec()?, [1.0, 3.0, 5.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn slice(&self, dim: usize, start: usize, len: usize, step: usize) -> Result<Tensor> {
        apply(Slice { dim, start, len, step }, &[self])
    }

    /// The elements `start .. start + len` of dimension `dim`.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[6])?;
    /// assert_eq!(x.narrow(0, 2, 3)?.to_f64_vec()?, [2.0, 3.0, 4.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Tensor> {
        self.slice(dim, start, len, 1).map_err(|error| error.of("narrow"))
    }

    /// This tensor cut along dimension `dim` into at most `chunks` parts, which share its storage.
    /// As in PyTorch, all parts are of one size, the smallest that suffices, but for the last,
    /// which may be smaller; so there may be fewer of them. Without elements along `dim` there is
    /// one part, where PyTorch makes `chunks`.
    ///
    /// ```
    /// let x = engine::Tensor::zeros(&[2, 7], engine::DType::F32)?;
    /// let sizes: Vec<usize> = x.chunk(3, 1)?.iter().map(|part| part.shape()[1]).collect();
    /// assert_eq!(sizes, [3, 3, 1]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no dimension `dim`, or `chunks` is 0.
    pub fn chunk(&self, chunks: usize, dim: usize) -> Result<Vec<Tensor>> {
        let size = self.dim("chunk", dim)?;
        if chunks == 0 {
            return Err(Error::shape("chunk", "a tensor cannot be cut into 0 parts"));
        }
        let part = size.div_ceil(chunks).max(1);
        let mut parts = Vec::new();
        let reserved = reserve(&mut parts, size.max(1).div_ceil(part));
        reserved.map_err(|error| error.in_op("chunk"))?;
        for start in (0..size.max(1)).step_by(part) {
            parts.push(self.narrow(dim, start, part.min(size - start))?);
        }
        Ok(parts)
    }
}

#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) dim: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) step: usize,
}

impl Slice {
    fn of(&self, layout: &Layout) -> Layout {
        layout.slice(self.dim, self.start, self.len, self.step)
    }

    /// One past the last element, if such a number exists.
    fn end(&self) -> Option<usize> {
        let last = self.len.checked_sub(1).map(|steps| steps.checked_mul(self.step));
        match last {
            None => Some(self.start),
            Some(way) => self.start.checked_add(way?)?.checked_add(1),
        }
    }
}

impl Op for Slice {
    const NAME: &'static str = "slice";
    /// The input's shape.
    type Saved = Shape;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let Self { dim, start, len, step } = *self;
        let mut shape = inputs[0].shape.clone();
        let fits = |size: usize| step > 0 && self.end().is_some_and(|end| end <= size);
        if !shape.get(dim).copied().is_some_and(fits) {
            let message = format!(
                "{} from {start} in steps of {step} along dimension {dim} cannot be in {shape:?}",
                counted(len, "element")
            );
            return Err(Error::shape(Self::NAME, message));
        }
        shape[dim] = len;
        Ok(Meta { shape, dtype: inputs[0].dtype })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Shape)> {
        Ok((x[0].view(self.of(x[0].layout())), Shape(x[0].shape().to_vec())))
    }

    fn backward(
        &self,
        Shape(shape): Shape,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let layout = Layout::of(&shape);
        let on_cpu = || {
            dispatch_float!(Self::NAME, dy.dtype(), T => {
                Tensor::build_in(layout.clone(), |out: &mut [T]| {
                    out.fill(0.0);
                    write_region(out, &self.of(&layout), dy.raw(), dy.layout());
                })
            })
        };
        let dx = dy.on_device(on_cpu, |gpu| {
            let dx = Tensor::zeros_on_gpu(gpu, &shape, dy.dtype())?;
            copy_region(gpu, Self::NAME, &dx, &self.of(&layout), dy)?;
            Ok(dx)
        })?;
        Ok(vec![Some(dx)])
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
    fn elements_and_gradients_are_those_of_the_slice() {
        let tape = Tape::new();
        let x = tape.leaf(
            &Tensor::from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &[2, 5])
                .unwrap(),
        );
        let y = x.slice(1, 1, 2, 3).unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [1.0, 4.0, 6.0, 9.0]);
        let gradients = tape.backward(&y.mul(&y).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(
            gradients.get(&x).unwrap().to_f64_vec().unwrap(),
            [0.0, 2.0, 0.0, 0.0, 8.0, 0.0, 12.0, 0.0, 0.0, 18.0]
        );
    }

    #[test]
    fn chunks_have_the_sizes_of_pytorch() {
        let cases: [(usize, usize, &[usize]); 6] = [
            (7, 4, &[2, 2, 2, 1]),
            (6, 4, &[2, 2, 2]),
            (6, 3, &[2, 2, 2]),
            (2, usize::MAX, &[1, 1]),
            (5, 1, &[5]),
            (0, 3, &[0]),
        ];
        for (size, chunks, expected) in cases {
            let data: Vec<f32> = (0..size).map(|i| i as f32).collect();
            let parts = Tensor::from_slice(&data, &[1, size]).unwrap().chunk(chunks, 1).unwrap();
            let sizes: Vec<usize> = parts.iter().map(|part| part.shape()[1]).collect();
            assert_eq!(sizes, expected);
            let joined = Tensor::concat(&parts.iter().collect::<Vec<_>>(), 1).unwrap();
            assert_eq!(joined.to_vec::<f32>().unwrap(), data);
        }
        let x = Tensor::zeros(&[2], DType::F32).unwrap();
        assert!(x.chunk(0, 0).is_err() && x.chunk(1, 1).is_err());
    }

    #[test]
    fn a_slice_shares_storage_in_any_dtype() {
        let x = Tensor::from_slice(&[1u8, 2, 3], &[3]).unwrap();
        let y = x.narrow(0, 1, 2).unwrap();
        assert!(std::ptr::eq(x.raw::<u8>(), y.raw::<u8>()));
        assert_eq!(y.to_vec::<u8>().unwrap(), [2, 3]);
        assert_eq!(x.narrow(0, 3, 0).unwrap().shape(), [0]);
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[2, 5], DType::F32).unwrap();
        let message = x.slice(1, 1, 3, 2).unwrap_err().to_string();
        assert_eq!(
            message,
            "slice: 3 elements from 1 in steps of 2 along dimension 1 cannot be in [2, 5]"
        );
        assert!(x.slice(1, 0, 3, 2).is_ok());
        assert!(x.narrow(2, 0, 1).is_err());
        assert!(x.slice(0, 0, 1, 0).is_err());
        assert!(x.narrow(0, 3, 0).is_err());
        assert!(x.slice(0, 1, 3, usize::MAX).is_err());
    }
}
