//! The options that choose a restorer: the weights that the user gave, or the built-in ones for the
//! detected degradation.

use super::arguments::WeightArguments;
use super::output::complain;
use super::tasks::{TaskChoice, choice_parser};
use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::restorer::Restorer;
use std::path::PathBuf;

/// The degradation to remove, and the weights to use.
#[derive(clap::Args)]
pub(super) struct RestorerArguments {
    /// Degradation to remove [default: auto]
    #[arg(long, value_name = "TASK", value_parser = choice_parser(), ignore_case = true)]
    pub(super) task: Option<TaskChoice>,
    /// Weight file of your own network (.safetensors, .pkl or .pth)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

impl RestorerArguments {
    /// The restorer, on the device of `compute`.
    pub(super) fn restorer(&self, compute: Compute) -> Result<Restorer> {
        match self.fixed()? {
            None => Restorer::detecting(compute),
            Some(weights) => {
                let (model, name) = weights.load()?;
                Restorer::with_model(name, model, compute)
            }
        }
    }

    /// The weights for this one photograph, and where haze was seen if the task was detected.
    pub(super) fn weights(&self, photo: &Image) -> Result<(WeightArguments, Option<Image>)> {
        if let Some(weights) = self.fixed()? {
            return Ok((weights, None));
        }
        let restorer = Restorer::detecting(Compute::default())?;
        let pixels = photo.clone().into();
        let classification = restorer.classify(&pixels)?;
        complain!("{classification}");
        let task = classification.likeliest_task().unwrap_or(Task::Dehaze);
        let weights = WeightArguments { task: Some(task), weights: None };
        Ok((weights, Some(restorer.haze_map(&pixels)?)))
    }

    /// The weights for all photographs; none if each has its own.
    fn fixed(&self) -> Result<Option<WeightArguments>> {
        let task = match (self.task, &self.weights) {
            (Some(TaskChoice::Auto), Some(_)) => {
                let reason = "--task auto chooses among the built-in weights: \
                              give either --task auto or --weights";
                return Err(Error::Config { reason: reason.into() });
            }
            (None | Some(TaskChoice::Auto), None) => return Ok(None),
            (None, Some(_)) => None,
            (Some(TaskChoice::For(task)), _) => Some(task),
        };
        Ok(Some(WeightArguments { task, weights: self.weights.clone() }))
    }
}
