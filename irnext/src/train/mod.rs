//! Training: configuration, the loop, checkpoints.
//!
//! A step is a function of the state, the seed and the step's number. So a run that is stopped and
//! resumed, with any number of threads, ends with the same bits as an uninterrupted one.
//!
//! A run may belong to a [`Team`]. Each rank then takes its part of every batch, and all have the
//! same state after each step; the first rank reads and writes the run's folder.

mod checkpoint;
mod config;
mod event;
mod folder;
pub mod log;
mod overrides;
mod pairs;
mod plan;
mod renamed;
mod run;
mod settings;
mod step;
mod training_set;
mod validation;

pub use checkpoint::Progress;
pub use config::{
    CropSize, DataConfig, OptimizerConfig, Period, RuleName, ScoredSplit, TrainConfig,
    ValidationConfig,
};
pub use event::{Event, Step, Validation};
pub use plan::{Measured, RunPlan, duration};
pub use step::{LOSS_SCALE, StepResult, StepSettings, TrainingState};
pub use training_set::TrainingSet;

use crate::compute::{Compute, Precision};
use crate::data::{CropSpec, LoaderConfig, PhotoCache, Source};
use crate::distributed::Team;
use crate::error::{Error, Result};
use crate::model::Model;
use engine::{DType, Tensor};
use folder::{LoadedRun, RunFolder};
use log::ValidationPicture;
use nn::schedule::WarmupCosine;
use nn::shown;
use pairs::Pairs;
use settings::{decisive, same_run};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use validation::Validator;

/// The number of consecutive skipped steps after which a run stops.
pub const FAILURES: u64 = 3;

/// The files in a run's folder that are meant for use elsewhere.
const WEIGHTS: &str = "weights.safetensors";
const BEST: &str = "best.safetensors";

/// How [`TrainingRun::train`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The run is complete, and its weights are written.
    Complete,
    /// It was asked to stop. Everything is saved.
    Stopped,
}

/// A training run.
///
/// ```no_run
/// use irnext::recipes::Recipe;
/// use irnext::train::{Event, TrainingRun};
///
/// let config = Recipe::find("tiny-dehaze")?.config(&[])?.on_data("photographs".into())?;
/// let mut run = TrainingRun::open(config)?;
/// run.train(|event| {
///     if let Event::Step(step) = event {
///         println!("step {}: loss {:.4}", step.step, step.loss);
///     }
///     true // false stops the run and saves it
/// })?;
/// # Ok::<(), irnext::Error>(())
/// ```
pub struct TrainingRun {
    team: Team,
    config: TrainConfig,
    folder: RunFolder,
    state: TrainingState,
    progress: Progress,
    source: Arc<dyn Source>,
    validator: Option<Validator>,
    remarks: Vec<String>,
    schedule: WarmupCosine,
    steps_per_epoch: u64,
    total: u64,
    stop: Arc<AtomicBool>,
    note: Option<String>,
    /// The bits of the last step's gradient norm, by which the ranks of a team check that they
    /// agree.
    norm: u64,
}

impl TrainingRun {
    /// Starts a run, or resumes the one in the folder `config.out`.
    ///
    /// # Errors
    /// Among others if that folder holds a run with other settings, but for those that change no
    /// number; if none of its checkpoints is whole; if another process is training in it.
    pub fn open(config: TrainConfig) -> Result<Self> {
        Self::open_in(Team::alone(), config)
    }

    /// Like [`TrainingRun::open`], but as one of the ranks of `team`, all of which make the same
    /// calls.
    ///
    /// # Errors
    /// Also if they were given different settings, find different data, or cannot share the batch.
    pub fn open_in(team: Team, config: TrainConfig) -> Result<Self> {
        let mut run = Self::set_up(team, config, RunFolder::claim)?;
        let best = run.team.is_first().then(|| run.settle()).transpose();
        let best = run.team.barrier(best)?;
        let write = |best: &Option<f64>| {
            Ok(best.map_or(vec![], |best| best.to_bits().to_le_bytes().into()))
        };
        let read =
            |bytes: Vec<u8>| Ok(bytes.try_into().ok().map(u64::from_le_bytes).map(f64::from_bits));
        run.progress.best = run.team.broadcast(|| Ok(best.flatten()), write, read)?;
        Ok(run)
    }

