//! The training loop: steps, and the checkpoints, validations and logs between them.

use super::folder::LoadedRun;
use super::log::{self, RunLog, samples};
use super::{
    BEST, Ended, Event, FAILURES, Period, Step, StepResult, StepSettings, TrainingRun, WEIGHTS,
    begin, loader,
};
use crate::data::{Batch, Loader};
use crate::error::{Error, Result};
use crate::model::TASK;
use crate::restore::restore;
use engine::{DType, Tensor, interruptible};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

impl TrainingRun {
    /// Trains to the end of the run, or until `watch` returns false. `watch` gets every step and
    /// every validation. So does the run's [`log`], with samples of the validation pairs, or of the
    /// training pairs if there are none.
    ///
    /// Saves checkpoints at regular intervals, at the end, when stopped, and after errors that do
    /// not affect the state.
    pub fn train(&mut self, mut watch: impl FnMut(&Event) -> bool) -> Result<Ended> {
        let ended = match self.take_steps(&mut watch) {
            Err(error) if error.is_interruption() => Ok(Ended::Stopped),
            ended => ended,
        };
        match ended {
            Ok(Ended::Complete) => {
                self.save()?;
                self.write_weights(WEIGHTS, HashMap::new())?;
            }
            Ok(Ended::Stopped) => self.save()?,
            Err(Error::Diverged { .. }) => {}
            // The progress is saved in spite of, say, a damaged image. The first error is the one
            // to report.
            Err(_) => drop(self.save()),
        }
        ended
    }

    fn take_steps(&mut self, watch: &mut dyn FnMut(&Event) -> bool) -> Result<Ended> {
        let open = || RunLog::open(&self.config.out, self.progress.step);
        let mut log = self.team.barrier(self.team.is_first().then(open).transpose())?;
        let mut loader = self.team.barrier(self.loader())?;
        self.forget_later_samples(watch);
        let mut went = self.look_if_due(&mut log, watch);
        loop {
            let start = Instant::now();
            let next = went.and_then(|go_on| match go_on && self.progress.step < self.total {
                true => loader.next_unless(&self.stop),
                false => Ok(None),
            });
            // All ranks take the step, or none does.
            let Some(batch) = self.team.all_ready(next, self.norm)? else { break };
            went = self.take_step(&batch, start, &mut log, watch);
        }
        Ok(if self.progress.step < self.total { Ended::Stopped } else { Ended::Complete })
    }

