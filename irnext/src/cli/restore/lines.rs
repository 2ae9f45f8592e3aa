//! The program's report on photographs: a line for each, as text or JSON, and a summary.

use super::arguments::Arguments;
use super::progress::PhotoProgress;
use crate::cli::output::{complain, say, shell_word, signs};
use crate::error::{Error, Result};
use crate::jobs::{Job, JobOutcome, JobPlan, JobReport, Search, Summary};
use serde_json::{Value, json};
use std::path::Path;

/// Reports on photographs.
pub(super) struct ReportLines {
    json: bool,
    quiet: bool,
    progress: PhotoProgress,
}

impl ReportLines {
    /// Lines about `jobs`, as `arguments` ask for them, and a bar unless this process is not alone.
    pub fn new(arguments: &Arguments, jobs: &[Job], alone: bool) -> Self {
        let Arguments { json, quiet, .. } = *arguments;
        Self { json, quiet, progress: PhotoProgress::new(jobs, alone && !quiet) }
    }

    /// Reports skipped and impossible jobs.
    pub fn tell_plan(&self, search: &Search, plan: &JobPlan) {
        for error in &search.errors {
            self.tell_error(path_of(error), error);
        }
        for (photo, error) in &plan.refused {
            self.tell_error(Some(photo), error);
        }
        // For one photograph the line is printed; of many, the summary has the number.
        let few = plan.jobs.len() + plan.done.len() + plan.refused.len() == 1;
        for (photo, result) in &plan.done {
            if self.json {
                let (photo, result) = (text(photo), text(result));
                let outcome = "done-before";
                say!("{}", json!({ "input": photo, "output": result, "outcome": outcome }));
            } else if few && !self.quiet {
                let (photo, result) = (photo.display(), result.display());
                say!("{photo}: done before: {result} already exists; --overwrite replaces it");
            }
        }
    }

    /// Notes the part of the work on a photograph that is done.
    pub fn progress(&self, job: &Job, part: f64) {
        self.progress.part(job, part);
    }

    /// Reports the outcome for a photograph.
    pub fn tell(&self, job: &Job, result: &Result<JobReport>) {
        self.progress.done(job);
        self.progress.print(|| match result {
            Ok(report) if self.json => say!("{}", object(&job.from, report)),
            Ok(_) if self.quiet => {}
            Ok(report) => say!("{}", line(&job.from, report)),
            Err(error) => self.tell_error(Some(&job.from), error),
        });
    }

    fn tell_error(&self, photo: Option<&Path>, error: &Error) {
        match self.json {
            true => {
                let (photo, error) = (photo.map(text), error.to_string());
                say!("{}", json!({ "input": photo, "outcome": "failed", "error": error }));
            }
            false => complain!("{error}"),
        }
    }

    /// Ends the reports on single photographs.
    pub fn end(&self) {
        self.progress.end();
    }

    /// Reports the number of photographs of each outcome, unless there was only one.
    pub fn tell_summary(&self, summary: &Summary, arguments: &Arguments) {
        if self.quiet || summary.total() < 2 {
            return;
        }
        complain!("{summary}");
        if summary.waiting > 0 {
            complain!("the same command resumes from here");
        } else if summary.clear + summary.unsure > 0 && arguments.output.is_none() {
            complain!("to restore those left alone anyway, name the task: --task TASK");
        }
    }
}

/// `a.jpg → a.dehaze.jpg: haze, 99 % (…); dehaze, 640×480, 0.52 s`.
pub(in crate::cli) fn line(from: &Path, report: &JobReport) -> String {
    let JobReport { outcome, to, task, classification, size: (width, height), time, notes, .. } =
        report;
    let mut line = from.display().to_string();
    if let Some(to) = to {
        line.push_str(&signs(" → "));
        line.push_str(&to.display().to_string());
    }
    line.push_str(": ");
    let verdict = classification.as_ref().map(|seen| seen.verdict()).unwrap_or_default();
    match outcome {
        JobOutcome::Restored => {
            if let Some(classification) = classification {
                line.push_str(&format!("{classification}; "));
            }
            line.push_str(task.as_deref().unwrap_or_default());
            line.push_str(&signs(&format!(", {width}×{height}, {:.2} s", time.as_secs_f64())));
        }
        JobOutcome::Copied => line.push_str(&format!("copied as it is: {verdict}")),
        JobOutcome::Converted => line.push_str(&format!("converted, not restored: {verdict}")),
        JobOutcome::LeftAlone => {
            line.push_str(&format!("left alone: {verdict}"));
            let task = classification.as_ref().and_then(|seen| seen.likeliest_task());
            if let Some(task) = task {
                let from = shell_word(from);
                line.push_str(&format!("; anyway: irnext restore --task {task} {from}"));
            }
        }
    }
    for note in notes {
        line.push_str(&signs(&format!("; {note}")));
    }
    line
}

/// The same as JSON.
pub(super) fn object(from: &Path, report: &JobReport) -> Value {
    let mut object = report.to_json();
    object.insert("input".into(), json!(text(from)));
    object.insert("output".into(), json!(report.to.as_deref().map(text)));
    object.insert("error".into(), Value::Null);
    object.into()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The file that an error is about.
fn path_of(error: &Error) -> Option<&Path> {
    match error {
        Error::Io { path, .. } | Error::Image { path, .. } | Error::Data { path, .. } => Some(path),
        _ => None,
    }
}
