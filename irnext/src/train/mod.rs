//! Training: configuration, the loop, checkpoints.
//!
//! A step is a function of the state, the seed and the step's number. So a run that is stopped and resumed, with
//! whatever number of threads, ends with the same bits as one that was not.

mod checkpoint;
mod config;
mod overrides;
mod pairs;
mod plan;
mod step;

pub use checkpoint::Progress;
pub use config::{CropSize, DataConfig, OptimiserConfig, Period, RuleName, ScoredSplit, TrainConfig, ValidationConfig};
pub use pairs::TrainingSet;
pub use plan::{Measured, Plan};
pub use step::{LOSS_SCALE, State, StepResult, StepSettings};

use crate::compute::Precision;
use crate::data::{Batch, CropSpec, Loader, LoaderConfig, Paired, PhotoCache, Source};
use crate::error::{Error, Result};
use crate::evaluate::{mean, score};
use crate::image::Image;
use crate::metrics::Scorer;
use crate::model::{Model, TASK};
use crate::restore::restore;
use engine::{DType, Tensor};
use nn::schedule::WarmupCosine;
use pairs::Pairs;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its number, from 1.
    pub step: u64,
    /// Equation 10, on this batch.
    pub loss: f64,
    /// Equation 8.
    pub spatial: f64,
    /// The learning rate.
    pub rate: f64,
    /// The gradients' global norm before clipping.
    pub gradient_norm: f64,
    /// Whether the parameters were left alone because the loss was not finite.
    pub skipped: bool,
}

/// A training run.
pub struct Trainer {
    config: TrainConfig,
    state: State,
    progress: Progress,
    source: Arc<dyn Source>,
    validation: Option<Paired>,
    remarks: Vec<String>,
    schedule: WarmupCosine,
    steps_per_epoch: u64,
    total: u64,
}

impl Trainer {
    /// Starts a run, or goes on with the one in the folder `config.out`.
    ///
    /// # Errors
    /// Among others if that folder holds a run with another configuration; only its length may have been changed.
    pub fn open(config: TrainConfig) -> Result<Self> {
        let trainer = Self::prepare(config)?;
        let config = &trainer.config;
        std::fs::create_dir_all(&config.out).map_err(Error::io(&config.out))?;
        let shown = config.out.join("config.toml");
        nn::write_atomically(&shown, config.to_toml()?.as_bytes()).map_err(Error::io(&shown))?;
        Ok(trainer)
    }

    /// As [`Trainer::open`], with nothing written.
    pub fn prepare(config: TrainConfig) -> Result<Self> {
        let cache = PhotoCache::new(config.data.cache_mb << 20);
        let Pairs { source, validation, remarks } = Pairs::find(&config, &cache)?;
        let path = last(&config.out);
        let (mut state, mut progress) = match path.exists() {
            true => {
                let (state, progress) = checkpoint::load(&path, config.optimiser.rule.rule(), config.optimiser.ema)?;
                same_run(&path, &progress, &config)?;
                (state, progress)
            }
            false => {
                let model = Model::new(&config.model, config.seed, DType::F32)?;
                let state = State::new(model, config.optimiser.rule.rule(), config.optimiser.ema)?;
                (state, Progress { config: config.to_toml()?, ..Progress::default() })
            }
        };
        config.compute.start()?;
        state = state.to_device(config.compute.device)?;
        state.model.network.set_checkpoint(config.optimiser.checkpoint);
        let optimiser = &config.optimiser;
        let pairs = (source.len() * config.data.crops_per_image) as u64;
        let steps_per_epoch = (pairs / optimiser.batch as u64).max(1);
        let total = optimiser.steps.unwrap_or_else(|| optimiser.epochs.unwrap_or(0) * steps_per_epoch);
        let periods = match optimiser.period {
            Period::Step => total,
            Period::Epoch => total.div_ceil(steps_per_epoch),
        };
        let schedule = WarmupCosine {
            base: optimiser.learning_rate,
            last: optimiser.last_learning_rate,
            warmup: optimiser.warmup.min(periods),
            total: periods,
        };
        if config.compute.precision == Precision::F16 {
            progress.loss_scale.get_or_insert(LOSS_SCALE);
        } else {
            progress.loss_scale = None;
        }
        Ok(Self { config, state, progress, source, validation, remarks, schedule, steps_per_epoch, total })
    }

    /// Trains to the end of the run, or until `watch` returns false. `watch` sees every step, and every validation.
    ///
    /// Saves a checkpoint every so often and at the end, also at an early one.
    pub fn run(&mut self, mut watch: impl FnMut(&Event) -> bool) -> Result<()> {
        let mut loader = self.loader()?;
        while self.progress.step < self.total {
            let batch = loader.next().unwrap_or_else(|| Err(Error::Config { reason: "the data ended".into() }))?;
            let step = self.step(&batch)?;
            let due = |every: u64| step.step.is_multiple_of(every) || step.step == self.total;
            let (validate, save) = (due(self.config.validation.every), due(self.config.optimiser.save_every));
            let mut go_on = watch(&Event::Step(step));
            if validate && let Some(scores) = self.validate()? {
                go_on &= watch(&Event::Validation(scores));
                if self.progress.best.is_none_or(|best| scores.psnr > best) {
                    self.progress.best = Some(scores.psnr);
                    self.write_weights(&self.config.out.join("best.safetensors"))?;
                }
            }
            if save || !go_on {
                checkpoint::save(&last(&self.config.out), &self.state, &self.progress)?;
            }
            if !go_on {
                return Ok(());
            }
        }
        self.write_weights(&self.config.out.join("weights.safetensors"))
    }

