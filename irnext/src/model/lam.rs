//! LAM, the local attention module (Section 3.3): a filter for each group of channels, made from
//! the features themselves.
//!
//! The map is averaged to one vector. A 1×1 convolution turns the vector into G·K² scores, and an
//! activation turns these into the taps of G filters, with which the map is convolved. Filter
//! modulation (FM) reweighs the filter's high-pass part, channel by channel. The 3×3 convolution of
//! equation 3 is in `msm.rs`, since networks without LAM have it, too.

use crate::model::config::{ModelConfig, TapActivation, Variant};
use engine::{Border, Tensor};
use nn::layers::{BatchNorm2d, Conv2d, GlobalAvgPool, Module, Sequential};
use nn::{Builder, Context, Cost, LayerKind, ParamId, Result};

/// A local attention module over maps of a fixed number of channels.
pub struct Lam(Formula);

/// The module by one of the two descriptions of the network.
enum Formula {
    Released(Released),
    Paper(Paper),
}

impl Lam {
    /// A module for maps of `channels` channels; `config` says which variant, G, K, the activation
    /// and whether there is FM.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let config = config.or_refuse(b);
        if !channels.is_multiple_of(config.groups) {
            b.refuse(format!("{channels} channels do not make {} groups", config.groups));
        }
        Self(match config.variant {
            Variant::Released => Formula::Released(Released::new(b, &config, channels)),
            Variant::Paper => Formula::Paper(Paper::new(b, &config, channels)),
        })
    }

    /// Removes filter modulation: W of the paper, or w of the published code.
    pub(super) fn drop_modulation(&mut self) {
        match &mut self.0 {
            Formula::Released(lam) => lam.w = None,
            Formula::Paper(lam) => lam.weight = None,
        }
    }

    /// The filtered map, of the shape of `features` `[N, C, H, W]`, which the 3×3 convolution made
    /// of `x`.
    pub fn forward(&self, cx: &Context, x: &Tensor, features: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Formula::Released(lam) => lam.forward(cx, features),
            Formula::Paper(lam) => lam.forward(cx, x, features),
        }
    }
}

/// `x` filtered with `taps` `[N, C, K, K]`, plus `shift` `[N, C, 1, 1]`; `parameters` are the
/// trained numbers beside the filter, for the report.
fn filter(
    cx: &Context,
    path: &str,
    x: &Tensor,
    taps: &Tensor,
    shift: Option<&Tensor>,
    parameters: usize,
) -> Result<Tensor> {
    let mut y = x.dynamic_filter(taps, Border::Reflect)?;
    if let Some(shift) = shift {
        y = y.add(shift)?;
    }
    let kind = LayerKind::DynamicFilter { kernel: [taps.shape()[2], taps.shape()[3]] };
    cx.report(|| Cost::new(path, kind, x, &y).with_parameters(parameters));
    Ok(y)
}

/// δ, the filter that changes nothing: `[1, 1, K, K]` with a 1 in the center.
fn identity(kernel: usize, like: &Tensor) -> Result<Tensor> {
    let mut taps = vec![0.0; kernel * kernel];
    taps[kernel * kernel / 2] = 1.0;
    Ok(like.constant(&taps, &[1, 1, kernel, kernel])?)
}

/// How scores become filters: G filters of K×K taps, each shared by a group of channels.
#[derive(Clone, Copy)]
struct FilterBank {
    groups: usize,
    kernel: usize,
    activation: TapActivation,
}

impl FilterBank {
    fn new(config: &ModelConfig) -> Self {
        Self { groups: config.groups, kernel: config.kernel, activation: config.activation }
    }

    /// The number of scores, G·K².
    fn score_count(&self) -> usize {
        self.groups * self.kernel * self.kernel
    }

    /// A filter for each of `channels` channels, `[N, C, K, K]`, from `scores` `[N, G·K², 1, 1]`.
    fn filters(self, scores: &Tensor, channels: usize) -> Result<Tensor> {
        let taps = self.group_filters(scores)?;
        let (n, groups, k) = (taps.shape()[0], self.groups, self.kernel);
        let of_groups = taps.reshape(&[n, groups, 1, k * k])?;
        Ok(of_groups
            .broadcast_to(&[n, groups, channels / groups, k * k])?
            .reshape(&[n, channels, k, k])?)
    }

    /// A filter for each group, `[N, G, K, K]`.
    fn group_filters(self, scores: &Tensor) -> Result<Tensor> {
        let (n, groups, k) = (scores.shape()[0], self.groups, self.kernel);
        let scores = scores.reshape(&[n, groups, k * k])?;
        let taps = match self.activation {
            TapActivation::Tanh => scores.tanh()?,
            TapActivation::Sigmoid => scores.sigmoid()?,
            TapActivation::Softmax => scores.softmax(2)?,
        };
        Ok(taps.reshape(&[n, groups, k, k])?)
    }
}

