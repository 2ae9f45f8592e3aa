//! The settings of a training run: a TOML file that can set every value, and overrides from the
//! command line.

use super::overrides::Overrides;
use super::renamed::rename_earlier_keys;
use super::training_set::TrainingSet;
use crate::compute::Compute;
use crate::degrade::{Look, Task};
use crate::error::{Error, Result};
use crate::model::{LossConfig, ModelConfig};
use crate::protocol::Protocol;
use nn::optim::Rule;
use nn::shown;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The configuration of a training run.
///
/// ```
/// use irnext::recipes::Recipe;
/// use irnext::train::TrainConfig;
///
/// // A text with the settings that have no default, and a change as on the command line.
/// let text = r#"
/// task = "dehaze"
/// out = "runs/mine"
/// data.clean = "photographs"
/// optimizer.steps = 5000
/// "#;
/// let mine = TrainConfig::parse("mine", text, &["optimizer.batch=8".into()])?;
/// assert_eq!((mine.optimizer.batch, mine.data.crop.width), (8, 256));
/// // Or a recipe.
/// let gopro = Recipe::find("gopro")?.config(&[])?.on_data("GOPRO_Large".into())?.scaled(0.01)?;
/// println!("{}", gopro.to_toml()?);
/// # Ok::<(), irnext::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The task; it decides the degradation of synthetic pairs.
    pub task: Task,
    /// The run's folder: checkpoints, weights, this configuration, a log.
    pub out: PathBuf,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// A weight file to start from, instead of random weights.
    pub start: Option<PathBuf>,
    /// The training pairs.
    pub data: DataConfig,
    /// The validation pairs.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// The optimizer, its schedule and the length of the run.
    #[serde(default, alias = "optimiser")]
    pub optimizer: OptimizerConfig,
    /// The loss.
    #[serde(default)]
    pub loss: LossConfig,
    /// The network.
    #[serde(default)]
    pub model: ModelConfig,
    /// The device and the precision.
    #[serde(default)]
    pub compute: Compute,
}

/// Where training pairs come from: `folder`, or `clean`, or `input` and `target`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A data set in one of the published layouts (see [`crate::data::splits`]): its training
    /// split.
    pub folder: Option<PathBuf>,
    /// The data set in `folder`, where that matters: which of several sets, how many pairs it
    /// should have, which of them are its test.
    pub set: Option<TrainingSet>,
    /// The least number of pairs of the training split, in whole scenes, that are held back for
    /// validation.
    pub hold_back: Option<usize>,
    /// A folder of clean photographs, degraded on the fly.
    pub clean: Option<PathBuf>,
    /// The pictures that are made of clean photographs; as in the benchmarks unless set.
    pub look: Option<Look>,
    /// The simplest form of motion blur instead of the full one, to begin a training with: only the
    /// camera moves, evenly and straight, by a number of pixels in this range.
    #[serde(alias = "straight")]
    pub linear_motion: Option<[f64; 2]>,
    /// A folder of degraded photographs.
    pub input: Option<PathBuf>,
    /// A folder of their ground truth.
    pub target: Option<PathBuf>,
    /// The size of the training crops: a side in pixels, or `[height, width]`.
    pub crop: CropSize,
    /// The largest factor by which a crop is taken larger than its size and shrunk, to show more of
    /// the picture.
    pub max_shrink: f64,
    /// Whether half the crops are mirrored left to right.
    pub flip: bool,
    /// Crops taken from each photograph in an epoch.
    pub crops_per_image: usize,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Memory for decoded photographs, megabytes.
    pub cache_mb: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            folder: None,
            set: None,
            hold_back: None,
            clean: None,
            look: None,
            linear_motion: None,
            input: None,
            target: None,
            crop: CropSize { height: 256, width: 256 },
            max_shrink: 1.0,
            flip: true,
            crops_per_image: 1,
            workers: 1,
            cache_mb: 2048,
        }
    }
}