    /// Like [`TrainingRun::open_in`], but for inspection only: nothing is written.
    pub fn prepare(team: Team, config: TrainConfig) -> Result<Self> {
        Self::set_up(team, config, |path| Ok(RunFolder::look(path)))
    }

    /// Finds the data and the state of a run, whose folder is touched last.
    fn set_up(
        team: Team,
        config: TrainConfig,
        folder: impl FnOnce(&Path) -> Result<RunFolder>,
    ) -> Result<Self> {
        let find = || {
            let compute = Compute { device: team.device(config.compute.device), ..config.compute };
            compute.check()?;
            let pairs = Pairs::find(&config, &PhotoCache::new(config.data.cache_mb << 20))?;
            let steps_per_epoch = loader(&team, &config, 0).steps_per_epoch(pairs.source.len())?;
            Ok((decisive(&config, &pairs)?, compute, pairs, steps_per_epoch))
        };
        let (settings, compute, Pairs { source, validation, remarks }, steps_per_epoch) =
            team.barrier(find())?;
        team.require_equal(&settings)?;
        let config = TrainConfig { compute, ..config };
        team.connect_gpus(compute.device)?;
        let optimizer = &config.optimizer;
        let total =
            optimizer.steps.unwrap_or_else(|| optimizer.epochs.unwrap_or(0) * steps_per_epoch);
        let periods = match optimizer.period {
            Period::Step => total,
            Period::Epoch => total.div_ceil(steps_per_epoch),
        };
        let schedule = WarmupCosine {
            base: optimizer.learning_rate,
            last: optimizer.last_learning_rate,
            warmup: optimizer.warmup.min(periods),
            total: periods,
        };
        let validator = validation
            .map(|pairs| Validator::new(pairs, &config.validation, config.compute.precision));
        let mut folder = team.barrier(match team.is_first() {
            true => folder(&config.out),
            false => Ok(RunFolder::look(&config.out)),
        })?;
        let LoadedRun { state, progress, note } = begin(&team, &config, &mut folder)?;
        let stop = Arc::default();
        Ok(Self {
            team,
            config,
            folder,
            state,
            progress,
            source,
            validator,
            remarks,
            schedule,
            steps_per_epoch,
            total,
            stop,
            note,
            norm: 0,
        })
    }

    /// Once `stop` is true, [`TrainingRun::train`] ends as soon as the state is saved, in the
    /// middle of a step or of a validation. A team ends once `stop` is true on one of its ranks:
    /// after the step, or between two pairs of a validation.
    pub fn stop_when(&mut self, stop: Arc<AtomicBool>) {
        if self.team.is_alone() {
            self.state.stop_when(stop.clone());
        }
        self.stop = stop;
    }

    /// Steps taken so far, and of the whole run.
    pub fn steps(&self) -> (u64, u64) {
        (self.progress.step, self.total)
    }

    /// The step that the run would resume from if the process ended now; `None` if it would start
    /// over.
    pub fn saved(&self) -> Option<u64> {
        self.folder.saved()
    }

    /// A note if the run was not found as expected, though it can continue.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Remarks on the choice of pairs, a line each.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The current network and parameters.
    pub fn model(&self) -> &Model {
        &self.state.model
    }

    /// Scores the validation pairs with the moving average, if there is one; `None` without pairs.
    pub fn validate(&self) -> Result<Option<Validation>> {
        let scored =
            self.score(&self.team, &self.state.model, self.state.values(), [usize::MAX, 0])?;
        Ok(scored.map(|(scores, _)| scores))
    }

