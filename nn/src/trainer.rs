//! A training run whose steps are one call each.
//!
//! A step runs forward and backward, moves the parameters, stores the new running statistics, and
//! updates the moving average. Those who need its parts, for mixed precision, several processes or
//! recorded steps, find them in [`TrainingStep`].

use crate::optim::{Clip, Optimizer, Rule, norm};
use crate::{Context, Ema, Error, Params, Result, TrainingStep};
use engine::{Tape, Tensor};

/// The state of a training run.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{Linear, Module};
/// use nn::optim::Rule;
/// use nn::{Context, Params, Trainer, loss};
///
/// let (line, params) = Params::build(0, DType::F64, |b| Ok(Linear::new(b, 1, 1)))?;
/// let x = Tensor::from_slice(&[-1.0, 0.0, 1.0], &[3, 1])?;
/// let y = Tensor::from_slice(&[1.0, 3.0, 5.0], &[3, 1])?;
/// let mut trainer = Trainer::new(params, Rule::adam());
/// for _ in 0..400 {
///     trainer.step(0.05, |cx| loss::mse(&line.forward(cx, &x)?, &y))?;
/// }
/// let prediction = line.forward(&Context::inference(&trainer.params), &x)?;
/// assert!(loss::mse(&prediction, &y)?.item()? < 1e-6);
/// # Ok::<_, nn::Error>(())
/// ```
///
/// To resume a run, make one with its parameters, its settings and its [number of
/// steps](Trainer::with_steps), and set [`Trainer::optimizer`] and [`Trainer::ema`] to those that
/// [`Optimizer::resume`] and [`Ema::resume`] return.
#[derive(Debug)]
pub struct Trainer {
    /// The model's values, moved by each step.
    pub params: Params,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The moving average, if there is one.
    pub ema: Option<Ema>,
    seed: u64,
    limit: f64,
    /// The steps taken; less than the optimizer has counted if its state was put in since.
    taken: u64,
}

impl Trainer {
    /// A run that begins at `params`: without a moving average, gradients as they are, seed 0.
    pub fn new(params: Params, rule: Rule) -> Self {
        let optimizer = Optimizer::new(rule, &params);
        Self { params, optimizer, ema: None, seed: 0, limit: f64::INFINITY, taken: 0 }
    }

    /// The same run, with a moving average of this `decay`.
    ///
    /// # Errors
    /// Same errors as [`Ema::new`].
    pub fn with_ema(self, decay: f64) -> Result<Self> {
        Ok(Self { ema: Some(Ema::new(&self.params, decay)?), ..self })
    }

    /// The same run, whose gradients are scaled down to the global norm `limit`, which is not
    /// negative: [`Trainer::step`] refuses others.
    ///
    /// ```
    /// use nn::optim::Rule;
    /// use nn::{Params, Trainer};
    /// let build = |b: &mut nn::Builder<'_>| Ok(b.constant("w", &[], 1.0));
    /// let (w, params) = Params::build(0, engine::DType::F64, build)?;
    /// let sgd = Rule::Sgd { momentum: 0.0, weight_decay: 0.0 };
    /// let mut trainer = Trainer::new(params, sgd).with_clip(0.5);
    /// // The gradient of 100·w is 100; the step is taken along 0.5.
    /// trainer.step(0.1, |cx| Ok(cx.param(w)?.scale(100.0)?))?;
    /// assert!((trainer.params.get(w)?.item()? - 0.95).abs() < 1e-6);
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn with_clip(self, limit: f64) -> Self {
        Self { limit, ..self }
    }

