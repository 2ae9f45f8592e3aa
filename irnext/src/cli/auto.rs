//! What each photograph is restored with: the weights that were asked for, or those for what it
//! suffers from.

use super::arguments::WeightArguments;
use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::model::{FrozenModel, Model};
use crate::recognise::{SURE, Verdict, recognise};
use crate::shipped;
use std::cell::OnceCell;
use std::path::PathBuf;
use std::str::FromStr;

/// As [`WeightArguments`], and one may leave the choice to the program.
#[derive(clap::Args)]
pub(super) struct ChoiceArguments {
    /// Degradation to remove, with the built-in weights: dehaze, derain, desnow, deblur-motion,
    /// deblur-defocus, or auto = detect per image and skip clean ones [default: auto]
    #[arg(long, value_name = "TASK")]
    task: Option<Asked>,
    /// Use this weight file instead: safetensors, or PyTorch's .pkl or .pth
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Auto,
    For(Task),
}

impl FromStr for Asked {
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

/// The models that may be needed, under the names of what they do: the one that was asked for, or
/// one for each of [`Task::ALL`] in its order, which is loaded when a photograph first needs it.
pub(super) struct Models {
    models: Vec<(String, OnceCell<Model>)>,
    compute: Compute,
    auto: bool,
}

impl ChoiceArguments {
    /// The models that may be needed, where they are to compute.
    pub fn load(&self, compute: Compute) -> Result<Models> {
        let auto = match (self.task, &self.weights) {
            (Some(Asked::Auto), Some(_)) => {
                let reason = "--task auto chooses among the built-in weights: \
                              give either --task auto or --weights";
                return Err(Error::Config { reason: reason.into() });
            }
            (asked, weights) => weights.is_none() && matches!(asked, None | Some(Asked::Auto)),
        };
        let models = if auto {
            compute.start()?;
            Task::ALL.map(|task| (task.to_string(), OnceCell::new())).into()
        } else {
            let task = self
                .task
                .and_then(|asked| if let Asked::For(task) = asked { Some(task) } else { None });
            let (model, name) = WeightArguments { task, weights: self.weights.clone() }.load()?;
            vec![(name, model.on(compute)?.into())]
        };
        Ok(Models { models, compute, auto })
    }
}

impl Models {
    /// Ready for use.
    pub fn freeze(&self) -> Ready<'_> {
        Ready { models: self, frozen: self.models.iter().map(|_| OnceCell::new()).collect() }
    }
}

/// Models in use.
pub(super) struct Ready<'a> {
    models: &'a Models,
    /// Those that were needed, in the same places.
    frozen: Vec<OnceCell<FrozenModel>>,
}

/// What is done to a photograph.
pub(super) enum Choice<'a> {
    /// The name of what is removed, the model, and what the photograph was recognised by, if anyone
    /// looked.
    Restore(&'a str, &'a FrozenModel, Option<Verdict>),
    /// Nothing, and why.
    Leave(String),
}

impl Ready<'_> {
    /// What `image` gets.
    pub fn choose(&self, image: &Image) -> Result<Choice<'_>> {
        if self.models.auto { self.decide(recognise(image)?) } else { self.restore(0, None) }
    }

    fn decide(&self, verdict: Verdict) -> Result<Choice<'_>> {
        let percent = 100.0 * SURE;
        let why = match (verdict.likeliest(), verdict.task()) {
            (_, Some(task)) => return self.restore(task as usize, Some(verdict)),
            (None, None) => "left alone; --task TASK restores it anyway".into(),
            (Some(task), None) => {
                format!("less than {percent} %, left alone; --task {task} restores it anyway")
            }
        };
        Ok(Choice::Leave(format!("{verdict}: {why}")))
    }

    /// The model in this place, loaded if need be.
    fn restore(&self, place: usize, verdict: Option<Verdict>) -> Result<Choice<'_>> {
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
        Ok(Choice::Restore(name, frozen, verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use engine::DType;

    fn said(models: &Ready<'_>, probabilities: [f64; 6]) -> Result<String, String> {
        match models.decide(Verdict { probabilities, reasons: vec!["colors are pale"] }).unwrap() {
            Choice::Restore(task, _, verdict) => Ok(format!("{task}, {}", verdict.unwrap())),
            Choice::Leave(why) => Err(why),
        }
    }

    #[test]
    fn each_trouble_has_its_own_model() {
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
    fn what_is_clear_or_unsure_is_left_alone() {
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
