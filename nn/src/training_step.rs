//! A training step as a whole, which is committed or rolled back.
//!
//! A step has two parts. The host counts the step, and computes the learning rate and all else that
//! depends on the count. The device then updates parameters, buffers and the moving average. The
//! device's part can be recorded and replayed, so the host's part comes first.
//!
//! ```
//! use engine::{DType, Tape, Tensor};
//! use nn::layers::{BatchNorm2d, Module};
//! use nn::optim::{Optimizer, Rule};
//! use nn::{Context, Params, TrainingStep};
//!
//! let (norm, mut params) = Params::build(0, DType::F32, |b| Ok(BatchNorm2d::new(b, 2)))?;
//! let mut optimizer = Optimizer::new(Rule::adam(), &params);
//! let x = Tensor::from_slice(&[1f32, 3.0, 5.0, 9.0], &[2, 2, 1, 1])?;
//!
//! let tape = Tape::new();
//! let cx = Context::training(&params, &tape);
//! let loss = norm.forward(&cx, &x)?.square()?.mean_all()?;
//! let pass = cx.finish();
//! let gradients = pass.gradients(tape.backward(&loss)?);
//! let mut step = TrainingStep::begin(&mut optimizer, None, 1e-3)?;
//! step.apply(&mut params, &gradients, pass, None)?;
//! step.commit();
//! # Ok::<(), nn::Error>(())
//! ```

use crate::optim::{Clip, Optimizer};
use crate::params::Params;
use crate::{Ema, Pass, Result};
use engine::optimizer;
use engine::{Device, Tensor};

/// A step of an optimizer, and of a moving average if there is one.
///
/// It counts once it is [committed](TrainingStep::commit). A step that is dropped before that,
/// because of an error for instance, is rolled back: values, optimizer, buffers and average are as
/// they were before. Only [on a GPU, in place](TrainingStep::begin_replayed), values that have
/// moved stay moved; there the device decides whether they move.
///
/// [`Optimizer`] shows a step by hand; a [`Trainer`](crate::Trainer) takes whole steps.
#[must_use = "a step that is not committed is rolled back"]
pub struct TrainingStep<'a> {
    optimizer: &'a mut Optimizer,
    ema: Option<&'a mut Ema>,
    lr: f64,
    in_place: bool,
    /// Whether the optimizer has counted this step.
    counted: bool,
    committed: bool,
    /// The counts before the step.
    steps: Vec<u64>,
    updates: u64,
    applied: Option<Applied<'a>>,
}

/// What a step is about to change, and the earlier values.
struct Applied<'a> {
    params: &'a mut Params,
    values: Vec<Tensor>,
    slots: Vec<Vec<Tensor>>,
    averages: Vec<Tensor>,
}

impl<'a> TrainingStep<'a> {
    /// Begins a step with learning rate `lr`.
    pub fn begin(optimizer: &'a mut Optimizer, ema: Option<&'a mut Ema>, lr: f64) -> Result<Self> {
        let (steps, updates) =
            (optimizer.steps().to_vec(), ema.as_ref().map_or(0, |e| e.updates()));
        let mut step = Self {
            optimizer,
            ema,
            lr,
            in_place: false,
            counted: false,
            committed: false,
            steps,
            updates,
            applied: None,
        };
        if let Some(ema) = &mut step.ema {
            ema.count()?;
        }
        Ok(step)
    }

    /// Begins a step whose [`TrainingStep::apply`] is called inside an [`engine::Replay`], where a
    /// recording may be replayed instead. So it moves values in place, and the host makes all
    /// decisions now, for the parameters that the last step moved. Only in the first step are they
    /// made in `apply`, since the parameters that have gradients are not known before.
    pub fn begin_replayed(
        optimizer: &'a mut Optimizer,
        ema: Option<&'a mut Ema>,
        lr: f64,
    ) -> Result<Self> {
        let mut step = Self::begin(optimizer, ema, lr)?;
        step.in_place = true;
        if step.optimizer.has_moved() {
            step.counted = true;
            step.optimizer.count_again(lr)?;
        }
        Ok(step)
    }

