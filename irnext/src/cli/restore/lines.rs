//! The program's report on photographs: a line for each, as text or JSON, and a summary.

use super::arguments::Arguments;
use super::progress::PhotoProgress;
use crate::cli::output::{complain, say, shell_word, signs};
use crate::cli::signals::Signals;
use crate::error::{Error, Result};
use crate::jobs::{Job, JobOutcome, JobPlan, JobReport, Search, Summary};
use nn::shown;
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
    pub fn new(arguments: &Arguments, jobs: &[Job], alone: bool, signals: &Signals) -> Self {
        let Arguments { json, quiet, .. } = *arguments;
        Self { json, quiet, progress: PhotoProgress::new(jobs, alone && !quiet, signals) }
    }

    /// Reports skipped and impossible jobs.
    pub fn tell_plan(&self, search: &Search, plan: &JobPlan) {
        if !self.quiet {
            for (inner, outer) in &search.nested {
                let (inner, outer) = (shown(inner), shown(outer));
                complain!("{inner} is in {outer}: its photographs count once");
            }
            if plan.by_time > 0 {
                let files = if plan.by_time == 1 {
                    "file counts as a result"
                } else {
                    "files count as results"
                };
                complain!(
                    "{} {files} of an earlier run, by name and time; to restore such a file, \
                     name it",
                    plan.by_time
                );
            }
        }
        for error in &search.errors {
            self.tell_error(path_of(error), error);
        }
        for (photo, error) in &plan.refused {
            self.tell_error(Some(photo), error);
        }
        for file in plan.other_results().filter(|_| self.json) {
            let mut object = json!({ "outcome": "skipped-result" });
            put(&mut object, "input", Some(file));
            say!("{object}");
        }
        // For one photograph the line is printed; of many, the summary has the number.
        let few = plan.jobs.len() + plan.done.len() + plan.refused.len() == 1;
        for (photo, result) in &plan.done {
            if self.json {
                let mut object = json!({ "outcome": "done-before" });
                put(&mut object, "input", Some(photo));
                put(&mut object, "output", Some(result));
                say!("{object}");
            } else if few && !self.quiet {
                let (photo, result) = (shown(&photo), shown(&result));
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

    /// Reports nothing about a photograph that is to be tried again.
    pub fn pass_over(&self, job: &Job) {
        self.progress.done(job);
    }

    fn tell_error(&self, photo: Option<&Path>, error: &Error) {
        match self.json {
            true => {
                let mut object = json!({ "outcome": "failed", "error": error.to_string() });
                put(&mut object, "input", photo);
                say!("{object}");
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
    let mut line = shown(&from).to_string();
    if let Some(to) = to {
        line.push_str(&signs(" → "));
        line.push_str(&shown(&to).to_string());
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
        JobOutcome::Compared => line.push_str("compared with its earlier result"),
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
    let mut object = Value::from(report.to_json());
    object["error"] = Value::Null;
    put(&mut object, "input", Some(from));
    put(&mut object, "output", report.to.as_deref());
    object
}

/// Puts a path into `object`. If it is not UTF-8, its bytes go there as well, percent-encoded,
/// under `key` and "_bytes".
fn put(object: &mut Value, key: &str, path: Option<&Path>) {
    object[key] = path.map(|path| path.to_string_lossy()).into();
    if let Some(path) = path.filter(|path| path.to_str().is_none()) {
        let mut encoded = String::new();
        for &byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'~' => encoded.push(byte.into()),
                _ if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        object[format!("{key}_bytes")] = encoded.into();
    }
}

/// The file that an error is about.
fn path_of(error: &Error) -> Option<&Path> {
    match error {
        Error::Io { path, .. }
        | Error::Image { path, .. }
        | Error::Unfinished { path, .. }
        | Error::Data { path, .. } => Some(path),
        _ => None,
    }
}
