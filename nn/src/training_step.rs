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
/// Values, optimizer, buffers and average stay together: a step that is dropped before it has been
/// [applied](TrainingStep::apply), or whose application failed, is rolled back, and leaves all of
/// them as they were. Once applied it is taken, as values move in their own memory; only
/// [`TrainingStep::rollback`] takes the counts back, where the device has found that nothing was to
/// move.
///
/// [`Optimizer`] shows a step by hand; a [`Trainer`](crate::Trainer) takes whole steps.
#[must_use = "a step that is not applied is rolled back"]
pub struct TrainingStep<'a> {
    optimizer: &'a mut Optimizer,
    ema: Option<&'a mut Ema>,
    lr: f64,
    in_place: bool,
    /// Whether the optimizer has counted this step.
    counted: bool,
    /// Whether the counts stay as they are when the step ends.
    taken: bool,
    /// Whether the host knows that the values have moved.
    moved: bool,
    /// The counts before the step.
    steps: Vec<u64>,
    updates: u64,
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
            taken: false,
            moved: false,
            steps,
            updates,
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
    /// If gradients, buffers, optimizer or average do not fit `params`; then nothing has changed.
    /// If memory does not suffice, some values may have moved.
    pub fn apply(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        pass: Pass,
        clip: Option<Clip<'_>>,
    ) -> Result<()> {
        self.require_fit(params, &pass)?;
        let ahead = self.counted;
        if !ahead {
            self.counted = true;
            self.optimizer.count(params, gradients, self.lr)?;
        }
        let norm = clip.map(|clip| clip.norm);
        let moves = match norm.filter(|norm| norm.device() == Device::Cpu) {
            Some(norm) => norm.item()?.is_finite(),
            None => true,
        };
        // The first step gives each value memory of its own, which later ones overwrite.
        self.optimizer.apply(params, gradients, clip, self.in_place && ahead)?;
        self.update_buffers(params, pass, norm)?;
        if let Some(ema) = &mut self.ema {
            ema.apply(params, norm, self.in_place)?;
        }
        self.taken = moves;
        self.moved = moves && norm.is_none_or(|norm| norm.device() == Device::Cpu);
        Ok(())
    }

    /// An error if the buffers of `pass`, or the average, are of another model than `params`.
    fn require_fit(&self, params: &Params, pass: &Pass) -> Result<()> {
        pass.updates().iter().try_for_each(|(id, value)| params.require_fits(*id, value))?;
        match &self.ema {
            Some(ema) => params.require_fit(ema.values()),
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
        self.taken = true;
    }

    /// Ends the step as if it had not been taken, because the device found that nothing was to
    /// change, for instance. Values that have moved on the CPU, which does not leave this open,
    /// stay moved and counted.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::optim::{Clip, Optimizer, Rule};
    /// use nn::{Context, Params, TrainingStep};
    /// let (w, mut params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 1.0)))?;
    /// let mut optimizer = Optimizer::new(Rule::adam(), &params);
    /// let gradient = Tensor::scalar(f64::NAN, DType::F64)?;
    /// let clip = Clip { norm: &gradient, limit: 1.0 };
    /// let pass = Context::inference(&params).finish();
    /// let mut step = TrainingStep::begin(&mut optimizer, None, 0.1)?;
    /// step.apply(&mut params, &[Some(gradient.clone())], pass, Some(clip))?;
    /// step.rollback();
    /// assert_eq!((params.get(w)?.item()?, optimizer.steps()), (1.0, &[0][..]));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn rollback(mut self) {
        self.taken = self.moved;
    }
}

impl Drop for TrainingStep<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.optimizer.restore(std::mem::take(&mut self.steps));
        if let Some(ema) = &mut self.ema {
            ema.restore(self.updates);
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
    fn values_and_counts_stay_together_when_a_step_is_dropped() {
        let (buffer, mut params, gradients) = one(1.0);
        let mut adam = Optimizer::new(Rule::adam(), &params);
        let mut ema = Ema::new(&params, 0.5).unwrap();
        let (_, mut twin, _) = one(1.0);
        let mut by_hand = Optimizer::new(Rule::adam(), &twin);
        // Before the first step, and after one.
        for step_count in 1..=2 {
            let state = |params: &Params, adam: &Optimizer, ema: &Ema| {
                let average = [0, 1].map(|i| ema.values()[i].item().unwrap());
                (values(params), average, adam.steps().to_vec(), ema.updates())
            };
            let before = state(&params, &adam, &ema);
            for replayed in [false, true] {
                // One that fails: the buffer is of another model, or the gradient of another shape.
                let (foreign, other, _) = one(1.0);
                let wrong = vec![Some(Tensor::zeros(&[2], DType::F64).unwrap()), None];
                for (noted, gradients) in [
                    (pass(&other, foreign, 7.0), gradients(2.0)),
                    (pass(&params, buffer, 7.0), wrong),
                ] {
                    let mut step = begin(replayed, &mut adam, &mut ema);
                    assert!(step.apply(&mut params, &gradients, noted, None).is_err());
                    drop(step);
                    assert_eq!(state(&params, &adam, &ema), before);
                }
            }
            // One that is applied is taken, committed or not.
            let noted = pass(&params, buffer, 3.0);
            let mut step = begin(false, &mut adam, &mut ema);
            step.apply(&mut params, &gradients(5.0), noted, None).unwrap();
            match step_count {
                1 => drop(step),
                _ => step.rollback(),
            }
            by_hand.step(&mut twin, &gradients(5.0), 0.1).unwrap();
            assert_eq!(values(&params), [values(&twin)[0], 3.0]);
            assert_eq!((adam.steps(), ema.updates()), (by_hand.steps(), step_count));
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