    /// Moves the parameters that have a gradient, stores the buffer values that `pass` recorded,
    /// and updates the moving average. `gradients` are in the order of `params`, and are scaled
    /// down to `clip` as they are read; if its norm is not finite, nothing changes. On a GPU the
    /// host does not wait to know.
    ///
    /// # Errors
    /// If gradients, buffers, optimizer or average do not fit `params`. The step is to be dropped
    /// then.
    pub fn apply(
        &mut self,
        params: &'a mut Params,
        gradients: &[Option<Tensor>],
        pass: Pass,
        clip: Option<Clip<'_>>,
    ) -> Result<()> {
        let ahead = self.counted;
        if !ahead {
            self.counted = true;
            self.optimizer.count(params, gradients, self.lr)?;
        }
        let overwritten = self.in_place
            && params.entries().first().is_some_and(|e| e.value.device() != Device::Cpu);
        let earlier = (!overwritten).then(|| {
            let averages = self.ema.as_ref().map_or(vec![], |ema| ema.values().to_vec());
            (params.values(), self.optimizer.slots().to_vec(), averages)
        });
        let done = self.change(params, gradients, pass, clip, ahead);
        self.applied =
            earlier.map(|(values, slots, averages)| Applied { params, values, slots, averages });
        done
    }

    fn change(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        pass: Pass,
        clip: Option<Clip<'_>>,
        ahead: bool,
    ) -> Result<()> {
        // The first step gives each value memory of its own, which later ones overwrite.
        self.optimizer.apply(params, gradients, clip, self.in_place && ahead)?;
        let norm = clip.map(|clip| clip.norm);
        self.update_buffers(params, pass, norm)?;
        match &mut self.ema {
            Some(ema) => ema.apply(params, norm, self.in_place),
            None => Ok(()),
        }
    }

    /// Stores the buffer values that `pass` recorded in `params`, unless `norm`, by which the step
    /// was clipped, is not finite. On a GPU the host does not wait to know.
    fn update_buffers(
        &mut self,
        params: &mut Params,
        pass: Pass,
        norm: Option<&Tensor>,
    ) -> Result<()> {
        let Some(norm) = norm else { return pass.update_buffers(params) };
        if norm.device() == Device::Cpu {
            return if norm.item()?.is_finite() { pass.update_buffers(params) } else { Ok(()) };
        }
        let (ids, values): (Vec<_>, Vec<_>) =
            pass.updates().iter().map(|(id, value)| (*id, value)).unzip();
        let mut buffers =
            ids.iter().map(|&id| params.get(id).cloned()).collect::<Result<Vec<Tensor>>>()?;
        let scalars = self.optimizer.buffer_scalars()?;
        optimizer::average(scalars, &mut buffers, &values, Some(norm), self.in_place)?;
        ids.into_iter().zip(buffers).try_for_each(|(id, value)| params.set(id, value))
    }

    /// Ends the step.
    pub fn commit(mut self) {
        self.committed = true;
    }

    /// Ends the step as if it had not been taken, because the device found that nothing was to
    /// change, for instance.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::optim::{Optimizer, Rule};
    /// use nn::{Context, Params, TrainingStep};
    /// let (w, mut params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 1.0)))?;
    /// let mut optimizer = Optimizer::new(Rule::adam(), &params);
    /// let gradient = Tensor::scalar(5.0, DType::F64)?;
    /// let pass = Context::inference(&params).finish();
    /// let mut step = TrainingStep::begin(&mut optimizer, None, 0.1)?;
    /// step.apply(&mut params, &[Some(gradient)], pass, None)?;
    /// step.rollback();
    /// assert_eq!((params.get(w)?.item()?, optimizer.steps()), (1.0, &[0][..]));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn rollback(self) {}
}

