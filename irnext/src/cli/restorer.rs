//! The options that choose a restorer: the weights that the user gave, or the built-in ones for the
//! detected degradation.

use super::arguments::{ADVANCED, WeightArguments};
use super::tasks::{TaskChoice, choice_parser};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::restorer::Restorer;
use std::path::PathBuf;

/// What is removed, and by which weights.
#[derive(clap::Args)]
pub(super) struct RestorerArguments {
    /// What to remove [default: auto]
    #[arg(long, value_name = "TASK", value_parser = choice_parser(), ignore_case = true)]
    pub(super) task: Option<TaskChoice>,
    /// Use a network that you trained: a file .safetensors, .pkl or .pth
    #[arg(long, value_name = "FILE", help_heading = ADVANCED)]
    weights: Option<PathBuf>,
}

impl RestorerArguments {
    /// The restorer, on the device of `compute`.
    pub(super) fn restorer(&self, compute: Compute) -> Result<Restorer> {
        let task = match (self.task, &self.weights) {
            (Some(TaskChoice::Auto), Some(_)) => {
                let reason = "--task auto chooses among the built-in weights: \
                              give either --task auto or --weights";
                return Err(Error::Config { reason: reason.into() });
            }
            (None | Some(TaskChoice::Auto), None) => return Restorer::detecting(compute),
            (None, Some(_)) => None,
            (Some(TaskChoice::For(task)), _) => Some(task),
        };
        let (model, name) = WeightArguments { task, weights: self.weights.clone() }.load()?;
        Restorer::with_model(name, model, compute)
    }
}
