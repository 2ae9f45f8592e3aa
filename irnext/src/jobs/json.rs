//! The report on a photograph as JSON, for programs.

use super::work::{JobOutcome, JobReport};
use crate::classify::class_name;
use crate::restore::Effect;
use serde_json::{Map, Value, json};

impl JobReport {
    /// The members `outcome`, `task`, `detected`, `probability`, `width`, `height`, `seconds`,
    /// `effect` and `notes` (docs/src/restoring.md describes them).
    pub fn to_json(&self) -> Map<String, Value> {
        let outcome = match self.outcome {
            JobOutcome::Restored => "restored",
            JobOutcome::LeftAlone => "left-alone",
            JobOutcome::Copied => "copied",
            JobOutcome::Converted => "converted",
            JobOutcome::Compared => "compared",
        };
        let seen = self.classification.as_ref();
        let members = [
            ("outcome", json!(outcome)),
            ("task", json!(self.task)),
            ("detected", json!(seen.map(|seen| class_name(seen.likeliest())))),
            ("probability", json!(seen.map(|seen| seen.probability()))),
            ("width", json!(self.size.0)),
            ("height", json!(self.size.1)),
            ("seconds", json!(self.time.as_secs_f64())),
            ("effect", json!(self.effect.map(of_effect))),
            ("notes", json!(self.notes)),
        ];
        members.map(|(name, value)| (name.to_string(), value)).into_iter().collect()
    }
}

fn of_effect(effect: Effect) -> Value {
    let Effect { change, black, white, tint, ringing, niqe_before, niqe_after } = effect;
    json!({
        "change": change,
        "black": black,
        "white": white,
        "tint": tint,
        "ringing": ringing,
        "niqe_before": niqe_before,
        "niqe_after": niqe_after,
    })
}
