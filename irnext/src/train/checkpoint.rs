//! Checkpoints: everything that a run needs to resume as if it had never stopped.
//!
//! One safetensors file holds the model, the optimizer's state and the moving average; its metadata
//! holds the step and the configuration. Data order, crops and degradations need no state: they are
//! functions of (seed, step).

use super::TrainingState;
use crate::error::{Error, Result};
use crate::model::Model;
use engine::{DType, Tensor};
use nn::Ema;
use nn::optim::{Optimizer, Rule};
use nn::shown;
use nn::weights::WeightFile;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The metadata key of [`Progress`], as JSON.
const PROGRESS: &str = "irnext.progress";

/// Prefixes of tensors that are not the model's.
const OPTIMIZER: &str = "optimizer:";
/// The prefix that earlier versions wrote instead.
const EARLIER_OPTIMIZER: &str = "optimiser:";
const AVERAGE: &str = "average:";

/// The progress of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// The steps that each entry's optimizer has taken.
    #[serde(alias = "optimiser_steps")]
    pub optimizer_steps: Vec<u64>,
    /// Updates of the moving average.
    pub average_updates: u64,
    /// The best validation PSNR so far, dB.
    pub best: Option<f64>,
    /// The step after which the validation pairs were scored last; 0, never.
    #[serde(default)]
    pub validated: u64,
    /// The number of consecutive steps, up to this one, that were skipped because the loss or a
    /// gradient was not finite.
    #[serde(default)]
    pub failures: u64,
    /// The factor of the loss where gradients are in half precision.
    #[serde(default)]
    pub loss_scale: Option<f64>,
    /// Steps taken since that factor was changed.
    #[serde(default)]
    pub steps_at_scale: u64,
    /// The configuration, as TOML.
    pub config: String,
}

impl Progress {
    /// Counts a step, and whether it failed. A step that was skipped because its gradients were too
    /// large for half precision did not fail: the loss scale is halved after it, and doubled after
    /// a long time without one.
    pub(super) fn count(&mut self, loss: f64, skipped: bool) {
        const LONG: u64 = 2000;
        self.step += 1;
        let mut overflow = false;
        if let Some(scale) = &mut self.loss_scale {
            overflow = skipped && loss.is_finite() && *scale > 1.0;
            self.steps_at_scale += 1;
            if skipped || self.steps_at_scale >= LONG {
                *scale *= if skipped { 0.5 } else { 2.0 };
                self.steps_at_scale = 0;
            }
        }
        self.failures = if skipped && !overflow { self.failures + 1 } else { 0 };
    }
}

/// The bytes of a checkpoint.
pub(super) fn to_bytes(state: &TrainingState, progress: &Progress) -> Result<Vec<u8>> {
    let params = &state.model.params;
    let progress = Progress {
        optimizer_steps: state.optimizer.steps().to_vec(),
        average_updates: state.ema.as_ref().map_or(0, Ema::updates),
        ..progress.clone()
    };
    let json = serde_json::to_string(&progress)
        .map_err(|error| Error::Config { reason: error.to_string() })?;
    let mut file = state.model.to_file(DType::F32, HashMap::from([(PROGRESS.into(), json)]))?;
    let optimizer = state.optimizer.tensors(params).into_iter();
    file.tensors.extend(optimizer.map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor)));
    if let Some(ema) = &state.ema {
        let average = params.entries().iter().zip(ema.values());
        file.tensors.extend(
            average.map(|(entry, value)| (format!("{AVERAGE}{}", entry.path), value.clone())),
        );
    }
    Ok(file.to_bytes()?)
}

/// Reads the checkpoint `path` of a run with this optimizer and moving average.
pub(super) fn load(path: &Path, rule: Rule, ema_decay: f64) -> Result<(TrainingState, Progress)> {
    from_file(&shown(&path).to_string(), WeightFile::read(path)?, rule, ema_decay)
}

/// Reads the bytes of a checkpoint, which `origin` names in errors.
pub(super) fn from_bytes(
    origin: &str,
    bytes: &[u8],
    rule: Rule,
    ema_decay: f64,
) -> Result<(TrainingState, Progress)> {
    from_file(origin, WeightFile::from_bytes(origin, bytes)?, rule, ema_decay)
}