    /// Takes a step, then validates and saves if due. Returns whether to continue.
    fn take_step(
        &mut self,
        batch: &Batch,
        start: Instant,
        log: &mut Option<RunLog>,
        watch: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<bool> {
        let step = self.step(batch)?;
        if let Some(log) = log {
            log.step(&step, self.config.optimizer.batch as f64 / start.elapsed().as_secs_f64())?;
        }
        let mut go_on = watch(&Event::Step(step));
        if self.progress.failures >= FAILURES {
            let back = self.roll_back()?;
            return Err(Error::Diverged { failures: FAILURES, step: step.step, back });
        }
        go_on &= self.look_if_due(log, watch)?;
        // A run is rolled back to a state before its failures.
        if step.step.is_multiple_of(self.config.optimizer.save_every) && self.progress.failures == 0
        {
            self.save()?;
        }
        Ok(go_on)
    }

    /// Validates and draws samples if that is due and not done yet. Returns whether to continue.
    fn look_if_due(
        &mut self,
        log: &mut Option<RunLog>,
        watch: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<bool> {
        let step = self.progress.step;
        let every = self.config.validation.every;
        if step == 0 || !(step.is_multiple_of(every) || step == self.total) {
            return Ok(true);
        }
        Ok(self.validate_and_keep_best(log, watch)? & self.draw_samples(watch)?)
    }

    /// Scores the validation pairs if that is not done yet, and saves the weights if they are the
    /// best so far. Returns whether to continue.
    fn validate_and_keep_best(
        &mut self,
        log: &mut Option<RunLog>,
        watch: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<bool> {
        let step = self.progress.step;
        if self.progress.validated == step {
            return Ok(true);
        }
        let (model, values) = (&self.state.model, self.state.values());
        let Some((scores, samples)) =
            self.score(&self.team, model, values, [usize::MAX, log::SHOWN])?
        else {
            return Ok(true);
        };
        // NaN is not better than any score.
        if self.progress.best.map_or(!scores.psnr.is_nan(), |best| scores.psnr > best) {
            self.write_weights(
                BEST,
                HashMap::from([("irnext.psnr".into(), scores.psnr.to_string())]),
            )?;
            self.progress.best = Some(scores.psnr);
        }
        if let Some(log) = log {
            log.validation(&scores, &samples)?;
        }
        self.progress.validated = step;
        Ok(watch(&Event::Validation(scores)))
    }

    /// Draws the samples of this step if that is not done yet. They only read the parameters, and
    /// draw no random numbers, so that the run ends with the same bits as without them. Returns
    /// whether to continue.
    ///
    /// # Errors
    /// Only if it was interrupted: samples are not worth a run.
    fn draw_samples(&self, watch: &mut dyn FnMut(&Event) -> bool) -> Result<bool> {
        let (step, out) = (self.progress.step, &self.config.out);
        if !self.team.is_first() || samples::has(out, step) {
            return Ok(true);
        }
        let pairs = match &self.validator {
            Some(validator) => validator.pairs(),
            None => &*self.source,
        };
        // The other ranks wait for this one.
        let stop = if self.team.is_alone() { self.stop.clone() } else { Arc::default() };
        let drawn = interruptible(&stop, || {
            let model = self.state.model.freeze_with(self.state.values())?;
            let model = model.computing_in(self.config.compute.precision);
            samples::draw(out, step, pairs, |image| restore(&model, image))
        });
        match drawn {
            Err(error) if error.is_interruption() => Err(error),
            drawn => {
                let failed = drawn.err().map(|error| error.to_string());
                Ok(watch(&Event::Samples { step, failed }))
            }
        }
    }

    /// Removes the samples of steps that the run has not taken yet.
    fn forget_later_samples(&self, watch: &mut dyn FnMut(&Event) -> bool) {
        let step = self.progress.step;
        if !self.team.is_first() {
            return;
        }
        if let Err(error) = samples::forget_after(&self.config.out, step) {
            watch(&Event::Samples { step, failed: Some(error.to_string()) });
        }
    }

    /// Takes one step on `batch`.
    pub(super) fn step(&mut self, batch: &Batch) -> Result<Step> {
        let shape = [batch.n, 3, batch.height, batch.width];
        let device = self.config.compute.device;
        let input = Tensor::from_nhwc(&batch.inputs, shape)?.to_device(device)?;
        let target = Tensor::from_nhwc(&batch.targets, shape)?.to_device(device)?;
        let clip = self.config.optimizer.clip;
        let settings = StepSettings {
            loss: self.config.loss,
            precision: self.config.compute.precision,
            rate: self.schedule.rate(self.period()),
            limit: if clip > 0.0 { clip } else { f64::INFINITY },
            loss_scale: self.progress.loss_scale,
        };
        let StepResult { loss, spatial, frequency, gradient_norm, skipped } = self
            .state
            .step(input, target, settings)
            // The others are in the middle of a collective computation.
            .map_err(
                |error| if error.is_interruption() { error } else { self.team.abort(error) },
            )?;
        self.progress.count(loss, skipped);
        self.norm = gradient_norm.to_bits();
        Ok(Step {
            step: self.progress.step,
            loss,
            spatial,
            frequency,
            rate: settings.rate,
            gradient_norm,
            skipped,
        })
    }

    /// The schedule's period of the next step, from 1.
    fn period(&self) -> u64 {
        match self.config.optimizer.period {
            Period::Step => self.progress.step + 1,
            Period::Epoch => self.progress.step / self.steps_per_epoch + 1,
        }
    }

    /// Saves a checkpoint, unless this step is saved already.
    fn save(&mut self) -> Result<()> {
        if !self.team.is_first() || self.folder.saved() == Some(self.progress.step) {
            return Ok(());
        }
        self.folder.save(&self.state, &self.progress)
    }

    /// Returns to the last checkpoint, or to the beginning. Returns its step.
    fn roll_back(&mut self) -> Result<u64> {
        let LoadedRun { state, progress, .. } = begin(&self.team, &self.config, &mut self.folder)?;
        (self.state, self.progress) = (state, progress);
        self.stop_when(self.stop.clone());
        Ok(self.progress.step)
    }

    /// The batches from the next step on.
    pub(super) fn loader(&self) -> Result<Loader> {
        Loader::new(self.source.clone(), &loader(&self.team, &self.config, self.progress.step))
    }

    fn write_weights(&self, name: &str, mut metadata: HashMap<String, String>) -> Result<()> {
        if !self.team.is_first() {
            return Ok(());
        }
        metadata.insert(TASK.into(), self.config.task.to_string());
        metadata.insert("irnext.steps".into(), self.progress.step.to_string());
        let file = self.state.model.to_file_with(&self.state.values(), DType::F32, metadata)?;
        Ok(file.write(&self.folder.file(name))?)
    }
}
