//! The options that choose a restorer: the weights that the user gave, or the built-in ones for the
//! detected degradation.

use super::arguments::WeightArguments;
use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::restorer::Restorer;
use std::path::PathBuf;
use std::str::FromStr;

/// [`WeightArguments`] with the choice `auto`.
#[derive(clap::Args)]
pub(super) struct RestorerArguments {
    /// Degradation to remove, with the built-in weights: dehaze, derain, desnow, deblur-motion,
    /// deblur-defocus, or auto = detect per image and skip clean ones [default: auto]
    #[arg(long, value_name = "TASK")]
    task: Option<TaskArgument>,
    /// Use this weight file instead: safetensors, or PyTorch's .pkl or .pth
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum TaskArgument {
    Auto,
    For(Task),
}

impl FromStr for TaskArgument {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            task => task
                .parse()
                .map(Self::For)
                .map_err(|error| Error::Config { reason: format!("{error}, or auto") }),
        }
    }
}

impl RestorerArguments {
    /// The restorer, on the device of `compute`.
    pub fn restorer(&self, compute: Compute) -> Result<Restorer> {
        let task = match (self.task, &self.weights) {
            (Some(TaskArgument::Auto), Some(_)) => {
                let reason = "--task auto chooses among the built-in weights: \
                              give either --task auto or --weights";
                return Err(Error::Config { reason: reason.into() });
            }
            (None | Some(TaskArgument::Auto), None) => return Restorer::detecting(compute),
            (None, Some(_)) => None,
            (Some(TaskArgument::For(task)), _) => Some(task),
        };
        let (model, name) = WeightArguments { task, weights: self.weights.clone() }.load()?;
        Restorer::with_model(name, model, compute)
    }
}