/// As the published code has it. F are the features, the result of the 3×3 convolution, and A the
/// filters computed from them. The mean of the whole map takes the place of A_l∗F, and w = W − 1.
/// With w, λ_l and λ_h per channel the result is λ_l·((A∗F)·(w + 1) − w·mean(F)) + (λ_h + 1)·F. All
/// three start at 0, so the module starts as the identity.
///
/// That is linear in F. So each channel has one filter, A' = λ_l·(w + 1)·A + (λ_h + 1)·δ, and one
/// shift, b = −λ_l·w·mean(F): the result is A'∗F + b, and the map is read and written once.
struct Released {
    path: String,
    lambda_l: ParamId,
    lambda_h: ParamId,
    /// None without FM.
    w: Option<ParamId>,
    /// The scores, from mean(F).
    to_scores: Sequential,
    bank: FilterBank,
}

impl Released {
    fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let bank = FilterBank::new(config);
        let score_count = bank.score_count();
        Self {
            path: b.prefix().to_string(),
            lambda_l: b.constant("lamb_l", &[channels], 0.0),
            lambda_h: b.constant("lamb_h", &[channels], 0.0),
            w: config.modulation.then(|| b.constant("inside_all", &[channels, 1, 1], 0.0)),
            to_scores: Sequential::new()
                .then(Conv2d::without_bias(&mut b.at("conv"), channels, score_count, 1))
                .then(BatchNorm2d::new(&mut b.at("bn"), score_count)),
            bank,
        }
    }

    fn forward(&self, cx: &Context, features: &Tensor) -> Result<Tensor> {
        let channels = features.shape()[1];
        // mean(F), and A, a filter for each channel, from it.
        let mean = GlobalAvgPool.forward(cx, features)?;
        let a = self.bank.filters(&self.to_scores.forward(cx, &mean)?, channels)?;
        // λ_l and λ_h.
        let lambda_l = per_channel(&cx.param(self.lambda_l)?)?;
        let lambda_h = per_channel(&cx.param(self.lambda_h)?)?;
        // (λ_h + 1)·δ.
        let pass_through =
            lambda_h.affine(1.0, 1.0)?.mul(&identity(self.bank.kernel, features)?)?;
        // b = −λ_l·w·mean(F), and λ_l·(w + 1). Without FM w is 0.
        let (shift, gain) = match self.w {
            None => (None, lambda_l),
            Some(w) => {
                let w = per_channel(&cx.param(w)?)?;
                let shift = mean.mul(&lambda_l.mul(&w)?.scale(-1.0)?)?;
                (Some(shift), lambda_l.mul(&w.affine(1.0, 1.0)?)?)
            }
        };
        // A' = λ_l·(w + 1)·A + (λ_h + 1)·δ.
        let a_prime = a.mul(&gain)?.add(&pass_through)?;
        // A'∗F + b.
        let parameters = (2 + usize::from(self.w.is_some())) * channels;
        filter(cx, &self.path, features, &a_prime, shift.as_ref(), parameters)
    }
}

/// As equations 3 to 7 have it. With filters A computed from the 3×3 convolution of X, the filter
/// A_l that takes a window's mean, and W per channel, starting at 1: A' = A_l + W·(A − A_l), and
/// A'∗X + X, which is one filter A' + δ for each channel.
struct Paper {
    path: String,
    /// Conv₁ₓ₁ of equation 3.
    to_scores: Conv2d,
    /// W; none without FM.
    weight: Option<ParamId>,
    bank: FilterBank,
}

impl Paper {
    fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let bank = FilterBank::new(config);
        Self {
            path: b.prefix().to_string(),
            weight: config.modulation.then(|| b.constant("weight", &[channels, 1, 1], 1.0)),
            to_scores: Conv2d::new(&mut b.at("conv"), channels, bank.score_count(), 1),
            bank,
        }
    }

    fn forward(&self, cx: &Context, x: &Tensor, features: &Tensor) -> Result<Tensor> {
        let (channels, k) = (x.shape()[1], self.bank.kernel);
        // Equation 3: A, a filter for each channel, from the features.
        let scores = self.to_scores.forward(cx, &GlobalAvgPool.forward(cx, features)?)?;
        let a = self.bank.filters(&scores, channels)?;
        let a_prime = match self.weight {
            None => a,
            Some(w) => {
                // Equation 4: A_l, which takes the mean of a window; each of its taps is 1/K².
                let a_l = x.constant(&[1.0 / (k * k) as f64], &[1, 1, 1, 1])?;
                // Equation 5: A_h = A − A_l.
                let a_h = a.sub(&a_l)?;
                // Equation 6: A' = A_l + W·A_h.
                a_l.add(&a_h.mul(&per_channel(&cx.param(w)?)?)?)?
            }
        };
        // Equation 7: A'∗X + X, whose second X is a 1 at the center of the filter.
        let taps = a_prime.add(&identity(k, x)?)?;
        filter(cx, &self.path, x, &taps, None, self.weight.map_or(0, |_| channels))
    }
}

