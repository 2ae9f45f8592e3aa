//! Pooling: the mean or the largest of a window, and the mean of a whole map.
//!
//! Means are a table along each axis (see `ops/separable/mod.rs`), so their gradient is the
//! transposed table. A maximum sends dy to the first largest element of its window in row-major
//! order, found again from the saved input: an index map would cost as much memory as the output,
//! and the search is cheap.

mod cpu;
mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;
mod windows;

use super::separable::{Apply, Separable, apply_separable, infer};
use super::{Op, apply};
use crate::ops::separable::AxisTable;
use crate::rows::RowRule;
use crate::{Meta, Result, Tensor};
use windows::Windows;

impl Tensor {
    /// The means of `kernel`×`kernel` windows, `stride` apart, without padding: `[N, C, H, W]`
    /// becomes `[N, C, (H − kernel)/stride + 1, (W − kernel)/stride + 1]`, rounded down; pixels
    /// beyond the last window are left out.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
    /// assert_eq!(x.avg_pool2d(2, 2)?.to_f64_vec()?, [2.5]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn avg_pool2d(&self, kernel: usize, stride: usize) -> Result<Tensor> {
        apply_separable(AvgPool2d(Windows { kernel, stride }), self)
    }

    /// The largest elements of the windows of [`Tensor::avg_pool2d`]. A NaN counts as larger than
    /// any number. 0.0 and −0.0 are equal, and either may be the result.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
    /// assert_eq!(x.max_pool2d(2, 2)?.to_f64_vec()?, [4.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn max_pool2d(&self, kernel: usize, stride: usize) -> Result<Tensor> {
        apply(MaxPool2d(Windows { kernel, stride }), &[self])
    }

    /// The mean of each channel's map: `[N, C, H, W]` becomes `[N, C, 1, 1]`.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 3.0, 10.0, 30.0], &[1, 2, 1, 2])?;
    /// let means = x.global_avg_pool()?;
    /// assert_eq!((means.shape(), means.to_f64_vec()?), (&[1, 2, 1, 1][..], vec![2.0, 20.0]));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn global_avg_pool(&self) -> Result<Tensor> {
        infer("global_avg_pool", &self.meta(), |_| Ok([1, 1]))?;
        self.mean_keepdim(&[2, 3])
    }

    /// `[N, C, H, W]` becomes `[N, C, out_h, out_w]`: output i of n along an axis of length L is
    /// the mean of the inputs from ⌊i·L/n⌋ up to, not including, ⌈(i+1)·L/n⌉, as in PyTorch.
    /// Windows may overlap, and n may exceed L.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 6.0], &[1, 1, 1, 3])?;
    /// assert_eq!(x.adaptive_avg_pool2d(1, 2)?.to_f64_vec()?, [1.5, 4.0]); // 1 and 2, 2 and 6
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn adaptive_avg_pool2d(&self, out_h: usize, out_w: usize) -> Result<Tensor> {
        apply_separable(AdaptiveAvgPool2d([out_h, out_w]), self)
    }
}

pub(crate) struct AvgPool2d(Windows);

/// Means of windows, as an operation.
pub(crate) type AvgPool = Apply<AvgPool2d>;

impl AvgPool {
    /// Means of windows of `size` that tile the map.
    pub(crate) fn of(size: usize) -> Self {
        Apply(AvgPool2d(Windows { kernel: size, stride: size }))
    }

    /// The size of the windows, if they tile the map.
    pub(crate) fn tiling(&self) -> Option<usize> {
        self.0.0.tiling()
    }
}

impl Separable for AvgPool2d {
    const NAME: &'static str = "avg_pool2d";

    fn output(&self, size: [usize; 2]) -> Result<[usize; 2], String> {
        self.0.output(size)
    }

    fn rows(&self) -> Option<RowRule> {
        Some(self.0.rows())
    }

    fn axis(&self, from: usize, to: usize) -> Result<AxisTable> {
        let Windows { kernel, stride } = self.0;
        AxisTable::new(from, to, |o| mean_of(o * stride..o * stride + kernel))
    }
}

struct AdaptiveAvgPool2d([usize; 2]);

impl Separable for AdaptiveAvgPool2d {
    const NAME: &'static str = "adaptive_avg_pool2d";

    fn output(&self, _: [usize; 2]) -> Result<[usize; 2], String> {
        match self.0 {
            [0, _] | [_, 0] => Err(format!("the output {:?} has no pixels", self.0)),
            output => Ok(output),
        }
    }

    fn axis(&self, from: usize, to: usize) -> Result<AxisTable> {
        // In u128, as the products may exceed a usize.
        let (inputs, outputs) = (from as u128, to as u128);
        let start = |o: usize| (o as u128 * inputs / outputs) as usize;
        let end = |o: usize| ((o as u128 + 1) * inputs).div_ceil(outputs) as usize;
        AxisTable::new(from, to, |o| mean_of(start(o)..end(o)))
    }
}

/// The inputs of `window`, equally weighted.
fn mean_of(window: std::ops::Range<usize>) -> (usize, std::iter::RepeatN<f64>) {
    (window.start, std::iter::repeat_n(1.0 / window.len() as f64, window.len()))
}