/// Rows and columns of a training crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CropForm", into = "CropForm")]
pub struct CropSize {
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

/// The size of a crop as written in the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a crop is a side in pixels, or [height, width]")]
enum CropForm {
    Square(usize),
    Sides([usize; 2]),
}

impl From<CropForm> for CropSize {
    fn from(form: CropForm) -> Self {
        let [height, width] = match form {
            CropForm::Square(side) => [side; 2],
            CropForm::Sides(sides) => sides,
        };
        Self { height, width }
    }
}

impl From<CropSize> for CropForm {
    fn from(CropSize { height, width }: CropSize) -> Self {
        if height == width { Self::Square(height) } else { Self::Sides([height, width]) }
    }
}

/// Pairs that are scored during training: held back from training, a split of the data set, or two
/// folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// The protocol, by its name in `irnext eval`: PSNR and SSIM as in that protocol's tables.
    pub protocol: Protocol,
    /// The split of `data.folder` that is scored.
    pub split: ScoredSplit,
    /// A folder of degraded photographs.
    pub input: Option<PathBuf>,
    /// A folder of their ground truth.
    pub target: Option<PathBuf>,
    /// Steps from one validation to the next.
    pub every: u64,
    /// The most pairs that are scored.
    pub limit: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        let (protocol, split) = (Protocol::Plain, ScoredSplit::None);
        Self { protocol, split, input: None, target: None, every: 500, limit: 32 }
    }
}

/// A split that is scored during training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoredSplit {
    /// No split: the pairs that are held back, if there are any.
    None,
    /// The data set's own validation split.
    Validation,
    /// The test split, as in the published code. Weights chosen by these scores are scored too well
    /// by them.
    Test,
}

/// The optimizer, its schedule and the length of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// adam, adam-w or sgd.
    pub rule: RuleName,
    /// Pairs in a step.
    pub batch: usize,
    /// Steps of the whole run; not together with `epochs`.
    pub steps: Option<u64>,
    /// Passes over the data; not together with `steps`.
    pub epochs: Option<u64>,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The rate that cosine annealing ends at.
    pub last_learning_rate: f64,
    /// Periods of warm-up.
    pub warmup: u64,
    /// The schedule's period.
    pub period: Period,
    /// The global norm that gradients are clipped to; 0, never.
    pub clip: f64,
    /// Decay of the moving average of the weights; 0, none.
    pub ema: f64,
    /// Recompute the insides of CNNBlocks in the backward pass, to save memory.
    pub checkpoint: bool,
    /// Steps from one saved checkpoint to the next.
    pub save_every: u64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            rule: RuleName::Adam,
            batch: 4,
            steps: None,
            epochs: None,
            learning_rate: 1e-4,
            last_learning_rate: 1e-6,
            warmup: 3,
            period: Period::Epoch,
            clip: 0.01,
            ema: 0.0,
            checkpoint: false,
            save_every: 100,
        }
    }
}

/// The name of an optimizer with its usual constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleName {
    /// β = (0.9, 0.999), ε = 1e-8.
    Adam,
    /// The same, weight decay 0.01.
    AdamW,
    /// Momentum 0.9.
    Sgd,
}

impl RuleName {
    /// The rule.
    pub fn rule(self) -> Rule {
        match self {
            Self::Adam => Rule::adam(),
            Self::AdamW => Rule::adam_w(),
            Self::Sgd => Rule::Sgd { momentum: 0.9, weight_decay: 0.0 },
        }
    }
}

/// The unit of the learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// Passes over the data, as the published code does.
    Epoch,
    /// Steps.
    Step,
}

