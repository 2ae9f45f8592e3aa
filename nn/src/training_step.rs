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

use crate::optim::{Clip, Counts, Optimizer};
use crate::params::Params;
use crate::{Ema, Error, Pass, Result};
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
#[derive(Debug)]
pub struct TrainingStep<'a> {
    optimizer: &'a mut Optimizer,
    ema: Option<&'a mut Ema>,
    lr: f64,
    in_place: bool,
    /// Whether the optimizer has counted this step.
    counted: bool,
    /// Whether `apply` has been called, and whether it has succeeded.
    called: bool,
    applied: bool,
    /// Whether the counts stay as they are when the step ends.
    taken: bool,
    /// Whether the host knows that the values have moved.
    moved: bool,
    /// The counts before the step.
    counts: Counts,
    updates: u64,
}

impl<'a> TrainingStep<'a> {
    /// Begins a step with learning rate `lr`.
    ///
    /// # Errors
    /// If the learning rate is negative or not finite, or a number of the rule is
    /// [out of range](crate::optim::Rule::check).
    pub fn begin(optimizer: &'a mut Optimizer, ema: Option<&'a mut Ema>, lr: f64) -> Result<Self> {
        optimizer.require_settings(lr)?;
        let (counts, updates) = (optimizer.counts(), ema.as_ref().map_or(0, |e| e.updates()));
        let mut step = Self {
            optimizer,
            ema,
            lr,
            in_place: false,
            counted: false,
            called: false,
            applied: false,
            taken: false,
            moved: false,
            counts,
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
    ///
    /// ```
    /// use engine::{DType, Replay, Tensor};
    /// use nn::optim::{Optimizer, Rule};
    /// use nn::{Context, Error, Params, TrainingStep};
    /// let (w, mut params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 1.0)))?;
    /// let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.0, weight_decay: 0.0 }, &params);
    /// let mut replay = Replay::default();
    /// for gradient in [0.5, -2.0, 0.25] {
    ///     let inputs = [Tensor::scalar(gradient, DType::F64)?];
    ///     let mut step = TrainingStep::begin_replayed(&mut sgd, None, 0.1)?;
    ///     replay.run(&inputs, |inputs| {
    ///         let pass = Context::inference(&params).finish();
    ///         step.apply(&mut params, &[Some(inputs[0].clone())], pass, None)?;
    ///         Ok::<_, Error>(Vec::new())
    ///     })?;
    ///     step.commit();
    /// }
    /// assert!((params.get(w)?.item()? - (1.0 + 0.1 * 1.25)).abs() < 1e-12);
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`TrainingStep::begin`].
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
    /// host does not wait to know. A step is applied once.
    ///
    /// # Errors
    /// If gradients, buffers, optimizer or average do not fit `params`, or the limit of `clip` is
    /// out of range; if the step was applied before; if it is [replayed](Self::begin_replayed) and
    /// other parameters have gradients than in the last step. Then nothing has changed, and the
    /// step is rolled back when it ends. If memory does not suffice, some values may have moved.
    pub fn apply(
        &mut self,
        params: &mut Params,
        gradients: &[Option<Tensor>],
        pass: Pass,
        clip: Option<Clip<'_>>,
    ) -> Result<()> {
        if std::mem::replace(&mut self.called, true) {
            let message = "a training step is applied once: begin another one";
            return Err(Error::Setting(message.into()));
        }
        self.require_fit(params, &pass)?;
        let ahead = self.counted;
        match ahead {
            true => self.optimizer.require_same_moves(params, gradients)?,
            false => {
                self.counted = true;
                self.optimizer.count(params, gradients, self.lr)?;
            }
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
        self.applied = true;
        self.taken = moves;
        self.moved = moves && norm.is_none_or(|norm| norm.device() == Device::Cpu);
        Ok(())
    }

    /// An error if the buffers of `pass`, or the average, are of another model than `params`, or on
    /// another device: what would be found only after the parameters have moved.
    fn require_fit(&self, params: &Params, pass: &Pass) -> Result<()> {
        params.require_buffers(pass.updates())?;
        let averages = self.ema.as_ref().map_or(&[][..], |ema| ema.values());
        if self.ema.is_some() {
            params.require_fit(averages)?;
        }
        let values = params.entries().iter().map(|entry| &entry.value);
        let updates = pass.updates().iter().map(|(_, value)| value);
        let mut devices = values.chain(averages).chain(updates).map(Tensor::device);
        let first = devices.next().unwrap_or(Device::Cpu);
        match devices.find(|device| *device != first) {
            Some(other) => Err(Error::Setting(format!(
                "a training step needs all values on one device: some are on {first}, some on \
                 {other}"
            ))),
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

    /// Ends the step. One that was not applied, or whose application failed, is rolled back; but
    /// one that was [begun to be replayed](Self::begin_replayed) may have been applied by a
    /// recording.
    pub fn commit(mut self) {
        self.taken = self.applied || (self.counted && !self.called);
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
        let counts = std::mem::take(&mut self.counts);
        match self.applied {
            true => self.optimizer.restore_steps(counts),
            false => self.optimizer.restore(counts),
        }
        if let Some(ema) = &mut self.ema {
            ema.restore(self.updates);
        }
    }
}

#[cfg(test)]
mod tests;
