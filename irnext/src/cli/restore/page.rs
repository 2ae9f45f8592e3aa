//! `--report`: a page with all photographs, before and after.

use super::arguments::Arguments;
use super::lines::line;
use crate::error::{Error, Result};
use crate::gallery::{Gallery, PICTURED, Pictures};
use crate::jobs::{Job, JobReport, Summary};
use nn::shown;
use std::path::Path;

/// The contents of the page, in the order in which the photographs are done.
#[derive(Default)]
pub(super) struct ReportPage {
    entries: Vec<(String, String, Option<Pictures>)>,
}

impl ReportPage {
    /// Adds the outcome for a photograph.
    pub fn add(&mut self, job: &Job, result: &Result<JobReport>) {
        let report = result.as_ref().ok().filter(|_| self.entries.len() < PICTURED);
        let pictures = report.and_then(|report| report.pictures.clone());
        let text = match result {
            Ok(report) => line(&job.from, report),
            Err(error) => error.to_string(),
        };
        self.entries.push((shown(&job.from).to_string(), text, pictures));
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
        for (name, text, pictures) in &self.entries {
            match pictures {
                Some(pictures) => page.add(name, &[text], pictures)?,
                None => page.add_lines(name, &[text])?,
            }
        }
        page.end()
    }
}
