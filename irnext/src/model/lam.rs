//! LAM, the local attention module (Section 3.3): a filter for each group of channels, made from the features themselves.
//!
//! The map is averaged to one vector, a 1×1 convolution turns it into G·K² scores, and an activation into the taps of G
//! filters, which the map is then convolved with. Filter modulation (FM) re-weighs the filter's high-pass part, channel by channel.

use crate::model::config::{ModelConfig, TapActivation, Variant};
use engine::{Border, Tensor};
use nn::layers::{BatchNorm2d, Conv2d, GlobalAvgPool, Module};
use nn::{Builder, Context, Cost, Operation, ParamId, Result};

/// A local attention module over maps of a fixed number of channels.
pub struct Lam(Kind);

enum Kind {
    Released(Released),
    Paper(Paper),
}

impl Lam {
    /// A module for maps of `channels` channels; `config` says which variant, G, K, the activation and whether there is FM.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        Self(match config.variant {
            Variant::Released => Kind::Released(Released::new(b, config, channels)),
            Variant::Paper => Kind::Paper(Paper::new(b, config, channels)),
        })
    }

    /// Leaves the filter as it is made: W or w has no part in it any more.
    pub(super) fn drop_modulation(&mut self) {
        match &mut self.0 {
            Kind::Released(lam) => lam.inside_all = None,
            Kind::Paper(lam) => lam.weight = None,
        }
    }

    /// The filtered map, of the shape of `features` `[N, C, H, W]`, which is what the 3×3 convolution made of `x`.
    pub fn forward(&self, cx: &Context, x: &Tensor, features: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Kind::Released(lam) => lam.forward(cx, features),
            Kind::Paper(lam) => lam.forward(cx, x, features),
        }
    }
}

/// `x` filtered with `taps` `[N, G, K, K]`; `parameters` are the trained numbers beside the filter, for the report.
fn filter(cx: &Context, path: &str, x: &Tensor, taps: &Tensor, parameters: usize) -> Result<Tensor> {
    let y = x.dynamic_filter(taps, Border::Reflect)?;
    let operation = Operation::DynamicFilter { kernel: [taps.shape()[2], taps.shape()[3]] };
    cx.report(|| Cost::free(path, operation, x, &y).with_parameters(parameters));
    Ok(y)
}

/// G filters of K×K taps from scores `[N, G·K², 1, 1]`.
#[derive(Clone, Copy)]
struct Taps {
    groups: usize,
    kernel: usize,
    activation: TapActivation,
}

impl Taps {
    fn new(config: &ModelConfig) -> Self {
        Self { groups: config.groups, kernel: config.kernel, activation: config.activation }
    }

    fn scores(&self) -> usize {
        self.groups * self.kernel * self.kernel
    }

    /// `[N, G, K, K]`.
    fn of_scores(self, scores: &Tensor) -> Result<Tensor> {
        let (n, k) = (scores.shape()[0], self.kernel);
        let scores = scores.reshape(&[n, self.groups, k * k])?;
        let taps = match self.activation {
            TapActivation::Tanh => scores.tanh()?,
            TapActivation::Sigmoid => scores.sigmoid()?,
            TapActivation::Softmax => scores.softmax(2)?,
        };
        Ok(taps.reshape(&[n, self.groups, k, k])?)
    }
}

/// As the published code has it. With taps A made of the 3×3 convolution's output X, w, λ_l and λ_h per channel:
/// λ_l·((A∗X)·(w + 1) − w·mean(X)) + (λ_h + 1)·X. All three start at 0, so the module starts as the identity.
struct Released {
    path: String,
    lamb_l: ParamId,
    lamb_h: ParamId,
    /// w; none without FM.
    inside_all: Option<ParamId>,
    conv: Conv2d,
    norm: BatchNorm2d,
    taps: Taps,
}

impl Released {
    fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let taps = Taps::new(config);
        Self {
            path: b.prefix().to_string(),
            lamb_l: b.constant("lamb_l", &[channels], 0.0),
            lamb_h: b.constant("lamb_h", &[channels], 0.0),
            inside_all: config.modulation.then(|| b.constant("inside_all", &[channels, 1, 1], 0.0)),
            conv: Conv2d::without_bias(&mut b.at("conv"), channels, taps.scores(), 1),
            norm: BatchNorm2d::new(&mut b.at("bn"), taps.scores()),
            taps,
        }
    }

    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let mean = GlobalAvgPool.forward(cx, x)?;
        let scores = self.norm.forward(cx, &self.conv.forward(cx, &mean)?)?;
        let parameters = (2 + usize::from(self.inside_all.is_some())) * x.shape()[1];
        let low = filter(cx, &self.path, x, &self.taps.of_scores(&scores)?, parameters)?;
        let modulated = match self.inside_all {
            Some(w) => {
                let w = per_channel(&cx.param(w))?;
                low.mul(&w.affine(1.0, 1.0)?)?.sub(&mean.mul(&w)?)?
            }
            None => low,
        };
        let (lamb_l, lamb_h) = (per_channel(&cx.param(self.lamb_l))?, per_channel(&cx.param(self.lamb_h))?);
        Ok(modulated.mul(&lamb_l)?.add(&x.mul(&lamb_h.affine(1.0, 1.0)?)?)?)
    }
}

/// As equations 3 to 7 have it. With taps A made of the 3×3 convolution of X, the filter A_l that takes a window's mean, and
/// W per channel, starting at 1: A' = A_l + W·(A − A_l), and A'∗X + X. Written out, W·(A∗X) + (1 − W)·(A_l∗X) + X.
struct Paper {
    path: String,
    conv: Conv2d,
    /// W; none without FM.
    weight: Option<ParamId>,
    taps: Taps,
}

impl Paper {
    fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let taps = Taps::new(config);
        Self {
            path: b.prefix().to_string(),
            weight: config.modulation.then(|| b.constant("weight", &[channels, 1, 1], 1.0)),
            conv: Conv2d::new(&mut b.at("conv"), channels, taps.scores(), 1),
            taps,
        }
    }

    fn forward(&self, cx: &Context, x: &Tensor, features: &Tensor) -> Result<Tensor> {
        let scores = self.conv.forward(cx, &GlobalAvgPool.forward(cx, features)?)?;
        let parameters = self.weight.map_or(0, |_| x.shape()[1]);
        let filtered = filter(cx, &self.path, x, &self.taps.of_scores(&scores)?, parameters)?;
        let filtered = match self.weight {
            Some(weight) => {
                let (n, k) = (x.shape()[0], self.taps.kernel);
                let mean = Tensor::full(&[n, 1, k, k], 1.0 / (k * k) as f64, x.dtype());
                let low = filter(cx, &self.path, x, &mean, 0)?;
                let weight = per_channel(&cx.param(weight))?;
                low.add(&filtered.sub(&low)?.mul(&weight)?)?
            }
            None => filtered,
        };
        Ok(filtered.add(x)?)
    }
}

/// A vector of channels, shaped to broadcast against `[N, C, H, W]`.
fn per_channel(vector: &Tensor) -> Result<Tensor> {
    Ok(vector.reshape(&[1, vector.numel(), 1, 1])?)
}
