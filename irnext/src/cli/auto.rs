//! The choice of the model for each photograph: the weights that the user gave, or the built-in
//! ones for the detected degradation.

use super::arguments::WeightArguments;
use crate::classify::{Classification, SURE, classify};
use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::model::{FrozenModel, Model};
use crate::shipped;
use std::cell::OnceCell;
use std::path::PathBuf;
use std::str::FromStr;

/// [`WeightArguments`] with the choice `auto`.
#[derive(clap::Args)]
pub(super) struct ModelChoiceArguments {
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

/// The models that may be needed, with the names of their tasks: the one that was asked for, or one
/// for each of [`Task::ALL`] in that order, loaded when a photograph first needs it.
pub(super) struct Models {
    models: Vec<(String, OnceCell<Model>)>,
    compute: Compute,
    auto: bool,
}

impl ModelChoiceArguments {
    /// The models that may be needed, on the device of `compute`.
    pub fn load(&self, compute: Compute) -> Result<Models> {
        let auto = match (self.task, &self.weights) {
            (Some(TaskArgument::Auto), Some(_)) => {
                let reason = "--task auto chooses among the built-in weights: \
                              give either --task auto or --weights";
                return Err(Error::Config { reason: reason.into() });
            }
            (asked, weights) => {
                weights.is_none() && matches!(asked, None | Some(TaskArgument::Auto))
            }
        };
        let models = if auto {
            compute.check()?;
            Task::ALL.map(|task| (task.to_string(), OnceCell::new())).into()
        } else {
            let task = self.task.and_then(|asked| {
                if let TaskArgument::For(task) = asked { Some(task) } else { None }
            });
            let (model, name) = WeightArguments { task, weights: self.weights.clone() }.load()?;
            vec![(name, model.on(compute)?.into())]
        };
        Ok(Models { models, compute, auto })
    }
}

impl Models {
    /// The same models, frozen.
    pub fn freeze(&self) -> FrozenModels<'_> {
        FrozenModels { models: self, frozen: self.models.iter().map(|_| OnceCell::new()).collect() }
    }
}

/// Frozen models.
pub(super) struct FrozenModels<'a> {
    models: &'a Models,
    /// Those that were needed so far, at the same indices.
    frozen: Vec<OnceCell<FrozenModel>>,
}

/// The decision for a photograph.
pub(super) enum Treatment<'a> {
    /// Restore it: the name of the task, the model, and the classification, if there was one.
    Restore(&'a str, &'a FrozenModel, Option<Classification>),
    /// Leave it alone, for this reason.
    Leave(String),
}

impl FrozenModels<'_> {
    /// The decision for `image`.
    pub fn choose(&self, image: &Image) -> Result<Treatment<'_>> {
        if self.models.auto { self.decide(classify(image)?) } else { self.restore(0, None) }
    }

    fn decide(&self, classification: Classification) -> Result<Treatment<'_>> {
        let percent = 100.0 * SURE;
        let why = match (classification.likeliest(), classification.task()) {
            (_, Some(task)) => return self.restore(task as usize, Some(classification)),
            (None, None) => "left alone; --task TASK restores it anyway".into(),
            (Some(task), None) => {
                format!("less than {percent} %, left alone; --task {task} restores it anyway")
            }
        };
        Ok(Treatment::Leave(format!("{classification}: {why}")))
    }

    /// The model at this index, loaded if necessary.
    fn restore(
        &self,
        place: usize,
        classification: Option<Classification>,
    ) -> Result<Treatment<'_>> {
        let Models { models, compute, .. } = self.models;
        let (name, cell) = &models[place];
        let model = match cell.get() {
            Some(model) => model,
            None => {
                let loaded = shipped::load(name.parse()?)?.0.on(*compute)?;
                cell.get_or_init(|| loaded)
            }
        };
        let frozen =
            self.frozen[place].get_or_init(|| model.freeze().computing_in(compute.precision));
        Ok(Treatment::Restore(name, frozen, classification))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use engine::DType;

    fn said(models: &FrozenModels<'_>, probabilities: [f64; 6]) -> Result<String, String> {
        let classification = Classification { probabilities, reasons: vec!["colors are pale"] };
        match models.decide(classification).unwrap() {
            Treatment::Restore(task, _, classification) => {
                Ok(format!("{task}, {}", classification.unwrap()))
            }
            Treatment::Leave(why) => Err(why),
        }
    }

    #[test]
    fn each_degradation_has_its_own_model() {
        let models = Task::ALL.map(|task| (task.to_string(), OnceCell::new())).into();
        let models = Models { models, compute: Compute::default(), auto: true };
        let models = models.freeze();
        for (class, task) in Task::ALL.into_iter().enumerate() {
            let mut probabilities = [0.0; 6];
            probabilities[1 + class] = 1.0;
            assert!(said(&models, probabilities).unwrap().starts_with(task.name()));
        }
    }

    #[test]
    fn clear_and_uncertain_photographs_are_left_alone() {
        let config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
        let model = Model::new(&config, 1, DType::F32).unwrap();
        let models = Models {
            models: vec![("dehaze".into(), model.into())],
            compute: Compute::default(),
            auto: true,
        };
        let models = models.freeze();
        assert_eq!(
            said(&models, [0.1, 0.9, 0.0, 0.0, 0.0, 0.0]).unwrap(),
            "dehaze, haze, 90 % (colors are pale)"
        );
        for (probabilities, part) in [
            (
                [0.9, 0.1, 0.0, 0.0, 0.0, 0.0],
                "clear, 90 % (haze, 10 %): left alone; --task TASK restores",
            ),
            ([0.4, 0.5, 0.1, 0.0, 0.0, 0.0], "less than 60 %, left alone; --task dehaze restores"),
        ] {
            let why = said(&models, probabilities).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