/// A vector of channels, shaped to broadcast against `[N, C, H, W]`.
fn per_channel(vector: &Tensor) -> Result<Tensor> {
    Ok(vector.reshape(&[1, vector.numel(), 1, 1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use engine::{DType, Rng, Tape};
    use nn::Params;

    /// The formulas as they are written, each part with an operation of its own.
    fn plain(lam: &Lam, cx: &Context, x: &Tensor, features: &Tensor) -> Tensor {
        let modulation =
            |id: Option<ParamId>| id.map(|id| per_channel(&cx.param(id).unwrap()).unwrap());
        let filtered = |x: &Tensor, taps: &Tensor| x.dynamic_filter(taps, Border::Reflect).unwrap();
        let mean = features.global_avg_pool().unwrap();
        match &lam.0 {
            Formula::Released(lam) => {
                let low = filtered(
                    features,
                    &lam.bank.group_filters(&lam.to_scores.forward(cx, &mean).unwrap()).unwrap(),
                );
                let low = match modulation(lam.w) {
                    Some(w) => low
                        .mul(&w.affine(1.0, 1.0).unwrap())
                        .unwrap()
                        .sub(&mean.mul(&w).unwrap())
                        .unwrap(),
                    None => low,
                };
                let [l, h] = [lam.lambda_l, lam.lambda_h]
                    .map(|id| per_channel(&cx.param(id).unwrap()).unwrap());
                low.mul(&l)
                    .unwrap()
                    .add(&features.mul(&h.affine(1.0, 1.0).unwrap()).unwrap())
                    .unwrap()
            }
            Formula::Paper(lam) => {
                let high = filtered(
                    x,
                    &lam.bank.group_filters(&lam.to_scores.forward(cx, &mean).unwrap()).unwrap(),
                );
                let y = match modulation(lam.weight) {
                    Some(weight) => {
                        let k = lam.bank.kernel;
                        let mean =
                            Tensor::full(&[x.shape()[0], 1, k, k], 1.0 / (k * k) as f64, x.dtype())
                                .unwrap();
                        let low = filtered(x, &mean);
                        low.add(&high.sub(&low).unwrap().mul(&weight).unwrap()).unwrap()
                    }
                    None => high,
                };
                y.add(x).unwrap()
            }
        }
    }

    #[test]
    fn one_filter_is_the_formula_in_value_and_gradient() {
        for (variant, modulation) in
            [Variant::Released, Variant::Paper].into_iter().flat_map(|v| [(v, true), (v, false)])
        {
            let config = ModelConfig { variant, modulation, ..ModelConfig::default() };
            let (lam, mut params) =
                Params::build(1, DType::F64, |b| Ok(Lam::new(b, &config, 16))).unwrap();
            let mut rng = Rng::new(2);
            // Away from where they start, which would make the released module the identity.
            let mut random =
                |like: &Tensor| Tensor::rand(like.shape(), 0.2, 0.8, DType::F64, &mut rng).unwrap();
            let values = params
                .entries()
                .iter()
                .map(|entry| (entry.path.clone(), random(&entry.value)))
                .collect();
            params.load("the test", &values).unwrap();
            let mut map = || Tensor::randn(&[3, 16, 5, 7], DType::F64, &mut rng).unwrap();
            let (x, features, seed) = (map(), map(), map());
            let run = |forward: &dyn Fn(&Context, &Tensor, &Tensor) -> Tensor| {
                let tape = Tape::new();
                let cx = Context::training(&params, &tape);
                let (x, features) = (tape.leaf(&x), tape.leaf(&features));
                let y = forward(&cx, &x, &features);
                let mut gradients = tape.backward_from(&[&y], vec![Some(seed.clone())]).unwrap();
                let mut all = vec![Some(y.detach()), gradients.take(&x), gradients.take(&features)];
                all.extend(cx.finish().gradients(gradients));
                all.into_iter()
                    .flatten()
                    .flat_map(|t| t.to_f64_vec().unwrap())
                    .collect::<Vec<f64>>()
            };
            let folded = run(&|cx, x, features| lam.forward(cx, x, features).unwrap());
            let expected = run(&|cx, x, features| plain(&lam, cx, x, features));
            assert_eq!(folded.len(), expected.len());
            let worst = folded
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs() / b.abs().max(1.0))
                .max_by(f64::total_cmp)
                .unwrap_or(0.0);
            assert!(worst < 1e-12, "{variant:?}, modulation {modulation}: {worst:e}");
        }
    }
}
