//! Running sums along a dimension, each added up in order: yᵢ = x₀ + … + xᵢ. They are added up in
//! f64, as in PyTorch: a sum of a million f32 would drift by a percent.
//!
//! Backward is the running sum from the other end: dxᵢ = dyᵢ + … + dyₙ₋₁.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply};
use crate::cpu::{copy, for_each_piece};
use crate::cuda::{Gpu, Launch, Part, ReductionLaunch};
use crate::{Element, Layout, Meta, Result, Tensor, dispatch_float};

impl Tensor {
    /// The sums of the elements along dimension `dim` up to each. On a GPU a thread adds up a whole
    /// line, which is slow for few, long ones.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &[2, 3])?;
    /// assert_eq!(x.cumsum(1)?.to_f64_vec()?, [1.0, 3.0, 6.0, 10.0, 30.0, 60.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no dimension `dim`, or the dtype is an integer.
    pub fn cumsum(&self, dim: usize) -> Result<Tensor> {
        apply(Cumsum { dim }, &[self])
    }
}

/// The sums that are added up side by side.
const COLUMNS: usize = 64;

#[derive(Debug)]
struct Cumsum {
    dim: usize,
}

impl Op for Cumsum {
    const NAME: &'static str = "cumsum";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(Self::NAME, inputs[0].dtype)?;
        inputs[0].dim(Self::NAME, self.dim)?;
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        Ok((self.sums(x[0], false)?, ()))
    }

    fn backward(&self, (): (), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.sums(dy, true)?)])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl Cumsum {
    /// The running sums from the first element, or, in `reverse`, from the last.
    fn sums(&self, x: &Tensor, reverse: bool) -> Result<Tensor> {
        x.on_device(|| self.on_cpu(x, reverse), |gpu| self.on_gpu(gpu, x, reverse))
    }

    /// In the memory of a copy: down the rows of each block of dense memory, some columns at once.
    fn on_cpu(&self, x: &Tensor, reverse: bool) -> Result<Tensor> {
        dispatch_float!(Self::NAME, x.dtype(), T => {
            let layout = Layout::of(x.shape());
            let (size, row) = (x.shape()[self.dim], layout.strides()[self.dim]);
            Tensor::build_in(layout.clone(), |y: &mut [T]| {
                copy(y, &layout, x.raw(), x.layout());
                for_each_piece(y, size * row, &|_, block| {
                    for column in (0..row).step_by(COLUMNS) {
                        // Adding to -0 changes no number, not even -0.
                        let mut sums = [-0.0; COLUMNS];
                        for i in 0..size {
                            let i = if reverse { size - 1 - i } else { i };
                            let line = &mut block[i * row..][column..row.min(column + COLUMNS)];
                            for (sum, x) in sums.iter_mut().zip(line) {
                                *sum += x.to_f64();
                                *x = <T as Element>::from_f64(*sum);
                            }
                        }
                    }
                });
            })
        })
    }

    fn on_gpu(&self, gpu: &'static Gpu, x: &Tensor, reverse: bool) -> Result<Tensor> {
        let x = x.contiguous()?;
        let y = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
        let (size, stride) = (y.shape()[self.dim], y.layout().strides()[self.dim]);
        let lines = y.layout().slice(self.dim, 0, 1, 1);
        let line = Layout::from_parts(vec![size], vec![stride], 0);
        let (kept, reduced) =
            (Part::new(Self::NAME, &lines, &lines)?, Part::new(Self::NAME, &line, &line)?);
        let loops = ReductionLaunch::single(kept, reduced, false).reduction;
        Launch::each(kernels::reduce::CUMSUM, x.dtype(), kept.count as usize)
            .run(gpu, &[&y.address()?, &x.address()?, &loops, &u32::from(reverse)])?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape};

    #[test]
    fn sums_run_along_any_dimension_and_back() {
        let data: Vec<f64> = (1..=24).map(f64::from).collect();
        // Rank 4 is channels-last.
        for shape in [&[2, 3, 4][..], &[2, 3, 2, 2]] {
            let tape = Tape::new();
            let x = tape.leaf(&Tensor::from_slice(&data, shape).unwrap());
            let y = x.cumsum(1).unwrap();
            let (found, mut expected) = (y.to_f64_vec().unwrap(), data.clone());
            for i in (0..24).filter(|i| i % 12 >= 4) {
                expected[i] += expected[i - 4];
            }
            assert_eq!(found, expected);
            let dy = Tensor::from_slice(&data, shape).unwrap();
            let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
            let mut expected = data.clone();
            for i in (0..24).rev().filter(|i| i % 12 < 8) {
                expected[i] += expected[i + 4];
            }
            assert_eq!(gradients.get(&x).unwrap().to_f64_vec().unwrap(), expected);
        }
    }

    #[test]
    fn long_sums_do_not_drift() {
        let count = 1_000_000;
        // More columns than are added up side by side, and one.
        for shape in [[count, 1], [count / 100, 100]] {
            let x = Tensor::full(&shape, 0.1, DType::F32).unwrap();
            let exact = shape[0] as f64 * f64::from(0.1f32);
            let tape = Tape::new();
            let leaf = tape.leaf(&x);
            let y = leaf.cumsum(0).unwrap();
            let last = y.narrow(0, shape[0] - 1, 1).unwrap().to_vec::<f32>().unwrap();
            assert!(last.iter().all(|sum| *sum == exact as f32), "{last:?}");
            let gradients = tape.backward_from(&[&y], vec![Some(x)]).unwrap();
            let first = gradients.get(&leaf).unwrap().narrow(0, 0, 1).unwrap();
            assert!(first.to_vec::<f32>().unwrap().iter().all(|sum| *sum == exact as f32));
        }
    }

    #[test]
    fn what_is_empty_stays_empty_and_errors_name_the_shape() {
        let none = Tensor::zeros(&[2, 0], DType::F32).unwrap();
        assert_eq!(none.cumsum(1).unwrap().shape(), [2, 0]);
        assert_eq!(none.cumsum(0).unwrap().shape(), [2, 0]);
        let message = none.cumsum(2).unwrap_err().to_string();
        assert_eq!(message, "cumsum: there is no dimension 2 in shape [2, 0]");
    }
}
