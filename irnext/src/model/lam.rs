//! LAM, the local attention module (Section 3.3): a filter for each group of channels, made from
//! the features themselves.
//!
//! The map is averaged to one vector. A 1×1 convolution turns the vector into G·K² scores, and an
//! activation turns these into the taps of G filters, with which the map is convolved. Filter
//! modulation (FM) reweighs the filter's high-pass part, channel by channel. The 3×3 convolution of
//! equation 3 is in `msm.rs`, since networks without LAM have it, too.
//!
//! The module is linear in the map that it filters, so a plan computes it as one filter and one
//! shift for each channel.

use crate::model::config::{ModelConfig, TapActivation, Variant};
use engine::{Border, Tensor};
use nn::layers::{BatchNorm2d, Conv2d, GlobalAvgPool, Module, Sequential};
use nn::{Builder, Context, Cost, LayerKind, ParamId, Result};

/// A local attention module over maps of a fixed number of channels.
pub struct Lam {
    path: String,
    bank: FilterBank,
    formula: Formula,
}

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
        let ModelConfig { groups, kernel, activation, .. } = config;
        Self {
            path: b.prefix().to_string(),
            bank: FilterBank { groups, kernel, activation },
            formula: match config.variant {
                Variant::Released => Formula::Released(Released::new(b, &config, channels)),
                Variant::Paper => Formula::Paper(Paper::new(b, &config, channels)),
            },
        }
    }

    /// Removes filter modulation: W of the paper, or w of the published code.
    pub(super) fn drop_modulation(&mut self) {
        match &mut self.formula {
            Formula::Released(lam) => lam.w = None,
            Formula::Paper(lam) => lam.w = None,
        }
    }

    /// The filtered map, of the shape of `features` `[N, C, H, W]`, which the 3×3 convolution made
    /// of `x`.
    pub fn forward(&self, cx: &Context, x: &Tensor, features: &Tensor) -> Result<Tensor> {
        let (y, vectors) = match &self.formula {
            Formula::Released(lam) => {
                (lam.forward(cx, self.bank, features)?, 2 + usize::from(lam.w.is_some()))
            }
            Formula::Paper(lam) => {
                (lam.forward(cx, self.bank, x, features)?, usize::from(lam.w.is_some()))
            }
        };
        let kind = LayerKind::DynamicFilter { kernel: [self.bank.kernel; 2] };
        let parameters = vectors * x.dim("lam", 1)?;
        cx.report(|| Cost::new(&self.path, kind, x, &y).with_parameters(parameters));
        Ok(y)
    }
}

/// How scores become filters: G filters of K×K taps, each shared by a group of channels.
#[derive(Clone, Copy)]
struct FilterBank {
    groups: usize,
    kernel: usize,
    activation: TapActivation,
}

impl FilterBank {
    /// The filters `[N, G, K, K]` from `scores` `[N, G·K², 1, 1]`.
    fn filters(self, scores: &Tensor) -> Result<Tensor> {
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
/// With w, λ_l and λ_h per channel the result is λ_l·((w + 1)·(A∗F) − w·mean(F)) + (λ_h + 1)·F. All
/// three start at 0, so the module starts as the identity.
struct Released {
    lambda_l: ParamId,
    lambda_h: ParamId,
    /// None without FM.
    w: Option<ParamId>,
    /// The scores, from mean(F).
    to_scores: Sequential,
}

impl Released {
    fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        let scores = score_count(config);
        Self {
            lambda_l: b.constant("lamb_l", &[channels], 0.0),
            lambda_h: b.constant("lamb_h", &[channels], 0.0),
            w: config.modulation.then(|| b.constant("inside_all", &[channels, 1, 1], 0.0)),
            to_scores: Sequential::new()
                .then(Conv2d::without_bias(&mut b.at("conv"), channels, scores, 1))
                .then(BatchNorm2d::new(&mut b.at("bn"), scores)),
        }
    }

    fn forward(&self, cx: &Context, bank: FilterBank, features: &Tensor) -> Result<Tensor> {
        let mean = GlobalAvgPool.forward(cx, features)?;
        let a = bank.filters(&self.to_scores.forward(cx, &mean)?)?;
        let filtered = features.dynamic_filter(&a, Border::Reflect)?;
        let lambda_l = per_channel(cx, self.lambda_l)?;
        let lambda_h = per_channel(cx, self.lambda_h)?;
        // λ_l is multiplied out: its products with w are of parameters alone.
        let low = match self.w {
            None => filtered.mul(&lambda_l)?,
            Some(w) => {
                let w = per_channel(cx, w)?;
                let gain = lambda_l.mul(&w.affine(1.0, 1.0)?)?;
                filtered.mul(&gain)?.sub(&mean.mul(&lambda_l.mul(&w)?)?)?
            }
        };
        Ok(low.add(&features.mul(&lambda_h.affine(1.0, 1.0)?)?)?)
    }
}

/// As equations 3 to 7 have it.
struct Paper {
    /// Conv₁ₓ₁ of equation 3.
    to_scores: Conv2d,
    /// W of equation 6, per channel, starting at 1; none without FM.
    w: Option<ParamId>,
}

impl Paper {
    fn new(b: &mut Builder<'_>, config: &ModelConfig, channels: usize) -> Self {
        Self {
            w: config.modulation.then(|| b.constant("weight", &[channels, 1, 1], 1.0)),
            to_scores: Conv2d::new(&mut b.at("conv"), channels, score_count(config), 1),
        }
    }

