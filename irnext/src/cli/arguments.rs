//! Arguments that several commands share.

use crate::compute::{Compute, Precision};
use crate::distributed::Team;
use crate::error::{Error, Result};
use crate::model::{Model, ModelConfig, Preset};
use crate::shipped;
use clap::Args;
use engine::{DType, Device};
use std::path::PathBuf;

/// Where to compute, and how precisely.
#[derive(Args)]
pub(super) struct ComputeArguments {
    /// What to compute on: cpu, cuda or cuda:NUMBER (see `irnext devices`)
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
    /// How precisely a GPU computes
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: Precision,
}

impl ComputeArguments {
    /// Where this process of `team` computes.
    pub(super) fn compute(&self, team: &Team) -> Compute {
        Compute { device: team.device(self.device), precision: self.precision }
    }
}

/// Which weights to use: a file, or those inside the program for a task.
#[derive(Args)]
pub(super) struct WeightArguments {
    /// What to remove; uses the weights inside the program
    #[arg(long, value_name = "TASK")]
    pub(super) task: Option<crate::degrade::Task>,
    /// A weight file to use instead: safetensors, or PyTorch's .pkl and .pth
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
}

impl WeightArguments {
    /// The model, and what to call its work: the task, or "restore" if the file does not say.
    pub(super) fn load(&self) -> Result<(Model, String)> {
        let nothing = || Error::Config { reason: "give --task or --weights".into() };
        self.load_if_given()?.ok_or_else(nothing)
    }

    /// As [`Self::load`], where one can do without.
    pub(super) fn load_if_given(&self) -> Result<Option<(Model, String)>> {
        let ((model, metadata), task) = match (&self.weights, self.task) {
            (Some(path), task) => (Model::read(path)?, task),
            (None, Some(task)) => (shipped::load(task)?, Some(task)),
            (None, None) => return Ok(None),
        };
        let name =
            task.map(|task| task.to_string()).or_else(|| metadata.get(crate::model::TASK).cloned());
        Ok(Some((model, name.unwrap_or_else(|| "restore".into()))))
    }
}

impl std::fmt::Display for WeightArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.weights, self.task) {
            (Some(path), _) => write!(f, "{}", path.display()),
            (None, Some(task)) => write!(f, "those inside the program for {task}"),
            (None, None) => f.write_str("none"),
        }
    }
}

/// Which network, where no weights are needed.
#[derive(Args)]
pub(super) struct ModelArguments {
    /// The network: tiny, dehaze, derain, desnow, gopro or defocus
    #[arg(long, default_value = "dehaze")]
    preset: Preset,
    /// Residual blocks in each CNNBlock before the last
    #[arg(long)]
    n: Option<usize>,
    /// Channels at full size
    #[arg(long)]
    width: Option<usize>,
    /// Multi-scale modules in each CNNBlock
    #[arg(long)]
    msm: Option<usize>,
    /// Groups of LAM's filters
    #[arg(long)]
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
