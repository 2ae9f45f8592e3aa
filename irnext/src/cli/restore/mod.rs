//! `irnext restore`: removes haze, rain, snow or blur from photographs.
//!
//! This file makes the plan, with a line of progress by `looking`. `work` does the jobs, `lines`
//! reports them, with a bar by `progress`, and `page` shows them on a page. `stream` and `watch`
//! are the other ways to pass photographs in.

mod arguments;
mod lines;
mod looking;
mod page;
mod progress;
mod stream;
mod watch;
mod work;

pub(super) use arguments::Arguments;
pub(super) use lines::line;

use super::output::check_overwrite;
use super::signals::Signals;
use crate::distributed::launch::LaunchInfo;
use crate::distributed::{Team, file_list_fingerprint};
use crate::error::{Error, Result};
use crate::jobs::{FileContents, Job, JobPlan, JobReport, Search, Summary, contents};
use crate::restorer::Restorer;
use lines::ReportLines;
use looking::looking;
use page::ReportPage;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use work::Work;

/// Restores the photographs and reports errors; true if there were none.
pub(super) fn run(arguments: &Arguments, launch: LaunchInfo) -> Result<bool> {
    let team = launch.connect()?;
    team.finish(run_in(&team, arguments))
}

fn run_in(team: &Team, arguments: &Arguments) -> Result<bool> {
    let restorer = arguments.restorer.restorer(arguments.compute.compute(team))?;
    let restorer = arguments.sizing.apply(restorer);
    let one_process =
        arguments.streams() || arguments.watch.is_some() || arguments.report.is_some();
    if one_process && !team.is_alone() {
        let reason = "standard input and output, --watch and --report need a single process";
        return Err(Error::Config { reason: reason.into() });
    }
    if arguments.streams() {
        return stream::run(arguments, &restorer);
    }
    if let Some(page) = &arguments.report {
        check_overwrite(page, arguments.overwrite)?;
    }
    let signals = Signals::watch()?;
    if let Some(folder) = &arguments.watch {
        return watch::run(arguments, folder, &restorer, &signals);
    }
    // All ranks plan before any of them writes, since one could write into a folder that another
    // still searches.
    let wanted = team.is_first() && !arguments.quiet;
    let planned = looking(&signals, wanted, |count| plan(arguments, &restorer, count));
    let (search, mut plan) = team.barrier(planned)?;
    let files: Vec<_> = plan.jobs.iter().map(|job| job.from.display().to_string()).collect();
    team.require_equal(&[("the list of photographs".into(), file_list_fingerprint(&files))])?;
    let (size, rank) = (team.size(), team.rank());
    let is_mine = |index: usize| index % size == rank;
    let jobs = std::mem::take(&mut plan.jobs).into_iter().enumerate();
    plan.jobs = jobs.filter(|(index, _)| is_mine(*index)).map(|(_, job)| job).collect();

    let lines = ReportLines::new(arguments, &plan.jobs, team.is_alone(), &signals);
    // One rank reports the photographs that need no work.
    let mut summary = Summary { waiting: plan.jobs.len(), ..Summary::default() };
    if team.is_first() {
        summary = Summary::new(&search, &plan);
        lines.tell_plan(&search, &plan);
    }
    let counted = Mutex::new(&mut summary);
    let page = Mutex::new(ReportPage::default());
    let done = |job: &Job, result: &Result<JobReport>| {
        lines.tell(job, result);
        if arguments.report.is_some()
            && let Ok(mut page) = page.lock()
        {
            page.add(job, result);
        }
        if let Ok(mut summary) = counted.lock() {
            summary.count(result.as_ref().ok());
        }
    };
    let work = Work { arguments, settings: &arguments.settings(), restorer: &restorer };
    work.run(&plan.jobs, &signals, &lines, &done);
    lines.end();
    let mut all = Summary::default();
    team.all_gather(Ok(summary))?.iter().for_each(|summary| all.add(summary));
    if team.is_first() {
        lines.tell_summary(&all, arguments);
    }
    if let (Some(file), Ok(page)) = (&arguments.report, page.into_inner()) {
        page.write(file, &all, arguments)?;
    }
    match signals.last() {
        Some(signal) if all.waiting > 0 => Err(Error::Signal(signal)),
        _ => Ok(all.failed == 0),
    }
}

/// The plan for the given photographs. Counts those that are found.
fn plan(
    arguments: &Arguments,
    restorer: &Restorer,
    count: &AtomicUsize,
) -> Result<(Search, JobPlan)> {
    let paths = &arguments.paths;
    let several = paths.len() > 1 || paths.iter().any(|path| path.is_dir());
    let naming = arguments.naming(restorer, several);
    let search = Search::new(paths, naming.folder(), |path| {
        let contents = contents(path);
        if matches!(contents, Ok(FileContents::Photo { .. })) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        contents
    });
    let plan = JobPlan::new(&search.found, &naming)?;
    Ok((search, plan))
}
