//! The number of photographs of each outcome.

use super::find::Search;
use super::plan::JobPlan;
use super::work::{JobOutcome, JobReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How many photographs there were of each outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Restored.
    pub restored: usize,
    /// Left alone, as no degradation was found.
    pub clear: usize,
    /// Left alone, as the degradation was not sure enough.
    pub unsure: usize,
    /// Left out, as their results are there already.
    pub done: usize,
    /// Left out, as they seem to be results themselves, of another task or other settings.
    pub results: usize,
    /// Compared with results that were there already.
    pub compared: usize,
    /// Not restored, by an error.
    pub failed: usize,
    /// Not begun, since the work was interrupted.
    pub waiting: usize,
    /// Images of formats that cannot be read, by the name of the format.
    pub unreadable: BTreeMap<String, usize>,
}

impl Summary {
    /// The summary before the work: all jobs wait.
    pub fn new(search: &Search, plan: &JobPlan) -> Self {
        Self {
            done: plan.done.len(),
            results: plan.other_results().count(),
            failed: search.errors.len() + plan.refused.len(),
            waiting: plan.jobs.len(),
            unreadable: search.unreadable.clone(),
            ..Self::default()
        }
    }

    /// Counts a photograph that was waiting; without a report, it failed.
    pub fn count(&mut self, report: Option<&JobReport>) {
        self.waiting = self.waiting.saturating_sub(1);
        match report {
            None => self.failed += 1,
            Some(JobReport { outcome: JobOutcome::Restored, .. }) => self.restored += 1,
            Some(JobReport { outcome: JobOutcome::Compared, .. }) => self.compared += 1,
            Some(JobReport { classification: Some(seen), .. }) if seen.likeliest().is_some() => {
                self.unsure += 1;
            }
            Some(_) => self.clear += 1,
        }
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.restored, other.restored),
            (&mut self.clear, other.clear),
            (&mut self.unsure, other.unsure),
            (&mut self.done, other.done),
            (&mut self.results, other.results),
            (&mut self.compared, other.compared),
            (&mut self.failed, other.failed),
            (&mut self.waiting, other.waiting),
        ];
        pairs.into_iter().for_each(|(mine, theirs)| *mine += theirs);
        for (name, count) in &other.unreadable {
            *self.unreadable.entry(name.clone()).or_default() += count;
        }
    }

    /// The number of files that were found.
    pub fn total(&self) -> usize {
        let worked_on = self.restored + self.clear + self.unsure + self.compared;
        let others = self.done + self.results + self.failed + self.waiting;
        worked_on + others + self.unreadable.values().sum::<usize>()
    }
}

/// `10 restored, 13 left alone (12 seem clear, 1 not sure), 2 failed; skipped: 12 HEIC (cannot be
/// read)`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} restored", self.restored)?;
        if self.clear + self.unsure > 0 {
            write!(f, ", {} left alone (", self.clear + self.unsure)?;
            match (self.clear, self.unsure) {
                (_, 0) => f.write_str("seem clear)")?,
                (0, _) => f.write_str("not sure)")?,
                (clear, unsure) => write!(f, "{clear} seem clear, {unsure} not sure)")?,
            }
        }
        for (count, what) in [
            (self.compared, "compared with earlier results"),
            (self.done, "done before"),
            (self.failed, "failed"),
            (self.waiting, "not begun"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        let formats: Vec<_> =
            self.unreadable.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let unreadable = format!("{} (cannot be read)", formats.join(", "));
        let plural = if self.results == 1 { "" } else { "s" };
        let results = format!("{} earlier result{plural}", self.results);
        match (self.results, formats.is_empty()) {
            (0, true) => Ok(()),
            (0, false) => write!(f, "; skipped: {unreadable}"),
            (_, true) => write!(f, "; skipped: {results}"),
            (_, false) => write!(f, "; skipped: {results}, {unreadable}"),
        }
    }
}