impl TrainConfig {
    /// Reads a file and applies `overrides` of the form `section.key=value`, the value in TOML (a
    /// bare word is a string).
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&shown(&path).to_string(), &text, overrides)
    }

    /// Like [`TrainConfig::read`], but from a text, which errors call `origin`.
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self> {
        let parsed = || -> Result<Self, String> {
            let mut table: toml::Table =
                text.parse().map_err(|error: toml::de::Error| error.to_string())?;
            rename_earlier_keys(&mut table);
            Overrides::parse(overrides)?.apply(&mut table)?;
            let config: Self =
                table.try_into().map_err(|error: toml::de::Error| error.to_string())?;
            config.validate()?;
            Ok(config)
        };
        parsed().map_err(|reason| Error::Config { reason: format!("{origin}: {reason}") })
    }

    /// The same run on the data set, or the clean photographs, in `folder`.
    pub fn on_data(mut self, folder: PathBuf) -> Result<Self> {
        match &mut self.data {
            DataConfig { folder: place @ Some(_), .. }
            | DataConfig { clean: place @ Some(_), .. } => *place = Some(folder),
            _ => {
                let reason = "the configuration has `data.input` and `data.target`; set these \
                 instead of one folder";
                return Err(Error::Config { reason: reason.into() });
            }
        }
        Ok(self)
    }

    /// A trial of this run: epochs or steps, warm-up and validation interval multiplied by
    /// `factor`, but at least one of each that is not 0.
    pub fn scaled(mut self, factor: f64) -> Result<Self> {
        if !(factor > 0.0 && factor <= 1.0) {
            return Err(Error::Config {
                reason: format!("a run is shortened by a factor above 0, at most 1, not {factor}"),
            });
        }
        let scale = |count: u64| ((count as f64 * factor).round() as u64).max(count.min(1));
        let optimizer = &mut self.optimizer;
        optimizer.epochs = optimizer.epochs.map(scale);
        optimizer.steps = optimizer.steps.map(scale);
        optimizer.warmup = scale(optimizer.warmup);
        // A warm-up as long as the run would leave nothing to anneal.
        let periods = match (optimizer.period, optimizer.steps, optimizer.epochs) {
            (Period::Step, Some(periods), _) | (Period::Epoch, None, Some(periods)) => periods,
            _ => u64::MAX,
        };
        optimizer.warmup = optimizer.warmup.min(periods.saturating_sub(1));
        self.validation.every = scale(self.validation.every);
        Ok(self)
    }

    /// The configuration as TOML, every value shown.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Config { reason: error.to_string() })
    }

    fn validate(&self) -> Result<(), String> {
        let (data, optimizer) = (&self.data, &self.optimizer);
        self.model.validate().map_err(|error| error.to_string())?;
        let sources = [&data.folder, &data.clean, &data.input].into_iter().flatten().count();
        if sources != 1 || data.input.is_some() != data.target.is_some() {
            return Err("data: give either `folder`, or `clean`, or `input` and `target`".into());
        }
        if let Some([least, most]) = data.linear_motion {
            if data.clean.is_none() || self.task != Task::Deblur {
                return Err(format!(
                    "data.linear_motion needs data.clean and the task {}",
                    Task::Deblur
                ));
            }
            if !(1.0 <= least && least < most && most <= 128.0) {
                return Err(format!(
                    "data.linear_motion must be a range within 1 to 128 pixels, got {least} to \
                     {most}"
                ));
            }
        }
        if data.look.is_some() && data.clean.is_none() {
            return Err("data.look needs data.clean".into());
        }
        if data.look.is_some() && data.linear_motion.is_some() {
            return Err("data.look and data.linear_motion exclude each other".into());
        }
        self.validate_pairs()?;
        let (multiple, least) = (self.model.multiple(), self.model.least_side());
        let CropSize { height, width } = data.crop;
        if [height, width].iter().any(|side| !(least..=8192).contains(side) || side % multiple != 0)
        {
            return Err(format!(
                "data.crop must be {least} to 8192 in steps of {multiple}, got {height}x{width}"
            ));
        }
        if !(1.0..=16.0).contains(&data.max_shrink) {
            return Err(format!("data.max_shrink must be from 1 to 16, got {}", data.max_shrink));
        }
        if data.workers == 0
            || data.crops_per_image == 0
            || self.validation.every == 0
            || optimizer.save_every == 0
        {
            return Err(
                "data.workers, data.crops_per_image, validation.every and optimizer.save_every \
                 must be at least 1"
                    .into(),
            );
        }
        if optimizer.batch < 2 && self.model.msm > 0 && self.model.lam {
            return Err(
                "optimizer.batch must be at least 2: LAM's BatchNorm normalizes 1×1 maps over the \
                 batch alone"
                    .into(),
            );
        }
        if optimizer.batch == 0 {
            return Err("optimizer.batch must be at least 1".into());
        }
        if optimizer.steps.is_some() == optimizer.epochs.is_some() {
            return Err("optimizer: give either `steps` or `epochs`".into());
        }
        let rates = [optimizer.learning_rate, optimizer.last_learning_rate, optimizer.clip];
        if rates.iter().any(|rate| !rate.is_finite() || *rate < 0.0)
            || !(0.0..1.0).contains(&optimizer.ema)
        {
            return Err(
                "optimizer: rates and clip must be finite and not negative, ema in [0, 1)".into()
            );
        }
        Ok(())
    }

    /// Checks that the validation pairs have at most one source, and that its settings are
    /// complete.
    fn validate_pairs(&self) -> Result<(), String> {
        let (data, validation) = (&self.data, &self.validation);
        if validation.input.is_some() != validation.target.is_some() {
            return Err("validation: give both `input` and `target`, or neither".into());
        }
        let held_back = data.hold_back.unwrap_or(0) > 0;
        let of_split = validation.split != ScoredSplit::None;
        if data.folder.is_none() && (data.set.is_some() || held_back || of_split) {
            return Err("data.set, data.hold_back and validation.split need data.folder".into());
        }
        if [held_back, of_split, validation.input.is_some()].into_iter().filter(|&is| is).count()
            > 1
        {
            return Err(
                "validation: give one of data.hold_back, validation.split, or `input` and `target`"
                    .into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
