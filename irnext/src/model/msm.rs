//! MSM, the multi-scale module (Section 3.2): several scales in one place of a U-shaped network.
//!
//! Equations 1 and 2: the map is pooled by 8, 4 and 2; each branch, from the coarsest on, gets the
//! one before it, enlarged, as an addition, is convolved and attended to, and goes on; all are
//! enlarged to the input's size and added to it, and a 3×3 convolution closes. The published code
//! applies a GELU before that convolution.
//!
//! To the letter, equation 1 enlarges a branch twice before the next one, where it is made and
//! where it is used; then the sizes would not fit. It is enlarged once here, as in the published
//! code.

use crate::model::config::{ModelConfig, Pooling, Variant};
use crate::model::lam::Lam;
use engine::{Around, Conv2dOptions, Tensor};
use nn::layers::{Activation, Conv2d, Module, Sequential};
use nn::{Builder, Context, Cost, Operation, Result};

/// A multi-scale module over maps of a fixed number of channels.
pub struct Msm {
    path: String,
    branches: Vec<Branch>,
    conv_sum: Conv2d,
    gelu: bool,
}

struct Branch {
    rate: usize,
    pool: Pool,
    conv: Conv2d,
    lam: Option<Lam>,
}

enum Pool {
    Average,
    Max,
    Learned(Sequential),
}

impl Msm {
    /// A module for maps of `channels` channels, whose sides the coarsest of the configured pooling
    /// rates must divide.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        // In the published code's order: all convolutions, then all attention modules.
        let rates = config.branches.iter().enumerate();
        let convs: Vec<Conv2d> = rates
            .clone()
            .map(|(i, _)| Conv2d::without_bias(&mut b.at("convs").at(i), channels, channels, 3))
            .collect();
        let lams: Vec<Option<Lam>> = rates
            .clone()
            .map(|(i, _)| config.lam.then(|| Lam::new(&mut b.at("dynas").at(i), config, channels)))
            .collect();
        let pools: Vec<Pool> = rates
            .map(|(i, &rate)| pool(&mut b.at("pools").at(i), config.pooling, rate, channels))
            .collect();
        let branches = config.branches.iter().zip(pools).zip(convs).zip(lams);
        let branches =
            branches.map(|(((&rate, pool), conv), lam)| Branch { rate, pool, conv, lam });
        Self {
            path: b.prefix().to_string(),
            branches: branches.collect(),
            conv_sum: Conv2d::without_bias(&mut b.at("conv_sum"), channels, channels, 3),
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

    /// The map `x`, shrunk for each branch.
    ///
    /// A mean of means is the mean of the whole window, as the maximum of maxima is its maximum:
    /// all but the finest are made of the next finer one, and `x` is read once. Costs are those of
    /// the definition.
    fn shrink(&self, cx: &Context, x: &Tensor) -> Result<Vec<Tensor>> {
        let mut shrunken: Vec<Tensor> = Vec::new();
        let mut rate = 1;
        for branch in self.branches.iter().rev() {
            let finer = shrunken.last().unwrap_or(x);
            let step = branch.rate / rate;
            let (y, operation) = match &branch.pool {
                Pool::Average => {
                    (finer.avg_pool2d(step, step)?, Some(Operation::AvgPool2d(branch.rate)))
                }
                Pool::Max => {
                    (finer.max_pool2d(step, step)?, Some(Operation::MaxPool2d(branch.rate)))
                }
                Pool::Learned(halvings) => (halvings.forward(cx, x)?, None),
            };
            if let Some(operation) = operation {
                cx.report(|| Cost::free("", operation, x, &y));
            }
            shrunken.push(y);
            rate = branch.rate;
        }
        shrunken.reverse();
        Ok(shrunken)
    }

    /// `x` plus `coarser` maps, each enlarged to its size; the GELU of that, if asked for.
    fn add_enlarged(
        &self,
        cx: &Context,
        x: Tensor,
        coarser: &[&Tensor],
        gelu: bool,
    ) -> Result<Tensor> {
        let y = match gelu {
            true => x.add_bilinear_gelu(coarser, true)?,
            false => x.add_bilinear(coarser, true)?,
        };
        coarser
            .iter()
            .for_each(|map| cx.report(|| Cost::free(&self.path, Operation::Bilinear, map, &y)));
        if gelu {
            Activation::Gelu.report(cx, &y);
        }
        Ok(y)
    }
}

impl Module for Msm {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.forward_owned(cx, x.clone())
    }

    fn forward_owned(&self, cx: &Context, x: Tensor) -> Result<Tensor> {
        cx.observe(|| format!("{}.input", self.path), &x);
        let mut made: Vec<Tensor> = Vec::new();
        for (branch, mut y) in self.branches.iter().zip(self.shrink(cx, &x)?) {
            if let Some(coarser) = made.last() {
                y = self.add_enlarged(cx, y, &[coarser], false)?;
            }
            let features = branch.conv.forward(cx, &y)?;
            let y = match &branch.lam {
                Some(lam) => lam.forward(cx, &y, &features)?,
                None => features,
            };
            cx.observe(|| format!("{}.branch.{}", self.path, branch.rate), &y);
            made.push(y);
        }
        // As in a residual block: in training the convolution takes the GELU as it reads, and the
        // sum alone is kept.
        let gelu_input = self.gelu && cx.is_training();
        let sum =
            self.add_enlarged(cx, x, &made.iter().collect::<Vec<_>>(), self.gelu && !gelu_input)?;
        drop(made);
        self.conv_sum.forward_with(cx, &sum, Around { gelu_input, ..Around::default() })
    }
}

fn pool(b: &mut Builder<'_>, pooling: Pooling, rate: usize, channels: usize) -> Pool {
    match pooling {
        Pooling::Average => Pool::Average,
        Pooling::Max => Pool::Max,
        // The paper says only "learned"; this choice has the parameters that its table counts.
        Pooling::Learned => {
            Pool::Learned((0..rate.ilog2()).fold(Sequential::new(), |halvings, i| {
                let options =
                    Conv2dOptions { stride: 2, padding: 1, groups: channels, dilation: 1 };
                halvings.then(Conv2d::with_options(
                    &mut b.at(i),
                    channels,
                    channels,
                    3,
                    false,
                    options,
                ))
            }))
        }
    }
}
