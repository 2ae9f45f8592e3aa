//! `--report`: a page with all photographs, before and after.

use super::arguments::Arguments;
use super::lines::line;
use crate::error::{Error, Result};
use crate::gallery::{Gallery, PICTURED, Pictures};
use crate::jobs::{Job, JobReport, Summary};
use crate::restore::Effect;
use nn::shown;
use std::path::Path;

/// The contents of the page, in the order in which the photographs are done.
#[derive(Default)]
pub(super) struct ReportPage {
    entries: Vec<(String, Vec<String>, Option<Pictures>)>,
}

impl ReportPage {
    /// Adds the outcome for a photograph.
    pub fn add(&mut self, job: &Job, result: &Result<JobReport>) {
        let report = result.as_ref().ok().filter(|_| self.entries.len() < PICTURED);
        let pictures = report.and_then(|report| report.pictures.clone());
        let lines = match result {
            Ok(report) => {
                let effect = report.effect.as_ref();
                std::iter::once(line(&job.from, report)).chain(effect.and_then(niqe)).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        self.entries.push((shown(&job.from).to_string(), lines, pictures));
    }

    /// Writes the page.
    pub fn write(self, file: &Path, summary: &Summary, arguments: &Arguments) -> Result<()> {
        let page = self.page(summary, arguments).map_err(Error::io(file))?;
        nn::write_atomically(file, &page).map_err(Error::io(file))
    }

    fn page(self, summary: &Summary, arguments: &Arguments) -> std::io::Result<Vec<u8>> {
        let facts = [
            ("Photographs", summary.to_string()),
            ("Strength", arguments.strength.to_string()),
            ("Scale", arguments.sizing.scale.to_string()),
        ];
        let mut page = Gallery::begin(Vec::new(), "Restored photographs", &facts)?;
        for (name, lines, pictures) in &self.entries {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            match pictures {
                Some(pictures) => page.add(name, &lines, pictures)?,
                None => page.add_lines(name, &lines)?,
            }
        }
        page.end()
    }
}

/// The line about NIQE, if the photograph and its result have it.
fn niqe(effect: &Effect) -> Option<String> {
    let (before, after) = (effect.niqe_before?, effect.niqe_after?);
    Some(format!(
        "NIQE {before:.2} before, {after:.2} after: a hint only. It is low for clean photographs, \
         and for some that are not"
    ))
}
