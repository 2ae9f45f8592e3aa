//! Normalization layers.

use super::Module;
use crate::{Builder, Context, Cost, LayerKind, ParamId, Result};
use engine::Tensor;

/// PyTorch's default for both norms.
const EPS: f64 = 1e-5;

/// PyTorch's default: the weight of a batch's statistics in the running ones.
const MOMENTUM: f64 = 0.1;

/// Batch normalization (Ioffe and Szegedy 2015) of `[N, C, H, W]` over N, H and W; over all parts
/// of a batch that [ranks share](Context::with_ranks).
pub struct BatchNorm2d {
    path: String,
    weight: ParamId,
    bias: ParamId,
    running_mean: ParamId,
    running_var: ParamId,
}

impl BatchNorm2d {
    /// A layer for maps of `channels` channels; weight 1, bias 0, running mean 0 and variance 1.
    pub fn new(b: &mut Builder<'_>, channels: usize) -> Self {
        Self {
            path: b.prefix().to_string(),
            weight: b.constant("weight", &[channels], 1.0),
            bias: b.constant("bias", &[channels], 0.0),
            running_mean: b.buffer("running_mean", &[channels], 0.0),
            running_var: b.buffer("running_var", &[channels], 1.0),
        }
    }
}

impl Module for BatchNorm2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (cx.param(self.weight)?, cx.param(self.bias)?);
        let (mean, var) = (cx.buffer(self.running_mean)?, cx.buffer(self.running_var)?);
        let y = if cx.is_training() {
            let (y, batch) = x.batch_norm_train_among(&weight, &bias, EPS, cx.ranks())?;
            let blend = |running: &Tensor, new: &Tensor| {
                running.scale(1.0 - MOMENTUM)?.add(&new.scale(MOMENTUM)?)
            };
            cx.update_buffer(self.running_mean, blend(&mean, &batch.mean)?);
            cx.update_buffer(self.running_var, blend(&var, &batch.var)?);
            y
        } else {
            x.batch_norm_eval(&mean, &var, &weight, &bias, EPS)?
        };
        cx.report(|| {
            Cost::new(&self.path, LayerKind::BatchNorm, x, &y).with_parameters(2 * weight.numel())
        });
        Ok(y)
    }
}

/// Instance normalization (Ulyanov et al. 2016) of `[N, C, H, W]` over H and W, with a trained
/// scale and shift.
pub struct InstanceNorm2d {
    path: String,
    weight: ParamId,
    bias: ParamId,
}

impl InstanceNorm2d {
    /// A layer for maps of `channels` channels; weight 1, bias 0.
    pub fn new(b: &mut Builder<'_>, channels: usize) -> Self {
        Self {
            path: b.prefix().to_string(),
            weight: b.constant("weight", &[channels], 1.0),
            bias: b.constant("bias", &[channels], 0.0),
        }
    }
}

impl Module for InstanceNorm2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (cx.param(self.weight)?, cx.param(self.bias)?);
        let y = x.instance_norm(&weight, &bias, EPS)?;
        cx.report(|| {
            Cost::new(&self.path, LayerKind::InstanceNorm, x, &y)
                .with_parameters(2 * weight.numel())
        });
        Ok(y)
    }
}