    /// The same run, with other [random numbers](Context::with_seed) for layers that draw some.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same run, of which `steps` were taken before it was saved. Where some parameter has a
    /// gradient in every step, the optimizer's state tells their number; where losses alternate
    /// between parameters, only this does.
    ///
    /// ```
    /// use nn::optim::Rule;
    /// use nn::{Params, Trainer};
    /// let build = |b: &mut nn::Builder<'_>| {
    ///     Ok([b.constant("v", &[], 1.0), b.constant("w", &[], 1.0)])
    /// };
    /// let (ids, params) = Params::build(0, engine::DType::F64, build)?;
    /// let mut trainer = Trainer::new(params.clone(), Rule::adam());
    /// for id in ids {
    ///     trainer.step(0.1, |cx| Ok(cx.param(id)?.square()?))?;
    /// }
    /// assert_eq!((trainer.steps(), trainer.optimizer.steps()), (2, &[1, 1][..]));
    /// let resumed = Trainer::new(params, Rule::adam()).with_steps(trainer.steps());
    /// assert_eq!(resumed.steps(), 2);
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn with_steps(self, steps: u64) -> Self {
        Self { taken: steps, ..self }
    }

    /// The number of steps taken, those before the run was [resumed](Trainer::with_steps) included.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps().iter().copied().fold(self.taken, u64::max)
    }

    /// Takes a step with learning rate `lr` against the gradient of `loss`, which is computed in a
    /// pass in training. Returns its value.
    ///
    /// # Errors
    /// Those of `loss`; [`Error::Setting`] if the loss or its gradient is not finite, or the
    /// learning rate negative or not finite; [`Error::Engine`] if the rule's numbers or the limit
    /// of the norm are [out of range](Rule::check). Either, if the loss depends on no parameter, or
    /// only through operations without a gradient, such as comparisons. After an error, everything
    /// is as it was before.
    pub fn step(&mut self, lr: f64, loss: impl FnOnce(&Context) -> Result<Tensor>) -> Result<f64> {
        let tape = Tape::new();
        let cx = Context::training(&self.params, &tape).with_seed(self.seed, self.steps());
        let loss = loss(&cx)?;
        let (pass, taken) = (cx.finish(), self.steps());
        let gradients = pass.gradients(tape.backward(&loss)?);
        if gradients.iter().all(Option::is_none) {
            let message = "the loss depends on no parameter of the model: there is no step to take";
            return Err(Error::Setting(message.into()));
        }
        let norm = norm(&gradients)?;
        let (loss, length) = (loss.item()?, norm.item()?);
        if !(loss.is_finite() && length.is_finite()) {
            let message =
                format!("a step with loss {loss} and gradient norm {length} is not taken");
            return Err(Error::Setting(message));
        }
        let clip = Clip { norm: &norm, limit: self.limit };
        let mut step = TrainingStep::begin(&mut self.optimizer, self.ema.as_mut(), lr)?;
        step.apply(&mut self.params, &gradients, pass, Some(clip))?;
        step.commit();
        self.taken = taken.saturating_add(1);
        Ok(loss)
    }

    /// The values for predictions: the moving average, or those of the last step without one.
    ///
    /// ```
    /// use nn::optim::Rule;
    /// use nn::{Params, Trainer};
    /// let build = |b: &mut nn::Builder<'_>| Ok(b.constant("w", &[], 1.0));
    /// let (w, params) = Params::build(0, engine::DType::F64, build)?;
    /// let sgd = Rule::Sgd { momentum: 0.0, weight_decay: 0.0 };
    /// let mut trainer = Trainer::new(params, sgd).with_ema(0.5)?;
    /// trainer.step(0.1, |cx| Ok(cx.param(w)?.square()?))?;
    /// assert_eq!(trainer.params.get(w)?.item()?, 0.8);
    /// // The first update's decay is 1/10.
    /// assert!((trainer.averaged()?.get(w)?.item()? - 0.82).abs() < 1e-15);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn averaged(&self) -> Result<Params> {
        match &self.ema {
            Some(ema) => self.params.with_values(ema.values().to_vec()),
            None => Ok(self.params.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm2d, Dropout, Linear, Module};
    use crate::loss;
    use engine::{DType, Rng};

    /// A network with all that a step must remember, and a batch for it.
    fn run() -> (impl Fn(&Context) -> Result<Tensor>, Trainer) {
        let (net, params) = Params::build(3, DType::F64, |b| {
            Ok((BatchNorm2d::new(&mut b.at("norm"), 2), Linear::new(&mut b.at("head"), 3, 1)))
        })
        .unwrap();
        let [x, target] = [(1, [4, 2, 3, 3]), (2, [4, 2, 3, 1])]
            .map(|(seed, shape)| Tensor::randn(&shape, DType::F64, &mut Rng::new(seed)).unwrap());
        let forward = move |cx: &Context| {
            let y = Dropout::new(0.3)?.forward(cx, &net.0.forward(cx, &x)?)?;
            loss::mse(&net.1.forward(cx, &y)?, &target)
        };
        let trainer = Trainer::new(params, Rule::adam()).with_ema(0.9).unwrap();
        (forward, trainer.with_clip(0.5).with_seed(7))
    }

    fn bits(trainer: &Trainer) -> Vec<u64> {
        let values = trainer.params.values().into_iter();
        let all = values.chain(trainer.averaged().unwrap().values());
        all.flat_map(|value| value.to_f64_vec().unwrap()).map(f64::to_bits).collect()
    }

    #[test]
    fn a_resumed_run_takes_the_same_steps() {
        let (loss, mut whole) = run();
        let losses: Vec<f64> = (0..6).map(|_| whole.step(0.1, &loss).unwrap()).collect();
        assert!(losses[5] < losses[0], "{losses:?}");
        let (loss, mut first) = run();
        for expected in &losses[..3] {
            assert_eq!(first.step(0.1, &loss).unwrap(), *expected);
        }
        let (params, state) = (first.params, first.optimizer);
        let tensors = state.tensors(&params).into_iter().collect();
        let steps = state.steps().to_vec();
        let optimizer = Optimizer::resume(Rule::adam(), &params, steps, &tensors).unwrap();
        let mut second = Trainer::new(params, Rule::adam()).with_clip(0.5).with_seed(7);
        second.optimizer = optimizer;
        second.ema =
            first.ema.map(|ema| Ema::resume(0.9, ema.updates(), ema.values().to_vec()).unwrap());
        let resumed: Vec<f64> = (0..3).map(|_| second.step(0.1, &loss).unwrap()).collect();
        assert_eq!(resumed, losses[3..]);
        assert_eq!(bits(&second), bits(&whole));
        assert_eq!(second.steps(), 6);
    }

    #[test]
    fn layers_draw_from_the_seed_and_the_step() {
        let (_, params) = Params::build(0, DType::F64, |_| Ok(())).unwrap();
        let x = Tensor::randn(&[100], DType::F64, &mut Rng::new(1)).unwrap();
        let loss =
            |cx: &Context| -> Result<Tensor> { Ok(Dropout::new(0.5)?.forward(cx, &x)?.sum_all()?) };
        let by_hand = |step| {
            let tape = Tape::new();
            let cx = Context::training(&params, &tape).with_seed(7, step);
            loss(&cx).unwrap().item().unwrap()
        };
        let expected = [0, 1, 2].map(by_hand);
        assert!(expected[0] != expected[1] && expected[1] != expected[2]);
        // Parameters of which one has a gradient in the first step alone: the steps still count.
        let (ids, params) = Params::build(0, DType::F64, |b| {
            Ok([b.constant("v", &[], 1.0), b.constant("w", &[], 1.0)])
        })
        .unwrap();
        let mut trainer = Trainer::new(params, Rule::adam()).with_seed(7);
        for (step, expected) in expected.into_iter().enumerate() {
            let drawn = trainer.step(0.1, |cx| {
                let used = if step == 0 { &ids[..] } else { &ids[..1] };
                let zeros = used.iter().map(|&id| Ok(cx.param(id)?.scale(0.0)?));
                let zeros: Vec<Tensor> = zeros.collect::<Result<_>>()?;
                zeros.iter().try_fold(loss(cx)?, |sum, zero| Ok(sum.add(zero)?))
            });
            assert_eq!(drawn.unwrap(), expected, "{step}");
        }
        assert_eq!((trainer.steps(), trainer.optimizer.steps()), (3, &[3, 1][..]));
    }

    #[test]
    fn every_step_counts_whichever_parameters_it_moves() {
        let (ids, params) = Params::build(0, DType::F64, |b| {
            Ok([b.constant("v", &[100], 1.0), b.constant("w", &[100], 1.0)])
        })
        .unwrap();
        let sgd = Rule::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let masks = |trainer: &mut Trainer, steps: std::ops::Range<usize>| {
            steps
                .map(|step| {
                    let mut mask = Vec::new();
                    let loss = |cx: &Context| -> Result<Tensor> {
                        let ones = Tensor::ones(&[100], DType::F64)?;
                        let kept = Dropout::new(0.5)?.forward(cx, &ones)?;
                        mask = kept.to_f64_vec()?;
                        Ok(cx.param(ids[step % 2])?.mul(&kept)?.sum_all()?)
                    };
                    trainer.step(0.1, loss).unwrap();
                    mask
                })
                .collect::<Vec<_>>()
        };
        let mut whole = Trainer::new(params.clone(), sgd);
        let all = masks(&mut whole, 0..6);
        assert!((1..6).all(|i| !all[..i].contains(&all[i])));
        assert_eq!((whole.steps(), whole.optimizer.steps()), (6, &[3, 3][..]));
        let resumed = masks(&mut Trainer::new(params, sgd).with_steps(4), 4..6);
        assert_eq!(resumed, all[4..]);
    }

    #[test]
    fn a_loss_that_moves_nothing_is_refused() {
        let (loss, mut trainer) = run();
        trainer.step(0.1, &loss).unwrap();
        let (before, x) = (bits(&trainer), Tensor::ones(&[3], DType::F64).unwrap());
        let weight = trainer.params.parameters().next().unwrap().0;
        let refused = |trainer: &mut Trainer, loss: &dyn Fn(&Context) -> Result<Tensor>| {
            let message = trainer.step(0.1, loss).unwrap_err().to_string();
            assert!(message.contains("the loss depends on no parameter"), "{message}");
            assert_eq!((bits(trainer), trainer.steps()), (before.clone(), 1));
        };
        refused(&mut trainer, &|_| Ok(x.sum_all()?));
        refused(&mut trainer, &|cx| Ok(cx.param(weight)?.ge(0.5)?.mean_all()?));
        refused(&mut trainer, &|cx| Ok(loss(cx)?.detach()));
        refused(&mut trainer, &|cx| {
            let places = cx.param(weight)?.argmax(0)?;
            Ok(places.to_dtype(DType::F64)?.sum_all()?)
        });
        refused(&mut trainer, &|cx| {
            let whole = cx.param(weight)?.to_dtype(DType::I64)?;
            Ok(whole.to_dtype(DType::F64)?.sum_all()?)
        });
    }

    #[test]
    fn a_layer_in_the_middle_can_be_frozen() {
        let (layers, params) = Params::build(0, DType::F64, |b| {
            let norm = BatchNorm2d::new(&mut b.at(1), 2);
            Ok((Linear::new(&mut b.at(0), 3, 8), norm, Linear::new(&mut b.at(2), 8, 1)))
        })
        .unwrap();
        let x = Tensor::randn(&[2, 3], DType::F64, &mut Rng::new(1)).unwrap();
        let frozen = params.clone();
        let mut trainer = Trainer::new(params, Rule::adam());
        let loss = |cx: &Context| -> Result<Tensor> {
            let (first, norm, last) = &layers;
            let maps = first.forward(cx, &x)?.reshape(&[2, 2, 2, 2])?;
            let maps = norm.forward(&Context::inference(&frozen), &maps)?;
            Ok(last.forward(cx, &maps.reshape(&[2, 8])?)?.square()?.mean_all()?)
        };
        for _ in 0..2 {
            trainer.step(0.1, loss).unwrap();
        }
        // Gradients flow through it, and nothing of it moves: neither parameters nor buffers.
        for (entry, old) in trainer.params.entries().iter().zip(frozen.entries()) {
            let [new, old] = [entry, old].map(|entry| entry.value.to_f64_vec().unwrap());
            assert_eq!(new == old, entry.path.starts_with("1."), "{}", entry.path);
        }
    }

    #[test]
    fn a_step_stores_running_statistics() {
        let (loss, mut trainer) = run();
        let before = trainer.params.clone();
        trainer.step(0.1, loss).unwrap();
        for (entry, old) in trainer.params.entries().iter().zip(before.entries()) {
            let [new, old] = [entry, old].map(|entry| entry.value.to_f64_vec().unwrap());
            assert_ne!(new, old, "{}", entry.path);
        }
    }

    #[test]
    fn settings_that_spoil_the_values_change_nothing() {
        let (loss, mut trainer) = run();
        trainer.step(0.1, &loss).unwrap();
        let before = bits(&trainer);
        for lr in [f64::NAN, f64::INFINITY, -0.1] {
            let message = trainer.step(lr, &loss).unwrap_err().to_string();
            assert!(message.contains("learning rate must be finite"), "{message}");
        }
        for limit in [f64::NAN, -1.0] {
            trainer = trainer.with_clip(limit);
            let message = trainer.step(0.1, &loss).unwrap_err().to_string();
            assert!(message.contains("limit of the norm must not be negative"), "{message}");
        }
        let ema = trainer.ema.as_ref().unwrap();
        assert_eq!((bits(&trainer), trainer.steps(), ema.updates()), (before, 1, 1));
        trainer.with_clip(0.5).step(0.1, &loss).unwrap();
    }

    #[test]
    fn running_statistics_of_a_plan_that_is_not_the_pass_s_are_refused() {
        let (norm, params) =
            Params::build(0, DType::F64, |b| Ok(BatchNorm2d::new(&mut b.at("norm"), 2))).unwrap();
        let x = Tensor::randn(&[2, 2, 3, 3], DType::F64, &mut Rng::new(1)).unwrap();
        let mut trainer = Trainer::new(params, Rule::adam());
        let before = bits(&trainer);
        let planned = trainer.step(0.1, |cx| {
            let y = engine::planned(std::slice::from_ref(&x), |x| {
                Ok::<_, Error>(vec![norm.forward(cx, &x[0])?])
            });
            Ok(y?.remove(0).square()?.mean_all()?)
        });
        let message = planned.unwrap_err().to_string();
        assert!(message.starts_with("norm.running_mean: the new value is traced"), "{message}");
        assert_eq!((bits(&trainer), trainer.steps()), (before, 0));
        let within = trainer.step(0.1, |cx| {
            let y =
                cx.planned(std::slice::from_ref(&x), |cx, x| Ok(vec![norm.forward(cx, &x[0])?]))?;
            Ok(y[0].square()?.mean_all()?)
        });
        within.unwrap();
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let (loss, mut trainer) = run();
        trainer.step(0.1, &loss).unwrap();
        let before = bits(&trainer);
        // A loss that is not finite, one whose gradient is not, and none at all.
        let losses: [fn(&Tensor) -> Result<Tensor>; 3] = [
            |loss| Ok(loss.scale(f64::NAN)?),
            |loss| Ok(loss.sub(loss)?.sqrt()?),
            |_| Err(Error::Setting("given up".into())),
        ];
        for (change, part) in losses.into_iter().zip(["loss NaN", "norm NaN", "given up"]) {
            let message = trainer.step(0.1, |cx| change(&loss(cx)?)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert_eq!((bits(&trainer), trainer.steps()), (before.clone(), 1));
        }
    }
}
