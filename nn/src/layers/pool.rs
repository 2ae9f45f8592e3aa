//! Pooling as layers.

use super::Module;
use crate::{Context, Cost, LayerKind, Result};
use engine::Tensor;

/// The mean of each k×k window, without padding; windows do not overlap, unless
/// [`AvgPool2d::stride`] is called.
///
/// ```
/// use nn::layers::{AvgPool2d, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
/// let y = AvgPool2d::new(2).forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.to_f64_vec()?, [2.5]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    kernel: usize,
    stride: usize,
}

impl AvgPool2d {
    /// The mean of each `kernel`×`kernel` window; windows do not overlap, as by default in
    /// PyTorch.
    pub fn new(kernel: usize) -> Self {
        Self { kernel, stride: kernel }
    }

    /// The same windows, `stride` apart.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::layers::{AvgPool2d, Module};
    /// use nn::{Context, Params};
    /// let (_, params) = Params::build(0, DType::F32, |_| Ok(()))?;
    /// let x = Tensor::zeros(&[1, 1, 9, 9], DType::F32)?;
    /// let y = AvgPool2d::new(3).stride(2).forward(&Context::inference(&params), &x)?;
    /// assert_eq!(y.shape(), [1, 1, 4, 4]);
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

/// The maximum of each k×k window; windows do not overlap, unless [`MaxPool2d::stride`] is called.
///
/// There is no padding. Where no element is negative, as after a ReLU, [`Tensor::pad_zeros`] before
/// it has the effect of PyTorch's.
///
/// ```
/// use nn::layers::{MaxPool2d, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
/// let y = MaxPool2d::new(2).forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.to_f64_vec()?, [4.0]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    kernel: usize,
    stride: usize,
}

impl MaxPool2d {
    /// The maximum of each `kernel`×`kernel` window; windows do not overlap, as by default in
    /// PyTorch.
    pub fn new(kernel: usize) -> Self {
        Self { kernel, stride: kernel }
    }

    /// The same windows, `stride` apart.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::layers::{MaxPool2d, Module};
    /// use nn::{Context, Params};
    /// let (_, params) = Params::build(0, DType::F32, |_| Ok(()))?;
    /// let x = Tensor::zeros(&[1, 1, 9, 9], DType::F32)?;
    /// let y = MaxPool2d::new(3).stride(2).forward(&Context::inference(&params), &x)?;
    /// assert_eq!(y.shape(), [1, 1, 4, 4]);
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

/// The mean of each channel: `[N, C, H, W]` to `[N, C, 1, 1]`.
///
/// [`Sequential`](super::Sequential) shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Module for AvgPool2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = x.avg_pool2d(self.kernel, self.stride)?;
        cx.report(|| Cost::new("", LayerKind::AvgPool2d(self.kernel), x, &y));
        Ok(y)
    }
}

impl Module for MaxPool2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = x.max_pool2d(self.kernel, self.stride)?;
        cx.report(|| Cost::new("", LayerKind::MaxPool2d(self.kernel), x, &y));
        Ok(y)
    }
}

impl Module for GlobalAvgPool {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = x.global_avg_pool()?;
        cx.report(|| Cost::new("", LayerKind::GlobalAvgPool, x, &y));
        Ok(y)
    }
}
