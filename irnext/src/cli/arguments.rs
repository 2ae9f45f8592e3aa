//! Arguments that several commands share.

use super::output::shell_word;
use super::tasks::{task_of, task_parser};
use crate::compute::{Compute, Precision};
use crate::degrade::Task;
use crate::distributed::Team;
use crate::error::{Error, Result};
use crate::jobs::UNNAMED;
use crate::model::{Model, ModelConfig, Preset};
use crate::restore::{MemoryLimit, Scale};
use crate::restorer::Restorer;
use crate::shipped;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use engine::{DType, Device};
use nn::shown;
use nn::weights::printable;
use std::path::{Path, PathBuf};

/// The heading of the options that choose device and precision.
pub(super) const COMPUTE: &str = "Compute options";
/// The heading of the options that choose the output.
pub(super) const OUTPUT: &str = "Output options";

/// The heading of options for people who train networks.
pub(super) const ADVANCED: &str = "Advanced options";

/// The file for a page. Its name says so: that of a photograph would never be meant.
pub(super) fn page(given: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(given);
    let extension = path.extension().unwrap_or_default();
    match ["html", "htm"].iter().any(|name| extension.eq_ignore_ascii_case(name)) {
        true => Ok(path),
        false => Err("the name of a page ends in .html".into()),
    }
}

/// A parser of one of these values by its name, which completions then offer.
pub(super) fn one_of<T: Copy + Send + Sync + 'static>(
    values: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let named = move |given: String| values.iter().copied().find(|value| name(*value) == given);
    PossibleValuesParser::new(values.iter().map(|value| name(*value)))
        .try_map(move |given| named(given).ok_or("unknown name"))
}

/// The device and its precision.
#[derive(Args)]
pub(super) struct ComputeArguments {
    /// Device: cpu, cuda or cuda:NUMBER (`irnext devices` lists them) [default: cpu]
    #[arg(
        long,
        value_name = "DEVICE",
        default_value_t = Device::Cpu,
        hide_default_value = true,
        help_heading = COMPUTE
    )]
    device: Device,
    /// Precision: f32, or the faster but less precise tf32, bf16 or f16 (GPU only) [default: f32]
    #[arg(
        long,
        value_name = "PRECISION",
        default_value = "f32",
        hide_default_value = true,
        value_parser = one_of(&Precision::ALL, Precision::name),
        hide_possible_values = true,
        help_heading = COMPUTE
    )]
    precision: Precision,
}

impl ComputeArguments {
    /// Whether the CPU computes.
    pub(super) fn is_cpu(&self) -> bool {
        self.device == Device::Cpu
    }

    /// The device and precision of this process of `team`.
    pub(super) fn compute(&self, team: &Team) -> Compute {
        Compute { device: team.device(self.device), precision: self.precision }
    }
}

/// How large photographs go through the network.
#[derive(Args)]
pub(super) struct SizingArguments {
    /// Size at which the network sees the photo: full, a part such as 1/2, or auto: a copy as large
    /// as those it has learned from, keeping the original's detail [default: auto]
    #[arg(
        long,
        value_name = "SCALE",
        default_value_t = Scale::Auto,
        hide_default_value = true,
        help_heading = ADVANCED
    )]
    pub(super) scale: Scale,
    /// Most memory for a photo and the network, such as 800M or 4G; less takes longer
    /// [default: 2G for the network, and what the photo takes]
    #[arg(long, value_name = "SIZE", help_heading = COMPUTE)]
    memory: Option<MemoryLimit>,
}

impl SizingArguments {
    /// The same restorer, which keeps to them.
    pub(super) fn apply(&self, restorer: Restorer) -> Restorer {
        restorer.at_scale(self.scale).within(self.memory.unwrap_or_default())
    }
}

/// The weights: a file, or those built in for a task.
#[derive(Args)]
pub(super) struct WeightArguments {
    /// Use the built-in weights for this task
    #[arg(long, value_name = "TASK", value_parser = task_parser(), ignore_case = true)]
    pub(super) task: Option<Task>,
    /// Use this weight file: safetensors, or PyTorch's .pkl or .pth
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
}

impl WeightArguments {
    /// The model and the name of its task, or [`UNNAMED`] if the file names none.
    pub(super) fn load(&self) -> Result<(Model, String)> {
        let nothing = || Error::Config { reason: "give --task or --weights".into() };
        self.load_if_given()?.ok_or_else(nothing)
    }

    /// Like [`Self::load`], but none if neither option was given.
    pub(super) fn load_if_given(&self) -> Result<Option<(Model, String)>> {
        let ((model, metadata), task) = match (&self.weights, self.task) {
            (Some(path), task) => (Model::read(path)?, task),
            (None, Some(task)) => (shipped::load(task)?, Some(task)),
            (None, None) => return Ok(None),
        };
        let own = metadata.get(crate::model::TASK);
        if let (Some(path), Some(task), Some(own)) = (&self.weights, task, own) {
            refuse_other_task(path, task, own)?;
        }
        let name = task.map(|task| task.to_string()).or_else(|| own.cloned());
        Ok(Some((model, name.unwrap_or_else(|| UNNAMED.into()))))
    }
}

/// An error if the weights in the file `path` say that they are not for `task` but their `own`.
fn refuse_other_task(path: &Path, task: Task, own: &str) -> Result<()> {
    if task_of(own) == Some(task) {
        return Ok(());
    }
    let (file, own) = (shown(path), printable(own));
    let word = shell_word(path);
    let reason = format!(
        "--task {task}, but {file} has weights for {own}: omit --task, or --weights, which makes \
         the built-in weights for {task} apply. If the file is wrong about its task: irnext \
         convert {word} NEW.safetensors --task {task}"
    );
    Err(Error::Config { reason })
}

impl std::fmt::Display for WeightArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.weights, self.task) {
            (Some(path), _) => write!(f, "{}", shown(&path)),
            (None, Some(task)) => write!(f, "built in, {task}"),
            (None, None) => f.write_str("none"),
        }
    }
}

/// The options that describe a network without weights.
#[derive(Args)]
pub(super) struct ModelArguments {
    /// Network: tiny, dehaze, derain, desnow, gopro or defocus [default: dehaze]
    #[arg(long, default_value = "dehaze", hide_default_value = true)]
    preset: Preset,
    /// Plain residual blocks in each CNNBlock, before the one with a multi-scale module
    #[arg(long, value_name = "N")]
    n: Option<usize>,
    /// Channels at full resolution
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// Multi-scale modules (MSM) in each CNNBlock
    #[arg(long, value_name = "N")]
    msm: Option<usize>,
    /// Channel groups of the local attention module (LAM)
    #[arg(long, value_name = "N")]
    groups: Option<usize>,
}

impl ModelArguments {
    pub(super) fn model(&self) -> Result<Model> {
        let preset = ModelConfig::preset(self.preset);
        let config = ModelConfig {
            n: self.n.unwrap_or(preset.n),
            width: self.width.unwrap_or(preset.width),
            msm: self.msm.unwrap_or(preset.msm),
            groups: self.groups.unwrap_or(preset.groups),
            ..preset
        };
        Model::new(&config, 0, DType::F32)
    }
}
