//! Convolutions with their parameters.

use super::{Activation, BatchNorm2d, Module};
use crate::{Builder, Context, Cost, Operation, ParamId, Result};
use engine::{Around, Conv2dOptions, PackedWeight, Tensor};

/// A convolution of `[N, in, H, W]` maps with a k×k kernel.
pub struct Conv2d {
    path: String,
    weight: ParamId,
    bias: Option<ParamId>,
    options: Conv2dOptions,
    gelu: bool,
}

impl Conv2d {
    /// A convolution from `c_in` to `c_out` channels with stride 1 and a padding that keeps an odd
    /// kernel's map size; [`Conv2d::stride`] changes the one.
    ///
    /// Initialised as PyTorch does (He et al. 2015 with a = √5): weight and bias uniform within
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
        let bound = fan_bound(per_group * kernel * kernel);
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform("weight", &[c_out, per_group, kernel, kernel], bound),
            bias: bias.then(|| b.uniform("bias", &[c_out], bound)),
            options,
            gelu: false,
        }
    }

    /// This convolution with another stride.
    pub fn stride(mut self, stride: usize) -> Self {
        self.options.stride = stride;
        self
    }

    /// This convolution with a GELU after it.
    pub fn gelu(self) -> Self {
        Self { gelu: true, ..self }
    }

    /// The convolution, and what is around it, in one pass.
    pub fn forward_with(&self, cx: &Context, x: &Tensor, around: Around<'_>) -> Result<Tensor> {
        self.run(cx, x, around, |weight, bias, around| {
            x.conv2d_with(weight, bias, self.options, around)
        })
    }

    /// The same with the residual `onto`, letting that go as soon as the sum takes its place.
    pub fn forward_onto(
        &self,
        cx: &Context,
        x: &Tensor,
        onto: Tensor,
        around: Around<'_>,
    ) -> Result<Tensor> {
        self.run(cx, x, around, |weight, bias, around| {
            x.conv2d_onto(onto, weight, bias, self.options, around)
        })
    }

    /// `compute` with the weight and the bias, packed if that is known to pay, and its costs.
    fn run(
        &self,
        cx: &Context,
        x: &Tensor,
        around: Around<'_>,
        compute: impl FnOnce(&Tensor, Option<&Tensor>, Around<'_>) -> engine::Result<Tensor>,
    ) -> Result<Tensor> {
        let (weight, bias) =
            (cx.param(self.weight)?, self.bias.map(|bias| cx.param(bias)).transpose()?);
        let packed = cx
            .constants()
            .map(|constants| constants.packed(self.weight, || self.pack(&weight)))
            .transpose()?;
        let around = Around { packed: packed.as_ref(), ..around };
        let y = compute(&weight, bias.as_ref(), around)?;
        if around.gelu_input {
            Activation::Gelu.report(cx, x);
        }
        self.report(cx, &weight, bias.as_ref(), x.shape(), &y);
        if around.gelu_output {
            Activation::Gelu.report(cx, &y);
        }
        Ok(y)
    }
}

impl Conv2d {
    /// The convolution of two maps joined along their channels, without joining them: it is the sum
    /// of a convolution of each with its part of the weight. The second is let go before the first
    /// is made.
    pub fn forward_joined(
        &self,
        cx: &Context,
        first: impl FnOnce() -> Result<Tensor>,
        second: Tensor,
    ) -> Result<Tensor> {
        let (weight, bias) =
            (cx.param(self.weight)?, self.bias.map(|bias| cx.param(bias)).transpose()?);
        let (all, of_second) = (weight.dim("conv2d", 1)?, second.dim("conv2d", 1)?);
        let of_first = all.saturating_sub(of_second);
        let [of_first, of_second] =
            [weight.narrow(1, 0, of_first)?, weight.narrow(1, of_first, of_second)?];
        let pack = || Ok([self.pack(&of_first)?, self.pack(&of_second)?]);
        let packed = cx
            .constants()
            .map(|constants| constants.packed_parts(self.weight, pack))
            .transpose()?;
        let [packed_first, packed_second] =
            packed.as_ref().map_or([None; 2], |[a, b]| [Some(a), Some(b)]);
        let around = Around { packed: packed_second, ..Around::default() };
        let sum = second.conv2d_with(&of_second, bias.as_ref(), self.options, around)?;
        drop(second);
        let first = first()?;
        let mut joined = first.shape().to_vec();
        joined[1] = all;
        let around = Around { gelu_output: self.gelu, packed: packed_first, ..Around::default() };
        let y = first.conv2d_onto(sum, &of_first, None, self.options, around)?;
        self.report(cx, &weight, bias.as_ref(), &joined, &y);
        if self.gelu {
            Activation::Gelu.report(cx, &y);
        }
        Ok(y)
    }

