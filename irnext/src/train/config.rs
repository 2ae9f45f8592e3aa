//! A training run's settings: a TOML file in which every value can stand, and overrides from the command line.

use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::model::{LossConfig, ModelConfig};
use nn::optim::Rule;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// What is removed; decides the degradation of synthetic pairs.
    pub task: Task,
    /// The run's folder: checkpoints, weights, this configuration, a log.
    pub out: PathBuf,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Where pairs come from.
    pub data: DataConfig,
    /// Held-back pairs.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// How long and how fast.
    #[serde(default)]
    pub optimiser: OptimiserConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// The network.
    #[serde(default)]
    pub model: ModelConfig,
    /// What computes it.
    #[serde(default)]
    pub compute: Compute,
}

/// Where training pairs come from: either `clean`, or `input` and `target`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A folder of clean photographs, degraded on the fly.
    pub clean: Option<PathBuf>,
    /// A folder of degraded photographs.
    pub input: Option<PathBuf>,
    /// A folder of what they should be.
    pub target: Option<PathBuf>,
    /// Side of the training crops, pixels.
    pub crop: usize,
    /// Crops are taken at 1 to this many times their size, and shrunk: more of the picture in each.
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
            clean: None,
            input: None,
            target: None,
            crop: 256,
            max_shrink: 1.0,
            flip: true,
            crops_per_image: 1,
            workers: 1,
            cache_mb: 2048,
        }
    }
}

/// Pairs that are scored while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// A folder of degraded photographs; none, no validation.
    pub input: Option<PathBuf>,
    /// A folder of what they should be.
    pub target: Option<PathBuf>,
    /// Steps from one validation to the next.
    pub every: u64,
    /// At most this many pairs.
    pub limit: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { input: None, target: None, every: 500, limit: 32 }
    }
}

/// How parameters are moved, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
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
    /// Gradients are scaled down to this global norm; 0, never.
    pub clip: f64,
    /// Decay of the moving average of the weights; 0, none.
    pub ema: f64,
    /// Recompute the insides of CNNBlocks in the backward pass, to save memory.
    pub checkpoint: bool,
    /// Steps from one saved checkpoint to the next.
    pub save_every: u64,
}

impl Default for OptimiserConfig {
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

/// An optimiser with its usual constants.
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

/// What the learning-rate schedule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// Passes over the data, as the published code does.
    Epoch,
    /// Steps.
    Step,
}

impl TrainConfig {
    /// Reads a file and applies `overrides` of the form `section.key=value`, the value in TOML (a bare word is a string).
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, overrides)
            .map_err(|reason| Error::Config { reason: format!("{}: {reason}", path.display()) })
    }

    fn parse(text: &str, overrides: &[String]) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        for change in overrides {
            let (key, value) = change.split_once('=').ok_or_else(|| format!("override {change:?} is not key=value"))?;
            set(&mut table, key.trim(), parse_value(value.trim()))
                .ok_or_else(|| format!("override {change:?}: {key} leads through a value that is no section"))?;
        }
        let config: Self = table.try_into().map_err(|error: toml::de::Error| error.to_string())?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML, every value shown.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Config { reason: error.to_string() })
    }

    fn validate(&self) -> Result<(), String> {
        let (data, optimiser) = (&self.data, &self.optimiser);
        self.model.validate().map_err(|error| error.to_string())?;
        let synthetic = data.clean.is_some();
        let paired = data.input.is_some() && data.target.is_some();
        if synthetic == paired || data.input.is_some() != data.target.is_some() {
            return Err("data: give either `clean`, or `input` and `target`".into());
        }
        if self.validation.input.is_some() != self.validation.target.is_some() {
            return Err("validation: give both `input` and `target`, or neither".into());
        }
        let (multiple, least) = (self.model.multiple(), self.model.least_side());
        if data.crop < least || data.crop % multiple != 0 || data.crop > 8192 {
            return Err(format!("data.crop must be {least} to 8192 in steps of {multiple}, got {}", data.crop));
        }
        if !(1.0..=16.0).contains(&data.max_shrink) {
            return Err(format!("data.max_shrink must be from 1 to 16, got {}", data.max_shrink));
        }
        if data.workers == 0 || data.crops_per_image == 0 || self.validation.every == 0 || optimiser.save_every == 0 {
            return Err(
                "data.workers, data.crops_per_image, validation.every and optimiser.save_every must be at least 1"
                    .into(),
            );
        }
        if optimiser.batch < 2 && self.model.msm > 0 && self.model.lam {
            return Err(
                "optimiser.batch must be at least 2: LAM's BatchNorm normalises 1×1 maps over the batch alone".into()
            );
        }
        if optimiser.batch == 0 {
            return Err("optimiser.batch must be at least 1".into());
        }
        if optimiser.steps.is_some() == optimiser.epochs.is_some() {
            return Err("optimiser: give either `steps` or `epochs`".into());
        }
        let rates = [optimiser.learning_rate, optimiser.last_learning_rate, optimiser.clip];
        if rates.iter().any(|rate| !rate.is_finite() || *rate < 0.0) || !(0.0..1.0).contains(&optimiser.ema) {
            return Err("optimiser: rates and clip must be finite and not negative, ema in [0, 1)".into());
        }
        Ok(())
    }
}

/// Puts `value` at a dotted key, making sections on the way; `None` if one is in the way that is no section.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Option<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
            set(section.as_table_mut()?, rest, value)?;
        }
    }
    Some(())
}

/// The value as TOML; what is none is taken for a string, so that paths need no quotes.
fn parse_value(text: &str) -> toml::Value {
    let table: Result<toml::Table, _> = format!("value = {text}").parse();
    table.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = \"photos\"\n[optimiser]\nsteps = 10\n";

    #[test]
    fn overrides_win_and_everything_is_shown() {
        let overrides = ["optimiser.batch=8", "model.n=1", "data.clean=other/folder", "data.flip=false"];
        let config = TrainConfig::parse(MINIMAL, &overrides.map(String::from)).unwrap();
        assert_eq!((config.optimiser.batch, config.model.n, config.data.flip), (8, 1, false));
        assert_eq!(config.data.clean.as_deref(), Some(Path::new("other/folder")));
        let shown = config.to_toml().unwrap();
        for value in ["learning_rate", "branches", "lambda", "crop", "workers"] {
            assert!(shown.contains(value), "{value} is not shown");
        }
        assert_eq!(TrainConfig::parse(&shown, &[]).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        let refuse = |change: &str| TrainConfig::parse(MINIMAL, &[change.to_string()]).unwrap_err();
        assert!(refuse("data.crop=100").contains("data.crop"));
        assert!(refuse("optimiser.batch=1").contains("BatchNorm"));
        assert!(refuse("optimiser.epochs=3").contains("either `steps` or `epochs`"));
        assert!(refuse("optimiser.speed=3").contains("speed"));
        assert!(refuse("task.x=3").contains("no section"));
        assert!(refuse("nonsense").contains("key=value"));
        assert!(TrainConfig::parse("task = 3", &[]).is_err());
    }
}