fn from_file(
    origin: &str,
    mut file: WeightFile,
    rule: Rule,
    ema_decay: f64,
) -> Result<(TrainingState, Progress)> {
    let refuse = |reason: String| Error::Config { reason: format!("{origin}: {reason}") };
    if !file.verified {
        return Err(refuse("it has no checksum, so it is not a checkpoint".into()));
    }
    let json = file
        .metadata
        .get(PROGRESS)
        .ok_or_else(|| refuse("it is not a checkpoint of a training run".into()))?;
    let progress: Progress =
        serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
    let mut take = |prefix: &str| -> HashMap<String, Tensor> {
        let names: Vec<String> =
            file.tensors.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let strip = |name: String| {
            file.tensors.remove(&name).map(|tensor| (name[prefix.len()..].to_string(), tensor))
        };
        names.into_iter().filter_map(strip).collect()
    };
    let (mut slots, average) = (take(OPTIMIZER), take(AVERAGE));
    slots.extend(take(EARLIER_OPTIMIZER));
    let (model, _) = Model::from_checkpoint(origin, file)?;
    let optimizer =
        Optimizer::resume(rule, &model.params, progress.optimizer_steps.clone(), &slots)?;
    let ema = match average.is_empty() || ema_decay == 0.0 {
        true => None,
        false => {
            let mut averaged = model.params.clone();
            averaged.load(origin, &average)?;
            Some(Ema::resume(ema_decay, progress.average_updates, averaged.values())?)
        }
    };
    Ok((TrainingState::resumed(model, optimizer, ema), progress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use nn::{Context, EntryKind, TrainingStep};

    #[test]
    fn failures_are_counted_in_a_row() {
        let mut progress = Progress::default();
        let mut after = |loss: f64, skipped| {
            progress.count(loss, skipped);
            progress.failures
        };
        assert_eq!(
            [after(f64::NAN, true), after(1.0, true), after(1.0, false), after(1.0, true)],
            [1, 2, 0, 1]
        );
    }

    #[test]
    fn overflow_is_no_failure_until_the_loss_scale_is_used_up() {
        let mut progress = Progress { loss_scale: Some(4.0), ..Progress::default() };
        let mut after = |loss: f64| {
            progress.count(loss, true);
            (progress.failures, progress.loss_scale.unwrap())
        };
        assert_eq!([after(1.0), after(1.0), after(1.0)], [(0, 2.0), (0, 1.0), (1, 0.5)]);
        let mut progress = Progress { loss_scale: Some(4.0), ..Progress::default() };
        progress.count(f64::NAN, true);
        assert_eq!(progress.failures, 1);
    }

    #[test]
    fn checkpoints_with_the_earlier_spelling_are_read() {
        let config = ModelConfig { n: 1, width: 8, ..ModelConfig::default() };
        let model = Model::new(&config, 1, DType::F32).unwrap();
        let mut state = TrainingState::new(model, Rule::adam(), 0.0).unwrap();
        let gradients: Vec<Option<Tensor>> = state
            .model
            .params
            .entries()
            .iter()
            .map(|entry| (entry.kind == EntryKind::Parameter).then(|| entry.value.clone()))
            .collect();
        let pass = Context::inference(&state.model.params).finish();
        let mut step = TrainingStep::begin(&mut state.optimizer, None, 1e-3).unwrap();
        step.apply(&mut state.model.params, &gradients, pass, None).unwrap();
        step.commit();
        let bytes = to_bytes(&state, &Progress::default()).unwrap();
        let mut file = WeightFile::from_bytes("new", &bytes).unwrap();
        let renamed = |name: String| name.replacen("optimizer:", "optimiser:", 1);
        file.tensors = file.tensors.into_iter().map(|(name, x)| (renamed(name), x)).collect();
        let progress = file.metadata[PROGRESS].replace("optimizer_steps", "optimiser_steps");
        file.metadata.insert(PROGRESS.into(), progress);
        let old = file.to_bytes().unwrap();
        assert_ne!(old, bytes);
        let (read, progress) = from_bytes("old", &old, Rule::adam(), 0.0).unwrap();
        assert_eq!(to_bytes(&read, &progress).unwrap(), bytes);
    }
}
