//! The expected cost of a run: read from its data, and measured on a few real steps that leave no
//! trace.

use super::validation::Validator;
use super::{Period, TrainingRun};
use crate::error::{Error, Result};
use engine::Device;
use std::collections::BTreeMap;
use std::time::Instant;

/// The number of images, spread over the set, whose sizes are read.
const LOOKED_AT: usize = 200;

/// The contents of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPlan {
    /// The number of training pairs, or clean photographs.
    pub images: usize,
    /// The number of pairs scored at each validation.
    pub validated: usize,
    /// The number of images of each width and height, among those that were read.
    pub sizes: BTreeMap<(usize, usize), usize>,
    /// The number of trained parameters.
    pub parameters: usize,
    /// Steps in a pass over the data.
    pub steps_per_epoch: u64,
    /// Steps taken, if the run has been started before, and of the whole run.
    pub steps: (u64, u64),
    /// Steps of warm-up.
    pub warmup: u64,
    /// The number of validations still to come.
    pub validations: u64,
}

/// The measured cost of a few steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Steps that were measured.
    pub steps: u32,
    /// Seconds per step, including the wait for its batch.
    pub step: f64,
    /// Seconds of that spent waiting for the batch.
    pub waiting: f64,
    /// The peak memory of the device in a step, bytes.
    pub peak: usize,
    /// Seconds to score a validation pair.
    pub validation: Option<f64>,
}

impl RunPlan {
    /// Seconds that the rest of the run takes at the speed `measured`: its steps, and its
    /// validations.
    pub fn seconds(&self, measured: &Measured) -> (f64, f64) {
        let (done, total) = self.steps;
        let pairs = self.validations as f64 * self.validated as f64;
        (
            total.saturating_sub(done) as f64 * measured.step,
            pairs * measured.validation.unwrap_or(0.0),
        )
    }
}

impl TrainingRun {
    /// The contents of this run.
    pub fn plan(&self) -> Result<RunPlan> {
        let images = self.source.len();
        let looked_at = images.min(LOOKED_AT);
        let mut sizes = BTreeMap::new();
        for i in 0..looked_at {
            *sizes.entry(self.source.size(i * images / looked_at)?).or_default() += 1;
        }
        let (done, total) = self.steps();
        let every = self.config.validation.every;
        let validated = self.validator.as_ref().map_or(0, Validator::count);
        // The last step is always followed by one.
        let validations = total.div_ceil(every).saturating_sub(done / every);
        Ok(RunPlan {
            images,
            validated,
            sizes,
            parameters: self.state.model.params.count(),
            steps_per_epoch: self.steps_per_epoch,
            steps: (done, total),
            warmup: self.schedule.warmup
                * if self.config.optimizer.period == Period::Epoch {
                    self.steps_per_epoch
                } else {
                    1
                },
            validations: if validated > 0 { validations } else { 0 },
        })
    }

    /// Takes `steps` steps, after a few that are not counted, and scores a validation pair. Writes
    /// nothing; but the state has changed afterward, so this run is consumed.
    pub fn measure(mut self, steps: u32) -> Result<Measured> {
        let device = self.config.compute.device;
        let mut loader = self.loader()?;
        let team = self.team.clone();
        let ended = || Error::Config { reason: "the data ended".into() };
        let mut next = || team.barrier(loader.next().unwrap_or_else(|| Err(ended())));
        // On a GPU the second step is recorded; from the third on it is replayed.
        let unmeasured = if device == Device::Cpu { 1 } else { 2 };
        for _ in 0..unmeasured {
            self.step(&next()?)?;
        }
        device.reset_peak()?;
        let (start, mut waiting) = (Instant::now(), 0.0);
        for _ in 0..steps {
            let asked = Instant::now();
            let batch = next()?;
            waiting += asked.elapsed().as_secs_f64();
            self.step(&batch)?;
        }
        let step = start.elapsed().as_secs_f64();
        let peak = device.memory()?.peak;
        drop(loader);
        let start = Instant::now();
        let validation = self.score(&self.team, &self.state.model, self.state.values(), [1, 0])?;
        let validation = validation.map(|_| start.elapsed().as_secs_f64());
        let mean = |seconds: f64| seconds / f64::from(steps.max(1));
        Ok(Measured { steps, step: mean(step), waiting: mean(waiting), peak, validation })
    }
}

/// A duration in a convenient unit: `2.3 hours`.
pub fn duration(seconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")];
    match UNITS.iter().find(|(unit, _)| seconds >= 2.0 * unit) {
        Some((unit, name)) => format!("{:.1} {name}", seconds / unit),
        None => format!("{seconds:.0} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_run_is_its_steps_and_validations() {
        let plan = RunPlan {
            images: 100,
            validated: 5,
            sizes: BTreeMap::new(),
            parameters: 1,
            steps_per_epoch: 50,
            steps: (200, 1000),
            warmup: 150,
            validations: 4,
        };
        let measured =
            Measured { steps: 3, step: 2.0, waiting: 0.1, peak: 1, validation: Some(3.0) };
        assert_eq!(plan.seconds(&measured), (1600.0, 60.0));
        assert_eq!(plan.seconds(&Measured { validation: None, ..measured }).1, 0.0);
    }
}