pub(crate) struct MaxPool2d(Windows);

impl MaxPool2d {
    /// Maxima of windows of `size` that tile the map.
    pub(crate) fn of(size: usize) -> Self {
        Self(Windows { kernel: size, stride: size })
    }

    /// The size of the windows, if they tile the map.
    pub(crate) fn tiling(&self) -> Option<usize> {
        self.0.tiling()
    }
}

impl Op for MaxPool2d {
    const NAME: &'static str = "max_pool2d";
    /// The input, if its gradient is needed.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, &inputs[0], |size| self.0.output(size))
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let (x, windows) = (x[0], self.0);
        let y = x.on_device(|| cpu::forward(x, windows), |gpu| cuda::forward(gpu, x, windows))?;
        Ok((y, super::save_if(need[0], x)))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(self.0.rows())
    }

    fn backward(&self, x: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let windows = self.0;
        let gradient = |x: Tensor| {
            x.on_device(
                || cpu::backward(&x, dy, windows),
                |gpu| cuda::backward(gpu, &x, dy, windows),
            )
        };
        Ok(vec![x.map(gradient).transpose()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Rng, Tape};

    /// 0, 1, 2, … in row-major order.
    fn counting(shape: &[usize]) -> Tensor {
        let data: Vec<f64> = (0..shape.iter().product()).map(|i: usize| i as f64).collect();
        Tensor::from_slice(&data, shape).unwrap()
    }

    #[test]
    fn windows_are_cut_as_counted_by_hand() {
        // A 5×5 map: the last row and column fall outside the 2×2 windows.
        let x = counting(&[1, 1, 5, 5]);
        assert_eq!(x.avg_pool2d(2, 2).unwrap().to_f64_vec().unwrap(), [3.0, 5.0, 13.0, 15.0]);
        assert_eq!(x.max_pool2d(2, 2).unwrap().to_f64_vec().unwrap(), [6.0, 8.0, 16.0, 18.0]);
        assert_eq!(x.max_pool2d(3, 2).unwrap().to_f64_vec().unwrap(), [12.0, 14.0, 22.0, 24.0]);
        assert_eq!(x.global_avg_pool().unwrap().to_f64_vec().unwrap(), [12.0]);
        // Windows of 5/2: 0..3 and 2..5.
        assert_eq!(x.adaptive_avg_pool2d(1, 2).unwrap().to_f64_vec().unwrap(), [11.0, 13.0]);
    }

    #[test]
    fn channels_stay_apart() {
        let y = counting(&[2, 3, 4, 4]).avg_pool2d(4, 4).unwrap();
        assert_eq!(y.shape(), [2, 3, 1, 1]);
        assert_eq!(y.to_f64_vec().unwrap(), [7.5, 23.5, 39.5, 55.5, 71.5, 87.5]);
    }

    #[test]
    fn enlarging_repeats() {
        let y = counting(&[1, 1, 1, 2]).adaptive_avg_pool2d(2, 4).unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn the_first_of_equal_maxima_gets_the_gradient() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[2.0, 5.0, 5.0, 1.0], &[1, 1, 2, 2]).unwrap());
        let loss = x.max_pool2d(2, 1).unwrap().sum_all().unwrap();
        assert_eq!(
            tape.backward(&loss).unwrap().get(&x).unwrap().to_f64_vec().unwrap(),
            [0.0, 1.0, 0.0, 0.0]
        );
    }

    #[test]
    fn a_nan_is_the_largest() {
        let x = Tensor::from_slice(&[2.0, f64::NAN, 5.0, 1.0], &[1, 1, 2, 2]).unwrap();
        assert!(x.max_pool2d(2, 2).unwrap().item().unwrap().is_nan());
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[1, 2, 3, 8], DType::F32).unwrap();
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert_eq!(
            message(x.avg_pool2d(4, 4)),
            "avg_pool2d: kernel 4 must fit the map, got shape [1, 2, 3, 8]"
        );
        assert_eq!(
            message(x.max_pool2d(2, 0)),
            "max_pool2d: kernel 2 and stride 0 must be at least 1, got shape [1, 2, 3, 8]"
        );
        assert_eq!(
            message(x.adaptive_avg_pool2d(0, 3)),
            "adaptive_avg_pool2d: the output [0, 3] has no pixels, got shape [1, 2, 3, 8]"
        );
        let flat = Tensor::zeros(&[3, 8], DType::F32).unwrap();
        assert_eq!(
            message(flat.global_avg_pool()),
            "global_avg_pool: expected [N, C, H, W], got shape [3, 8]"
        );
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x = Tensor::randn(&[2, 40, 33, 35], DType::F32, &mut Rng::new(1)).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let tape = Tape::new();
                let leaf = tape.leaf(&x);
                let y =
                    leaf.avg_pool2d(3, 2).unwrap().add(&leaf.max_pool2d(3, 2).unwrap()).unwrap();
                let gradients = tape.backward(&y.mul(&y).unwrap().sum_all().unwrap()).unwrap();
                (y.to_vec::<f32>().unwrap(), gradients.get(&leaf).unwrap().to_vec::<f32>().unwrap())
            })
        };
        assert_eq!(run(1), run(3));
    }
}