    /// Batches from the step to come on.
    fn loader(&self) -> Result<Loader> {
        let config = LoaderConfig {
            seed: self.config.seed,
            first_step: self.progress.step,
            batch: self.config.optimiser.batch,
            crop: self.crop(),
            repeat: self.config.data.crops_per_image,
            workers: self.config.data.workers,
        };
        Loader::new(self.source.clone(), &config)
    }

    /// What there is to say about the choice of pairs, a line each.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Steps taken so far, and of the whole run.
    pub fn steps(&self) -> (u64, u64) {
        (self.progress.step, self.total)
    }

    /// The network and its numbers now.
    pub fn model(&self) -> &Model {
        &self.state.model
    }

    /// Scores the validation pairs with the moving average, if there is one; nothing without pairs.
    pub fn validate(&self) -> Result<Option<Validation>> {
        self.validate_first(self.config.validation.limit)
    }

    /// Scores the first `limit` validation pairs by PSNR and SSIM as the protocol's tables hold them.
    fn validate_first(&self, limit: usize) -> Result<Option<Validation>> {
        let Some(pairs) = &self.validation else { return Ok(None) };
        let model = self.state.model.freeze_with(self.state.values()).computing_in(self.config.compute.precision);
        let headline = self.config.validation.protocol.headline();
        let scorer = Scorer::new(&headline[..headline.len().min(2)])?;
        let restore = |image: &Image| restore(&model, image);
        let of = |index| Ok(score(pairs, index, &scorer, Some(&restore))?.restored.unwrap_or_default());
        let rows: Vec<Vec<f64>> = (0..pairs.len().min(limit)).map(of).collect::<Result<_>>()?;
        let means = mean(rows.iter().map(Vec::as_slice));
        let scores = means.first_chunk().map(|&[psnr, ssim]| Validation { step: self.progress.step, psnr, ssim });
        Ok(scores)
    }

    /// One step on `batch`.
    fn step(&mut self, batch: &Batch) -> Result<Step> {
        let shape = [batch.n, 3, batch.height, batch.width];
        let device = self.config.compute.device;
        let input = Tensor::from_nhwc(&batch.inputs, shape)?.to_device(device)?;
        let target = Tensor::from_nhwc(&batch.targets, shape)?.to_device(device)?;
        let clip = self.config.optimiser.clip;
        let settings = StepSettings {
            loss: self.config.loss,
            compute: self.config.compute.precision.dtype(),
            rate: self.schedule.rate(self.period()),
            limit: if clip > 0.0 { clip } else { f64::INFINITY },
            loss_scale: self.progress.loss_scale,
        };
        let StepResult { loss, spatial, gradient_norm, skipped } = self.state.step(input, target, settings)?;
        self.progress.adapt_loss_scale(skipped);
        self.progress.step += 1;
        Ok(Step { step: self.progress.step, loss, spatial, rate: settings.rate, gradient_norm, skipped })
    }

    /// The schedule's period of the step to come, from 1.
    fn period(&self) -> u64 {
        match self.config.optimiser.period {
            Period::Step => self.progress.step + 1,
            Period::Epoch => self.progress.step / self.steps_per_epoch + 1,
        }
    }

    fn crop(&self) -> CropSpec {
        let data = &self.config.data;
        let CropSize { height, width } = data.crop;
        CropSpec { width, height, max_shrink: data.max_shrink, flip: data.flip }
    }

    fn write_weights(&self, path: &Path) -> Result<()> {
        let metadata = HashMap::from([
            (TASK.to_string(), self.config.task.to_string()),
            ("irnext.steps".to_string(), self.progress.step.to_string()),
        ]);
        Ok(self.state.model.to_file_with(&self.state.values(), DType::F32, metadata)?.write(path)?)
    }
}

/// What happens in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A step was taken.
    Step(Step),
    /// The validation pairs were scored.
    Validation(Validation),
}

/// Mean scores of the validation pairs, restored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Steps taken.
    pub step: u64,
    /// The protocol's PSNR, dB.
    pub psnr: f64,
    /// The protocol's SSIM.
    pub ssim: f64,
}

/// The checkpoint of a run's folder.
fn last(out: &Path) -> PathBuf {
    out.join("last.safetensors")
}

/// Refuses to go on with a run under a configuration that would make it another run.
fn same_run(path: &Path, progress: &Progress, config: &TrainConfig) -> Result<()> {
    let comparable = |text: &str| -> Result<toml::Table> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| Error::Config {
            reason: format!("{}: {}", path.display(), error.message()),
        })?;
        // Where files are, how often they are written and how many threads work changes no number. What computes does, in the last
        // digits; but whoever has a GPU today may not have it tomorrow.
        for (section, key) in [("", "out"), ("data", "workers"), ("data", "cache_mb"), ("optimiser", "save_every")] {
            match section {
                "" => table.remove(key),
                section => table.get_mut(section).and_then(toml::Value::as_table_mut).and_then(|t| t.remove(key)),
            };
        }
        table.remove("validation");
        table.remove("compute");
        Ok(table)
    };
    if comparable(&progress.config)? == comparable(&config.to_toml()?)? {
        return Ok(());
    }
    Err(Error::Config {
        reason: format!(
            "{}: belongs to a run with other settings (see config.toml beside it); choose another `out`, or the same settings",
            path.display()
        ),
    })
}