impl Drop for TrainingStep<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let steps = std::mem::take(&mut self.steps);
        let (slots, averages) = match self.applied.take() {
            None => (None, None),
            Some(Applied { params, values, slots, averages }) => {
                params.restore(values);
                (Some(slots), Some(averages))
            }
        };
        self.optimizer.restore(steps, slots);
        if let Some(ema) = &mut self.ema {
            ema.restore(self.updates, averages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Rule, clip_global_norm, norm};
    use crate::{Context, Mode, ParamId};
    use engine::DType;

    /// A parameter of this value, a buffer of 0, and gradients for them.
    fn one(value: f64) -> (ParamId, Params, impl Fn(f64) -> Vec<Option<Tensor>>) {
        let (buffer, params) = Params::build(0, DType::F64, |b| {
            b.constant("w", &[1], value);
            Ok(b.buffer("mean", &[1], 0.0))
        })
        .unwrap();
        (buffer, params, |g| vec![Some(Tensor::full(&[1], g, DType::F64).unwrap()), None])
    }

    /// A pass that recorded this value for the buffer.
    fn pass(params: &Params, buffer: ParamId, value: f64) -> Pass {
        let cx = Context::new(params, Mode::Train, None);
        cx.update_buffer(buffer, Tensor::full(&[1], value, DType::F64).unwrap());
        cx.finish()
    }

    fn values(params: &Params) -> Vec<f64> {
        params.values().iter().map(|value| value.item().unwrap()).collect()
    }

    #[test]
    fn a_step_moves_parameters_buffers_and_the_average() {
        let (buffer, mut params, gradients) = one(1.0);
        let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.0, weight_decay: 0.0 }, &params);
        let mut ema = Ema::new(&params, 0.5).unwrap();
        let noted = pass(&params, buffer, 7.0);
        let mut step = TrainingStep::begin(&mut sgd, Some(&mut ema), 0.5).unwrap();
        step.apply(&mut params, &gradients(1.0), noted, None).unwrap();
        step.commit();
        assert_eq!(values(&params), [0.5, 7.0]);
        // The first update's decay is 1/10.
        assert!((ema.values()[0].item().unwrap() - 0.55).abs() < 1e-15);
        assert_eq!((sgd.steps(), ema.updates()), (&[1, 0][..], 1));
    }

    #[test]
    fn a_replayed_step_is_the_same_step() {
        let (buffer, mut params, gradients) = one(1.0);
        let mut first = Optimizer::new(Rule::adam(), &params);
        first.step(&mut params, &gradients(0.3), 0.1).unwrap();
        let (mut second, mut twin) = (first.clone(), params.clone());
        first.step(&mut params, &gradients(-0.2), 0.05).unwrap();
        let noted = pass(&twin, buffer, 0.0);
        let mut step = TrainingStep::begin_replayed(&mut second, None, 0.05).unwrap();
        step.apply(&mut twin, &gradients(-0.2), noted, None).unwrap();
        step.commit();
        assert_eq!(values(&params)[0].to_bits(), values(&twin)[0].to_bits());
        assert_eq!(first.steps(), second.steps());
    }

    #[test]
    fn a_clipped_step_is_one_with_clipped_gradients() {
        for limit in [1.0, 10.0] {
            let (buffer, mut params, gradients) = one(1.0);
            let sgd = Rule::Sgd { momentum: 0.9, weight_decay: 0.1 };
            let (mut first, mut second) =
                (Optimizer::new(sgd, &params), Optimizer::new(sgd, &params));
            let mut twin = params.clone();
            let norm = norm(&gradients(-3.0)).unwrap();
            let (clip, noted) = (Clip { norm: &norm, limit }, pass(&params, buffer, 0.0));
            let mut step = TrainingStep::begin(&mut first, None, 0.1).unwrap();
            step.apply(&mut params, &gradients(-3.0), noted, Some(clip)).unwrap();
            step.commit();
            let mut clipped = gradients(-3.0);
            assert_eq!(clip_global_norm(&mut clipped, limit).unwrap(), norm.item().unwrap());
            second.step(&mut twin, &clipped, 0.1).unwrap();
            assert_eq!(values(&params)[0].to_bits(), values(&twin)[0].to_bits());
        }
    }

    #[test]
    fn a_step_without_a_finite_norm_changes_nothing_and_is_rolled_back() {
        let (buffer, mut params, gradients) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &params);
        let mut ema = Ema::new(&params, 0.5).unwrap();
        let norm = norm(&gradients(f64::NAN)).unwrap();
        // The first step counts as it is applied, the second when it begins.
        for _ in 0..2 {
            let (clip, noted) = (Clip { norm: &norm, limit: 1.0 }, pass(&params, buffer, 7.0));
            let mut step = TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap();
            step.apply(&mut params, &gradients(f64::NAN), noted, Some(clip)).unwrap();
            step.rollback();
            assert_eq!(values(&params), [1.0, 0.0]);
            assert_eq!((adam.steps(), ema.updates()), (&[0, 0][..], 0));
        }
        adam.step(&mut params, &gradients(5.0), 0.1).unwrap();
        assert!((values(&params)[0] - 0.9).abs() < 1e-9);
    }

    fn begin<'a>(
        replayed: bool,
        optimizer: &'a mut Optimizer,
        ema: &'a mut Ema,
    ) -> TrainingStep<'a> {
        match replayed {
            false => TrainingStep::begin(optimizer, Some(ema), 0.1).unwrap(),
            true => TrainingStep::begin_replayed(optimizer, Some(ema), 0.1).unwrap(),
        }
    }

    #[test]
    fn a_step_that_is_dropped_after_it_was_applied_leaves_everything_as_it_was() {
        let (buffer, mut params, gradients) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &params);
        let mut ema = Ema::new(&params, 0.5).unwrap();
        let mut found = Vec::new();
        // Before the first step, and after one.
        for _ in 0..2 {
            let slots = |adam: &Optimizer| -> Vec<f64> {
                adam.slots().iter().flatten().map(|slot| slot.item().unwrap()).collect()
            };
            let state = |params: &Params, adam: &Optimizer, ema: &Ema| {
                let average = [0, 1].map(|i| ema.values()[i].item().unwrap());
                let counts = (adam.steps().to_vec(), ema.updates());
                (values(params), slots(adam), average, counts)
            };
            let before = state(&params, &adam, &ema);
            for replayed in [false, true] {
                let noted = pass(&params, buffer, 7.0);
                let mut step = begin(replayed, &mut adam, &mut ema);
                step.apply(&mut params, &gradients(2.0), noted, None).unwrap();
                drop(step);
                assert_eq!(state(&params, &adam, &ema), before);
                // One that fails between its parts: the buffer is of another model.
                let (foreign, other, _) = one(1.0);
                let noted = pass(&other, foreign, 7.0);
                let mut step = begin(replayed, &mut adam, &mut ema);
                assert!(step.apply(&mut params, &gradients(2.0), noted, None).is_err());
                drop(step);
                assert_eq!(state(&params, &adam, &ema), before);
            }
            let noted = pass(&params, buffer, 3.0);
            let mut step = TrainingStep::begin(&mut adam, Some(&mut ema), 0.1).unwrap();
            step.apply(&mut params, &gradients(5.0), noted, None).unwrap();
            step.commit();
            found.push(values(&params));
        }
        // As if nothing had been dropped.
        let (_, mut twin, gradients) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &twin);
        for found in found {
            adam.step(&mut twin, &gradients(5.0), 0.1).unwrap();
            assert_eq!(found, [values(&twin)[0], 3.0]);
        }
    }

    #[test]
    fn a_step_that_is_dropped_before_it_is_applied_is_not_counted() {
        let (_, mut params, gradients) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &params);
        let mut ema = Ema::new(&params, 0.5).unwrap();
        drop(TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap());
        adam.step(&mut params, &gradients(5.0), 0.1).unwrap();
        drop(TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap());
        assert_eq!((adam.steps(), ema.updates()), (&[1, 0][..], 0));
    }
}
