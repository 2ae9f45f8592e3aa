//! Checkpoints: all that a run needs to go on as if it had never stopped.
//!
//! One safetensors file holds the model, the optimiser's memory and the moving average; its metadata the step and the
//! configuration. Data order, crops and degradations need no state: they are functions of (seed, step).

use super::State;
use crate::error::{Error, Result};
use crate::model::Model;
use engine::{DType, Tensor};
use nn::Ema;
use nn::optim::{Optimizer, Rule};
use nn::weights::WeightFile;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The metadata key of [`Progress`], as JSON.
const PROGRESS: &str = "irnext.progress";

/// Prefixes of tensors that are not the model's.
const OPTIMISER: &str = "optimiser:";
const AVERAGE: &str = "average:";

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// The steps that each entry's optimiser has taken.
    pub optimiser_steps: Vec<u64>,
    /// Updates of the moving average.
    pub average_updates: u64,
    /// The best validation PSNR so far, dB.
    pub best: Option<f64>,
    /// What the loss is multiplied with where gradients are half precision.
    #[serde(default)]
    pub loss_scale: Option<f64>,
    /// Steps taken since it was changed.
    #[serde(default)]
    pub steps_at_scale: u64,
    /// The configuration, as TOML.
    pub config: String,
}

impl Progress {
    /// Halves the loss's scale after a step that was skipped, for gradients that were too large; doubles it when none was for long.
    pub(super) fn adapt_loss_scale(&mut self, skipped: bool) {
        const LONG: u64 = 2000;
        let Some(scale) = &mut self.loss_scale else { return };
        self.steps_at_scale += 1;
        if skipped || self.steps_at_scale >= LONG {
            *scale *= if skipped { 0.5 } else { 2.0 };
            self.steps_at_scale = 0;
        }
    }
}

/// Writes the checkpoint `path`; a crash leaves the old one or the new one.
pub fn save(path: &Path, state: &State, progress: &Progress) -> Result<()> {
    let params = &state.model.params;
    let progress = Progress {
        optimiser_steps: state.optimiser.steps().to_vec(),
        average_updates: state.ema.as_ref().map_or(0, Ema::updates),
        ..progress.clone()
    };
    let json = serde_json::to_string(&progress).map_err(|error| Error::Config { reason: error.to_string() })?;
    let mut file = state.model.to_file(DType::F32, HashMap::from([(PROGRESS.into(), json)]))?;
    let optimiser = state.optimiser.tensors(params).into_iter();
    file.tensors.extend(optimiser.map(|(name, tensor)| (format!("{OPTIMISER}{name}"), tensor)));
    if let Some(ema) = &state.ema {
        let average = params.entries().iter().zip(ema.values());
        file.tensors.extend(average.map(|(entry, value)| (format!("{AVERAGE}{}", entry.path), value.clone())));
    }
    Ok(file.write(path)?)
}

/// Reads the checkpoint `path` of a run with this optimiser and moving average.
pub fn load(path: &Path, rule: Rule, ema_decay: f64) -> Result<(State, Progress)> {
    let origin = path.display().to_string();
    let mut file = WeightFile::read(path)?;
    let refuse = |reason: String| Error::Config { reason: format!("{origin}: {reason}") };
    let json = file.metadata.get(PROGRESS).ok_or_else(|| refuse("this is no checkpoint of a training run".into()))?;
    let progress: Progress = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
    let mut take = |prefix: &str| -> HashMap<String, Tensor> {
        let names: Vec<String> = file.tensors.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let strip = |name: String| file.tensors.remove(&name).map(|tensor| (name[prefix.len()..].to_string(), tensor));
        names.into_iter().filter_map(strip).collect()
    };
    let (memory, average) = (take(OPTIMISER), take(AVERAGE));
    let (model, _) = Model::from_file(&origin, file)?;
    let optimiser = Optimizer::resume(rule, &model.params, progress.optimiser_steps.clone(), &memory)?;
    let ema = match average.is_empty() || ema_decay == 0.0 {
        true => None,
        false => {
            let mut averaged = model.params.clone();
            averaged.load(&origin, &average)?;
            Some(Ema::resume(ema_decay, progress.average_updates, averaged.values()))
        }
    };
    Ok((State::resumed(model, optimiser, ema), progress))
}
