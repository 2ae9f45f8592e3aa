//! The blocks that the network is put together from: convolution with GELU, ResBlock, CNNBlock,
//! ConvS.

use crate::model::config::ModelConfig;
use crate::model::msm::Msm;
use engine::{Conv2dOptions, Tensor};
use nn::layers::{Activation, Conv2d, ConvTranspose2d, InstanceNorm2d, Module, Sequential};
use nn::{Builder, Context, Result};

/// The published code wraps every convolution in a sequence of its own; its parameters are under
/// `main.0`.
pub(super) fn conv(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Conv2d {
    Conv2d::new(&mut b.at("main").at(0), c_in, c_out, kernel)
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

/// Half the size: a 3×3 convolution of stride 2, then GELU.
pub(super) fn down(b: &mut Builder<'_>, c_in: usize, c_out: usize) -> Sequential {
    Sequential::new().then(conv(b, c_in, c_out, 3).stride(2)).then(Activation::Gelu)
}

/// Twice the size: a 4×4 transposed convolution of stride 2, then GELU.
pub(super) fn up(b: &mut Builder<'_>, c_in: usize, c_out: usize) -> Sequential {
    let options = Conv2dOptions { stride: 2, padding: 1, ..Conv2dOptions::default() };
    let conv = ConvTranspose2d::new(&mut b.at("main").at(0), c_in, c_out, 4, options);
    Sequential::new().then(conv).then(Activation::Gelu)
}

/// ConvS (Fig. 3b): shallow features of the shrunken input `[N, 3, H, W]`, 3×3 to C/4, 1×1 to C/2,
/// 3×3 to C/2, 1×1 to C, normalized.
pub fn conv_s(b: &mut Builder<'_>, channels: usize) -> Sequential {
    let (quarter, half) = (channels / 4, channels / 2);
    let mut b = b.at("main");
    Sequential::new()
        .then(conv_gelu(&mut b.at(0), 3, quarter, 3))
        .then(conv_gelu(&mut b.at(1), quarter, half, 1))
        .then(conv_gelu(&mut b.at(2), half, half, 3))
        .then(conv(&mut b.at(3), half, channels, 1))
        .then(InstanceNorm2d::new(&mut b.at(4), channels))
}

/// A residual block: 3×3, GELU, `msm` multi-scale modules, 3×3, plus the input.
pub struct ResBlock {
    first: Conv2d,
    modules: Vec<Msm>,
    last: Conv2d,
}

impl ResBlock {
    /// A block of `channels` channels.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize, msm: usize) -> Self {
        let mut b = b.at("main");
        let first = conv(&mut b.at(0), channels, channels, 3);
        let modules = (0..msm).map(|i| Msm::new(&mut b.at(1 + i), config, channels)).collect();
        // The published code has an identity where a plain block has no module.
        let last = conv(&mut b.at(1 + msm.max(1)), channels, channels, 3);
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
pub(super) fn cnn_block(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Sequential {
    let mut b = b.at("layers");
    (0..=config.n).fold(Sequential::new(), |blocks, i| {
        let msm = if i == config.n { config.msm } else { 0 };
        blocks.then(ResBlock::new(&mut b.at(i), config, channels, msm))
    })
}