    fn forward(
        &self,
        cx: &Context,
        bank: FilterBank,
        x: &Tensor,
        features: &Tensor,
    ) -> Result<Tensor> {
        // Equation 3, from Conv₃ₓ₃(X).
        let mean = GlobalAvgPool.forward(cx, features)?;
        let a = bank.filters(&self.to_scores.forward(cx, &mean)?)?;
        let a_prime = match self.w {
            None => a,
            Some(w) => {
                // Equation 4: each tap is 1/K², so that A_l takes the mean of a window.
                let a_l = x.constant(&[1.0 / (bank.kernel * bank.kernel) as f64], &[1; 4])?;
                // Equation 5.
                let a_h = for_channels(&a.sub(&a_l)?, x.dim("lam", 1)?)?;
                // Equation 6.
                a_l.add(&per_channel(cx, w)?.mul(&a_h)?)?
            }
        };
        // Equation 7.
        Ok(x.dynamic_filter(&a_prime, Border::Reflect)?.add(x)?)
    }
}

/// The number of scores, G·K².
fn score_count(config: &ModelConfig) -> usize {
    config.groups * config.kernel * config.kernel
}

/// A vector of channels, shaped to broadcast against `[N, C, H, W]`.
fn per_channel(cx: &Context, vector: ParamId) -> Result<Tensor> {
    let vector = cx.param(vector)?;
    Ok(vector.reshape(&[1, vector.numel(), 1, 1])?)
}

/// For each channel the filter of its group: `[N, C, K, K]` from `[N, G, K, K]`.
fn for_channels(filters: &Tensor, channels: usize) -> Result<Tensor> {
    let [n, groups, k, _] = filters.dims4("lam")?;
    Ok(filters
        .reshape(&[n, groups, 1, k * k])?
        .broadcast_to(&[n, groups, channels / groups, k * k])?
        .reshape(&[n, channels, k, k])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use engine::{DType, Padding, Rng, Tape};
    use nn::Params;

    const MAP: [usize; 4] = [3, 16, 5, 7];

    /// A module for [`MAP`] whose parameters are away from where they start, which would make the
    /// released module the identity.
    fn random(config: &ModelConfig, rng: &mut Rng) -> (Lam, Params) {
        let build = |b: &mut Builder<'_>| Ok(Lam::new(b, config, MAP[1]));
        let (lam, mut params) = Params::build(1, DType::F64, build).unwrap();
        let entries = params.entries().iter();
        let values = entries.map(|entry| {
            let value = Tensor::rand(entry.value.shape(), 0.2, 0.8, DType::F64, rng);
            (entry.path.clone(), value.unwrap())
        });
        let values = values.collect();
        params.load("the test", &values).unwrap();
        (lam, params)
    }

    #[test]
    fn a_plan_is_one_filter_with_the_value_and_gradient_of_the_formula() {
        for (variant, modulation) in
            [Variant::Released, Variant::Paper].into_iter().flat_map(|v| [(v, true), (v, false)])
        {
            let mut rng = Rng::new(2);
            let config = ModelConfig { variant, modulation, ..ModelConfig::default() };
            let (lam, params) = random(&config, &mut rng);
            let mut map = || Tensor::randn(&MAP, DType::F64, &mut rng).unwrap();
            let (x, features, seed) = (map(), map(), map());
            // The numbers of value and gradients, and the operations that give a map.
            let run = |as_planned: bool| {
                let tape = Tape::new();
                let cx = Context::training(&params, &tape);
                let inputs = [&x, &features].map(|map| tape.leaf(map));
                let f = |cx: &Context, x: &[Tensor]| Ok(vec![lam.forward(cx, &x[0], &x[1])?]);
                let y = if as_planned { cx.planned(&inputs, f) } else { f(&cx, &inputs) };
                let y = y.unwrap().swap_remove(0);
                let records = tape.to_string();
                let shape = format!("{MAP:?}");
                let of_map = records.lines().filter(|record| record.contains(&shape));
                let of_map: Vec<String> = of_map.map(String::from).collect();
                let mut gradients = tape.backward_from(&[&y], vec![Some(seed.clone())]).unwrap();
                let mut all = vec![Some(y.detach())];
                all.extend(inputs.iter().map(|x| gradients.take(x)));
                all.extend(cx.finish().gradients(gradients));
                let numbers = all.into_iter().flatten().flat_map(|t| t.to_f64_vec().unwrap());
                (numbers.collect::<Vec<f64>>(), of_map)
            };
            let (expected, _) = run(false);
            let (planned, of_map) = run(true);
            let case = format!("{variant:?}, modulation {modulation}");
            assert!(
                of_map.len() == 1 && of_map[0].contains("dynamic_filter"),
                "{case}: {of_map:?}"
            );
            assert_eq!(planned.len(), expected.len());
            for (a, b) in planned.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{case}: {a} and {b}");
            }
        }
    }

    #[test]
    fn without_its_high_pass_part_the_paper_adds_the_mean_of_the_window() {
        let mut rng = Rng::new(3);
        let config = ModelConfig { variant: Variant::Paper, ..ModelConfig::default() };
        let (lam, mut params) = random(&config, &mut rng);
        let (w, entry) = params.parameters().find(|(_, entry)| entry.path == "weight").unwrap();
        let zeros = Tensor::zeros(entry.value.shape(), DType::F64).unwrap();
        params.set(w, zeros).unwrap();
        let [x, features] = [0, 1].map(|_| Tensor::randn(&MAP, DType::F64, &mut rng).unwrap());
        let y = lam.forward(&Context::inference(&params), &x, &features).unwrap();
        let mean = x.pad_reflect(Padding::all(1)).unwrap().avg_pool2d(3, 1).unwrap();
        let expected = mean.add(&x).unwrap().to_f64_vec().unwrap();
        for (a, b) in y.to_f64_vec().unwrap().iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12, "{a} and {b}");
        }
    }
}
