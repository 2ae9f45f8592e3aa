//! The blocks of the network: convolution with GELU, downsampling and upsampling, ConvS, ResBlock,
//! CNNBlock.

use crate::model::config::ModelConfig;
use crate::model::msm::Msm;
use engine::Tensor;
use nn::layers::{Activation, Conv2d, ConvTranspose2d, InstanceNorm2d, Module, Sequential};
use nn::{Builder, Context, Result};
use std::sync::Arc;

/// A convolution that keeps the size of the map. The published code wraps each in a sequence of its
/// own; its parameters are under `main.0`.
pub(super) fn conv(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Conv2d {
    Conv2d::new(&mut b.at("main").at(0), c_in, c_out, kernel).padding(kernel / 2)
}

/// A convolution, then GELU.
pub(super) fn conv_gelu(
    b: &mut Builder<'_>,
    c_in: usize,
    c_out: usize,
    kernel: usize,
) -> Sequential {
    Sequential::new().then(conv(b, c_in, c_out, kernel)).then(Activation::Gelu)
}

/// Halves the size: a 3×3 convolution of stride 2, then GELU.
pub(super) fn downsample(b: &mut Builder<'_>, c_in: usize, c_out: usize) -> Sequential {
    Sequential::new().then(conv(b, c_in, c_out, 3).stride(2)).then(Activation::Gelu)
}

/// Doubles the size: a 4×4 transposed convolution of stride 2, then GELU.
pub(super) fn upsample(b: &mut Builder<'_>, c_in: usize, c_out: usize) -> Sequential {
    let conv = ConvTranspose2d::new(&mut b.at("main").at(0), c_in, c_out, 4);
    Sequential::new().then(conv.stride(2).padding(1)).then(Activation::Gelu)
}

/// ConvS (Fig. 3b): shallow features of the downsampled input `[N, 3, H, W]`, 3×3 to C/4, 1×1 to
/// C/2, 3×3 to C/2, 1×1 to C, normalized.
pub fn conv_s(b: &mut Builder<'_>, channels: usize) -> Sequential {
    let (quarter, half) = (channels / 4, channels / 2);
    let mut b = b.at("main");
    Sequential::new()
        .then(conv_gelu(&mut b.at(0), 3, quarter, 3))
        .then(conv_gelu(&mut b.at(1), quarter, half, 1))
        .then(conv_gelu(&mut b.at(2), half, half, 3))
        .then(conv(&mut b.at(3), half, channels, 1))
        .then(InstanceNorm2d::affine(&mut b.at(4), channels))
}

/// A residual block: a 3×3 convolution, GELU, multi-scale modules if any, a 3×3 convolution, plus
/// the input.
pub struct ResBlock {
    first: Conv2d,
    modules: Vec<Msm>,
    last: Conv2d,
}

impl ResBlock {
    /// A block of `channels` channels with `msm_count` multi-scale modules.
    pub fn new(
        b: &mut Builder<'_>,
        config: &ModelConfig,
        channels: usize,
        msm_count: usize,
    ) -> Self {
        let mut b = b.at("main");
        let first = conv(&mut b.at(0), channels, channels, 3);
        let module = |i| Msm::new(&mut b.at(1 + i), config, channels);
        let modules = (0..msm_count).map(module).collect();
        // The published code has an identity where a plain block has no module.
        let last = conv(&mut b.at(1 + msm_count.max(1)), channels, channels, 3);
        Self { first, modules, last }
    }
}

impl Module for ResBlock {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let mut y = Activation::Gelu.forward(cx, &self.first.forward(cx, x)?)?;
        for module in &self.modules {
            y = module.forward(cx, &y)?;
        }
        Ok(self.last.forward(cx, &y)?.add(x)?)
    }
}

/// CNNBlock (Fig. 3c): n plain residual blocks, and one with MSM.
pub(super) struct CnnBlock(Arc<Sequential>);

impl CnnBlock {
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let mut b = b.at("layers");
        let blocks = (0..=config.n).fold(Sequential::new(), |blocks, i| {
            let msm_count = if i == config.n { config.msm } else { 0 };
            blocks.then(ResBlock::new(&mut b.at(i), config, channels, msm_count))
        });
        Self(Arc::new(blocks))
    }

    /// The block's result; with checkpoints, the backward pass computes the block again.
    pub fn forward(&self, cx: &Context, x: Tensor) -> Result<Tensor> {
        let blocks = self.0.clone();
        cx.checkpoint(&x, move |cx, x| blocks.forward(cx, x))
    }
}