    fn pack(&self, weight: &Tensor) -> Result<PackedWeight> {
        Ok(PackedWeight::new(weight, self.options)?)
    }

    /// Notes the cost of one use with `weight` and maybe a `bias`.
    fn report(
        &self,
        cx: &Context,
        weight: &Tensor,
        bias: Option<&Tensor>,
        input: &[usize],
        y: &Tensor,
    ) {
        cx.report(|| {
            let (kernel, fan_in) = taps(weight);
            let operation = Operation::Conv2d { kernel, fan_in, bias: bias.is_some() };
            Cost {
                path: self.path.clone(),
                operation,
                input: input.to_vec(),
                output: y.shape().to_vec(),
                parameters: weight.numel() + bias.map_or(0, Tensor::numel),
            }
        });
    }
}

/// A convolution, then batch normalisation. In use, with constants, that is one convolution.
pub struct ConvBatchNorm {
    conv: Conv2d,
    norm: BatchNorm2d,
}

impl ConvBatchNorm {
    /// `conv`, then `norm`.
    pub fn new(conv: Conv2d, norm: BatchNorm2d) -> Self {
        Self { conv, norm }
    }
}

impl Module for ConvBatchNorm {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let Some(constants) = cx.constants() else {
            return self.norm.forward(cx, &self.conv.forward(cx, x)?);
        };
        let Conv2d { weight, bias, options, .. } = self.conv;
        // In the dtype that they are kept in; what comes of it is then converted once.
        let (weight_now, bias_now) = (cx.kept(weight), bias.map(|bias| cx.kept(bias)));
        // norm(w ∗ x + b) = scale·(w ∗ x) + (scale·b + shift).
        let [folded, constant] = constants.folded(weight, || {
            let [scale, shift] = self.norm.as_scale_and_shift(cx)?;
            let constant = match &bias_now {
                Some(bias) => bias.mul(&scale)?.add(&shift)?,
                None => shift,
            };
            let weight = weight_now.mul(&scale.reshape(&[scale.numel(), 1, 1, 1])?)?;
            Ok([cx.to_compute(&weight)?, cx.to_compute(&constant)?])
        })?;
        let y = x.conv2d(&folded, Some(&constant), options)?;
        self.conv.report(cx, &weight_now, bias_now.as_ref(), x.shape(), &y);
        self.norm.report(cx, &y);
        Ok(y)
    }
}

fn same_size(kernel: usize) -> Conv2dOptions {
    Conv2dOptions { padding: kernel / 2, ..Conv2dOptions::default() }
}

impl Module for Conv2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.forward_with(cx, x, Around { gelu_output: self.gelu, ..Around::default() })
    }
}

/// A transposed convolution with a k×k kernel.
pub struct ConvTranspose2d {
    path: String,
    weight: ParamId,
    bias: ParamId,
    options: Conv2dOptions,
    gelu: bool,
}

impl ConvTranspose2d {
    /// A transposed convolution from `c_in` to `c_out` channels. `options` are those of the
    /// convolution it transposes. Initialised as PyTorch does: within 1/√(c_out·k²), the fan-in
    /// being counted on the weight's second dimension.
    pub fn new(
        b: &mut Builder<'_>,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        options: Conv2dOptions,
    ) -> Self {
        let bound = fan_bound(c_out * kernel * kernel);
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform(
                "weight",
                &[c_in, c_out / options.groups.max(1), kernel, kernel],
                bound,
            ),
            bias: b.uniform("bias", &[c_out], bound),
            options,
            gelu: false,
        }
    }

    /// This convolution with a GELU after it.
    pub fn gelu(self) -> Self {
        Self { gelu: true, ..self }
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (cx.param(self.weight)?, cx.param(self.bias)?);
        let pack = || Ok(PackedWeight::transposed(&weight, self.options)?);
        let packed =
            cx.constants().map(|constants| constants.packed(self.weight, pack)).transpose()?;
        let y = x.conv_transpose2d_with(
            &weight,
            Some(&bias),
            self.options,
            self.gelu,
            packed.as_ref(),
        )?;
        cx.report(|| {
            let (kernel, fan_out) = taps(&weight);
            let operation = Operation::ConvTranspose2d { kernel, fan_out, bias: true };
            Cost::free(&self.path, operation, x, &y).with_parameters(weight.numel() + bias.numel())
        });
        if self.gelu {
            Activation::Gelu.report(cx, &y);
        }
        Ok(y)
    }
}

/// A kernel's sides, and how many weights one element meets: an output element of a convolution, an
/// input element of a transposed one. Those are all but the first dimension of `weight`.
fn taps(weight: &Tensor) -> ([usize; 2], usize) {
    let shape = weight.shape();
    ([shape[2], shape[3]], shape[1..].iter().product())
}

fn fan_bound(fan_in: usize) -> f64 {
    if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() }
}
