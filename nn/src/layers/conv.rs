//! Convolutions with their parameters.

use super::Module;
use crate::{Builder, Context, Cost, LayerKind, ParamId, Result};
use engine::{Conv2dOptions, Tensor};

/// A convolution of `[N, in, H, W]` maps with a k×k kernel.
pub struct Conv2d {
    path: String,
    weight: ParamId,
    bias: Option<ParamId>,
    options: Conv2dOptions,
}

impl Conv2d {
    /// A convolution from `c_in` to `c_out` channels. The stride is 1, unless changed by
    /// [`Conv2d::stride`]; the padding keeps the size of the map for odd kernels.
    ///
    /// Initialized as in PyTorch (He et al. 2015 with a = √5): weight and bias uniform within
    /// 1/√(fan-in).
    pub fn new(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Self {
        Self::with_options(b, c_in, c_out, kernel, true, same_size(kernel))
    }

    /// As [`Conv2d::new`], without a bias.
    pub fn without_bias(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Self {
        Self::with_options(b, c_in, c_out, kernel, false, same_size(kernel))
    }

    /// A convolution with all settings given.
    pub fn with_options(
        b: &mut Builder<'_>,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        bias: bool,
        options: Conv2dOptions,
    ) -> Self {
        let per_group = c_in / options.groups.max(1);
        let bound = fan_bound(per_group, kernel);
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform("weight", &[c_out, per_group, kernel, kernel], bound),
            bias: bias.then(|| b.uniform("bias", &[c_out], bound)),
            options,
        }
    }

    /// This convolution with another stride.
    pub fn stride(mut self, stride: usize) -> Self {
        self.options.stride = stride;
        self
    }
}

fn same_size(kernel: usize) -> Conv2dOptions {
    Conv2dOptions { padding: kernel / 2, ..Conv2dOptions::default() }
}

impl Module for Conv2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) =
            (cx.param(self.weight)?, self.bias.map(|bias| cx.param(bias)).transpose()?);
        let y = x.conv2d(&weight, bias.as_ref(), self.options)?;
        cx.report(|| {
            let (kernel, fan_in) = taps(&weight);
            let kind = LayerKind::Conv2d { kernel, fan_in, bias: bias.is_some() };
            let parameters = weight.numel() + bias.as_ref().map_or(0, Tensor::numel);
            Cost::new(&self.path, kind, x, &y).with_parameters(parameters)
        });
        Ok(y)
    }
}

/// A transposed convolution with a k×k kernel.
pub struct ConvTranspose2d {
    path: String,
    weight: ParamId,
    bias: ParamId,
    options: Conv2dOptions,
}

impl ConvTranspose2d {
    /// A transposed convolution from `c_in` to `c_out` channels. `options` are those of the
    /// convolution it transposes. Initialized as in PyTorch: within 1/√(c_out·k²), with the fan-in
    /// of the weight's second dimension.
    pub fn new(
        b: &mut Builder<'_>,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        options: Conv2dOptions,
    ) -> Self {
        let bound = fan_bound(c_out, kernel);
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform(
                "weight",
                &[c_in, c_out / options.groups.max(1), kernel, kernel],
                bound,
            ),
            bias: b.uniform("bias", &[c_out], bound),
            options,
        }
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (cx.param(self.weight)?, cx.param(self.bias)?);
        let y = x.conv_transpose2d(&weight, Some(&bias), self.options)?;
        cx.report(|| {
            let (kernel, fan_out) = taps(&weight);
            let kind = LayerKind::ConvTranspose2d { kernel, fan_out, bias: true };
            let parameters = weight.numel() + bias.numel();
            Cost::new(&self.path, kind, x, &y).with_parameters(parameters)
        });
        Ok(y)
    }
}

/// The sides of a kernel, and the number of weights that one element meets: an output element of a
/// convolution, an input element of a transposed one. Those are all dimensions of `weight` but the
/// first.
fn taps(weight: &Tensor) -> ([usize; 2], usize) {
    let shape = weight.shape();
    ([shape[2], shape[3]], shape[1..].iter().product())
}

fn fan_bound(channels: usize, kernel: usize) -> f64 {
    let fan_in = channels.saturating_mul(kernel).saturating_mul(kernel);
    if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() }
}