    /// Scores the first `limit` validation pairs, and makes pictures of the first `shown`; shared
    /// among `team`.
    fn score(
        &self,
        team: &Team,
        model: &Model,
        values: Vec<Tensor>,
        [limit, shown]: [usize; 2],
    ) -> Result<Option<(Validation, Vec<ValidationPicture>)>> {
        let Some(validator) = &self.validator else { return Ok(None) };
        validator.score(self.progress.step, model, values, [limit, shown], (team, &self.stop))
    }

    /// Writes the configuration to the run's folder. Returns the score of the best weights, if
    /// known.
    fn settle(&mut self) -> Result<Option<f64>> {
        let shown = self.folder.file("config.toml");
        nn::write_atomically(&shown, self.config.to_toml()?.as_bytes())
            .map_err(Error::io(&shown))?;
        self.score_best_again()?;
        Ok(self.progress.best)
    }

    /// The score of the best weights is meaningless if the validation pairs have changed, or the
    /// weights are gone.
    fn score_best_again(&mut self) -> Result<()> {
        let before = std::mem::replace(&mut self.progress.config, self.config.to_toml()?);
        if self.progress.best.is_none() {
            return Ok(());
        }
        let path = self.folder.file(BEST);
        let before: TrainConfig = toml::from_str(&before).map_err(|error| Error::Config {
            reason: format!("{}: {}", shown(&path), error.message()),
        })?;
        // The subject and manner of scoring, not its frequency.
        let scored =
            |config: &TrainConfig| ValidationConfig { every: 1, ..config.validation.clone() };
        if !path.exists() {
            self.progress.best = None;
        } else if scored(&before) != scored(&self.config) {
            let model = Model::read(&path)?.0.on(self.config.compute)?;
            // The others wait for the result of this rank.
            let scores =
                self.score(&Team::alone(), &model, model.params.values(), [usize::MAX, 0])?;
            self.progress.best = scores.map(|(scores, _)| scores.psnr);
        }
        Ok(())
    }
}

/// The state from which the run in `folder` continues: that of its last checkpoint, or of a fresh
/// network. The ranks of a team get it from the first.
fn begin(team: &Team, config: &TrainConfig, folder: &mut RunFolder) -> Result<LoadedRun> {
    let (rule, decay) = (config.optimizer.rule.rule(), config.optimizer.ema);
    let find = || match folder.load(rule, decay)? {
        Some(found) => {
            same_run(&found.progress, config)?;
            Ok(found)
        }
        None => {
            let model = match &config.start {
                None => Model::new(&config.model, config.seed, DType::F32)?,
                Some(path) => Model::read_as(path, &config.model)?,
            };
            let state = TrainingState::new(model, rule, decay)?;
            Ok(LoadedRun {
                state,
                progress: Progress { config: config.to_toml()?, ..Progress::default() },
                note: None,
            })
        }
    };
    let write = |found: &LoadedRun| checkpoint::to_bytes(&found.state, &found.progress);
    let read = |bytes: Vec<u8>| {
        let (state, progress) =
            checkpoint::from_bytes("the state sent by rank 0", &bytes, rule, decay)?;
        Ok(LoadedRun { state, progress, note: None })
    };
    let mut found = team.broadcast(find, write, read)?;
    found.state = found.state.to_device(config.compute.device)?;
    found.state.set_process_group(team.group().cloned());
    found.state.set_checkpoints(config.optimizer.checkpoint);
    if config.compute.precision == Precision::F16 {
        found.progress.loss_scale.get_or_insert(LOSS_SCALE);
    } else {
        found.progress.loss_scale = None;
    }
    Ok(found)
}

/// The settings of the loader from `first_step` on.
fn loader(team: &Team, config: &TrainConfig, first_step: u64) -> LoaderConfig {
    let data = &config.data;
    LoaderConfig {
        seed: config.seed,
        first_step,
        batch: config.optimizer.batch,
        part: (team.rank(), team.size()),
        crop: CropSpec {
            width: data.crop.width,
            height: data.crop.height,
            max_shrink: data.max_shrink,
            flip: data.flip,
        },
        repeat: data.crops_per_image,
        workers: data.workers,
    }
}
