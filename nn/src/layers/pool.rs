//! Pooling as layers.

use super::Module;
use crate::{Context, Cost, LayerKind, Result};
use engine::Tensor;

/// The mean of each k×k window; windows do not overlap.
///
/// ```
/// use nn::layers::{AvgPool2d, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
/// let y = AvgPool2d(2).forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.to_f64_vec()?, [2.5]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d(pub usize);

/// The maximum of each k×k window; windows do not overlap.
///
/// ```
/// use nn::layers::{MaxPool2d, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
/// let y = MaxPool2d(2).forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.to_f64_vec()?, [4.0]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d(pub usize);

/// The mean of each channel: `[N, C, H, W]` to `[N, C, 1, 1]`.
///
/// [`Sequential`](super::Sequential) shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Module for AvgPool2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = x.avg_pool2d(self.0, self.0)?;
        cx.report(|| Cost::new("", LayerKind::AvgPool2d(self.0), x, &y));
        Ok(y)
    }
}

impl Module for MaxPool2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let y = x.max_pool2d(self.0, self.0)?;
        cx.report(|| Cost::new("", LayerKind::MaxPool2d(self.0), x, &y));
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
