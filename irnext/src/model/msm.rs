//! MSM, the multi-scale module (Section 3.2): several scales in one place of a U-shaped network.
//!
//! Equation 1: the map X is pooled by 8, 4 and 2. Each branch, from the coarsest to the finest,
//! adds the upsampled result of the one before it, then applies a 3×3 convolution and LAM. Equation
//! 2: the results are upsampled to the size of X and added to it, and a 3×3 convolution follows.
//! The published code applies a GELU before that convolution.
//!
//! Read literally, equation 1 upsamples Xᵢ₋₁ twice, where it is made and where it is used, and the
//! sizes would not fit. Here it is upsampled once, as in the published code.

use crate::model::config::{ModelConfig, Pooling, Variant};
use crate::model::lam::Lam;
use engine::{Conv2dOptions, Tensor};
use nn::layers::{Activation, AvgPool2d, Conv2d, MaxPool2d, Module, Sequential};
use nn::{Builder, Context, Cost, LayerKind, Result};

/// A multi-scale module over maps of a fixed number of channels.
pub struct Msm {
    path: String,
    branches: Vec<Branch>,
    conv_sum: Conv2d,
    gelu: bool,
}

struct Branch {
    rate: usize,
    pool: Box<dyn Module>,
    /// Conv₃ₓ₃ of equation 3.
    conv: Conv2d,
    lam: Option<Lam>,
}

impl Msm {
    /// A module for maps of `channels` channels, whose sides the coarsest of the configured pooling
    /// rates must divide.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let config = &config.or_refuse(b);
        // In the published code's order: all convolutions, then all attention modules.
        let rates = config.branches.iter().enumerate();
        let conv = |b: &mut Builder<'_>| Conv2d::without_bias(b, channels, channels, 3).padding(1);
        let convs: Vec<Conv2d> =
            rates.clone().map(|(i, _)| conv(&mut b.at("convs").at(i))).collect();
        let lams: Vec<Option<Lam>> = rates
            .clone()
            .map(|(i, _)| config.lam.then(|| Lam::new(&mut b.at("dynas").at(i), config, channels)))
            .collect();
        let pools: Vec<Box<dyn Module>> = rates
            .map(|(i, &rate)| pool(&mut b.at("pools").at(i), config.pooling, rate, channels))
            .collect();
        let branches = config.branches.iter().zip(pools).zip(convs).zip(lams);
        let branches =
            branches.map(|(((&rate, pool), conv), lam)| Branch { rate, pool, conv, lam });
        Self {
            path: b.prefix().to_string(),
            branches: branches.collect(),
            conv_sum: conv(&mut b.at("conv_sum")),
            gelu: config.variant == Variant::Released,
        }
    }

    /// The module without its coarser branches: the finest `count` are left.
    pub(crate) fn finest(mut self, count: usize) -> Self {
        self.branches.drain(..self.branches.len().saturating_sub(count));
        self
    }

    /// The module without filter modulation: its filters are applied as they were made.
    pub(crate) fn without_modulation(mut self) -> Self {
        self.branches
            .iter_mut()
            .filter_map(|branch| branch.lam.as_mut())
            .for_each(Lam::drop_modulation);
        self
    }

    /// `map`, upsampled to the size of `x`.
    fn upsample(&self, cx: &Context, map: &Tensor, x: &Tensor) -> Result<Tensor> {
        let y = map.bilinear(x.dim("msm", 2)?, x.dim("msm", 3)?, true)?;
        cx.report(|| Cost::new(&self.path, LayerKind::Bilinear, map, &y));
        Ok(y)
    }
}

impl Module for Msm {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        cx.observe(|| format!("{}.input", self.path), x);
        // ANCHOR: equations
        // Equation 1, from the coarsest branch to the finest.
        let mut outputs: Vec<Tensor> = Vec::new();
        for branch in &self.branches {
            let mut input = branch.pool.forward(cx, x)?;
            if let Some(coarser) = outputs.last() {
                input = input.add(&self.upsample(cx, coarser, &input)?)?;
            }
            let features = branch.conv.forward(cx, &input)?;
            let output = match &branch.lam {
                Some(lam) => lam.forward(cx, &input, &features)?,
                None => features,
            };
            cx.observe(|| format!("{}.branch.{}", self.path, branch.rate), &output);
            outputs.push(output);
        }
        // Equation 2.
        let mut sum = x.clone();
        for output in &outputs {
            sum = sum.add(&self.upsample(cx, output, x)?)?;
        }
        // ANCHOR_END: equations
        if self.gelu {
            sum = Activation::Gelu.forward(cx, &sum)?;
        }
        self.conv_sum.forward(cx, &sum)
    }
}

fn pool(b: &mut Builder<'_>, pooling: Pooling, rate: usize, channels: usize) -> Box<dyn Module> {
    match pooling {
        Pooling::Average => Box::new(AvgPool2d::new(rate)),
        Pooling::Max => Box::new(MaxPool2d::new(rate)),
        // The paper says only "learned"; this choice has the parameters that its table counts.
        Pooling::Learned => {
            let options = Conv2dOptions { stride: 2, padding: 1, groups: channels, dilation: 1 };
            let halve = |b: &mut Builder<'_>| {
                Conv2d::with_options(b, channels, channels, 3, false, options)
            };
            let halvings = Sequential::new();
            Box::new((0..rate.ilog2()).fold(halvings, |all, i| all.then(halve(&mut b.at(i)))))
        }
    }
}
