//! A page of training runs: their curves, samples of their pairs over time, and their settings.

use super::draw::{COLORS, PAGE_PANELS, PANEL_SIZE, panel, span};
use super::run::Run;
use crate::error::{Error, Result};
use crate::gallery::Gallery;
use crate::train::log::metrics::LogRecord;
use crate::train::log::samples;
use crate::train::{TrainConfig, duration};
use plotters::prelude::{IntoDrawingArea, SVGBackend};
use std::io;
use std::path::Path;

/// The name in a run's folder of the page that `irnext train` keeps there.
pub const PAGE: &str = "page.html";

/// A page of `runs` as HTML, which needs no other file. Runs without samples or settings have none
/// on it.
///
/// # Errors
/// If a curve cannot be drawn, or the samples cannot be listed.
pub fn page(runs: &[Run]) -> Result<Vec<u8>> {
    let drawings = PAGE_PANELS.iter().map(|panel| drawing(panel, runs)).collect::<Result<Vec<_>>>();
    let (drawings, mut samples) = (drawings?, Vec::new());
    for run in runs {
        samples.push(samples::current(&run.folder)?);
    }
    let write = || -> io::Result<Vec<u8>> {
        let names: Vec<&str> = runs.iter().map(|run| &run.name[..]).collect();
        let title = format!("Training: {}", names.join(", "));
        let mut page = Gallery::begin(Vec::new(), &title, &[])?;
        let configs: Vec<_> = runs.iter().map(config).collect();
        let head: Vec<&str> = [""].into_iter().chain(names.iter().copied()).collect();
        let rows = FACTS.map(|(name, fact)| -> Vec<String> {
            let facts = runs
                .iter()
                .zip(&configs)
                .map(|(run, config)| fact(run, config.as_ref()).unwrap_or_else(|| "-".into()));
            [name.to_string()].into_iter().chain(facts).collect()
        });
        page.table(&head, rows.iter().map(|row| &row[..]))?;
        if runs.len() > 1 {
            let colors = COLORS.map(|color| [color.0, color.1, color.2]);
            page.legend(names.iter().copied().zip(colors))?;
        }
        page.drawings(&drawings)?;
        let span = span(runs);
        if span > 1 {
            page.note(&format!("Of curves with a faint one, it is the mean over {span} steps."))?;
        }
        // Pair by pair, so that the runs of one stand together.
        let mut pairs: Vec<&str> = Vec::new();
        for pair in samples.iter().flatten() {
            if !pairs.contains(&&pair.name[..]) {
                pairs.push(&pair.name);
            }
        }
        for name in pairs {
            let of_pair = runs.iter().zip(&samples).flat_map(|(run, pairs)| {
                pairs.iter().filter(|pair| pair.name == name).map(move |pair| (run, pair))
            });
            for (run, pair) in of_pair {
                let mut lines = Vec::new();
                lines.extend((runs.len() > 1).then_some(&run.name[..]));
                let is_of_training = !run.records.iter().any(is_validation);
                lines.extend(is_of_training.then_some("A training pair: the run has no others."));
                page.series(name, &lines, &pair.pictures())?;
            }
        }
        for run in runs {
            if let Ok(settings) = std::fs::read_to_string(run.folder.join("config.toml")) {
                page.text(&format!("Settings of {}", run.name), &settings)?;
            }
        }
        page.end()
    };
    write().map_err(Error::io(Path::new(PAGE)))
}

/// Writes the page of the run in the folder `out` there, over an earlier one.
///
/// # Errors
/// If the log cannot be read, or the page cannot be written.
pub fn write_page(out: &Path) -> Result<()> {
    let file = out.join(PAGE);
    nn::write_atomically(&file, &page(&[Run::read(out)?])?).map_err(Error::io(&file))
}

/// One curve as SVG that stands inside of a page.
fn drawing(of: &super::draw::Panel, runs: &[Run]) -> Result<String> {
    let mut svg = String::new();
    panel(&SVGBackend::with_string(&mut svg, PANEL_SIZE).into_drawing_area(), of, runs)?;
    // A page knows what SVG is, and shall name no address.
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    Ok(svg.replacen("<svg", &format!("<svg role=\"img\" aria-label=\"{}\"", of.title), 1))
}

fn config(run: &Run) -> Option<TrainConfig> {
    TrainConfig::read(&run.folder.join("config.toml"), &[]).ok()
}

/// What the page says of a run; none if the log or the settings do not tell.
type Fact = fn(&Run, Option<&TrainConfig>) -> Option<String>;

const FACTS: [(&str, Fact); 9] = [
    ("Steps", |run, config| {
        let done = steps(run).last()?.0;
        let total =
            config.and_then(|config| match (&config.optimizer.steps, &config.optimizer.epochs) {
                (Some(steps), _) => Some(format!(" of {steps}")),
                (None, epochs) => epochs.map(|epochs| format!(", of {epochs} epochs")),
            });
        Some(format!("{done}{}", total.unwrap_or_default()))
    }),
    ("Left after the last step", |run, config| {
        let left = config?.optimizer.steps?.saturating_sub(steps(run).last()?.0);
        match left {
            0 => Some("nothing: the run is complete".into()),
            left => Some(format!("{} at this pace", duration(left as f64 * time_per_step(run)?))),
        }
    }),
    ("Best validation", |run, _| {
        run.best().map(|(step, psnr)| format!("{psnr:.2} dB, step {step}"))
    }),
    ("First step", |run, _| Some(utc(steps(run).next()?.1))),
    ("Last step", |run, _| Some(utc(steps(run).last()?.1))),
    ("Time per step", |run, _| Some(format!("{:.2} s (median)", time_per_step(run)?))),
    ("Task", |_, config| Some(config?.task.to_string())),
    ("Network", |_, config| {
        let model = &config?.model;
        Some(format!("width {}, n = {}", model.width, model.n))
    }),
    ("Computed on", |_, config| Some(config?.compute.to_string())),
];

fn is_validation(record: &LogRecord) -> bool {
    matches!(record, LogRecord::Validation(_))
}

/// The median of the seconds from one step to the next.
fn time_per_step(run: &Run) -> Option<f64> {
    let times: Vec<f64> = steps(run).map(|(_, time)| time).collect();
    let mut each: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).copied()
}

/// The number and the time of each step.
fn steps(run: &Run) -> impl DoubleEndedIterator<Item = (u64, f64)> + '_ {
    run.records.iter().filter_map(|record| match record {
        LogRecord::Step(step) => Some((step.step, step.time)),
        LogRecord::Validation(_) => None,
    })
}

/// A time in seconds since 1970, to the minute, in the calendar of today.
fn utc(time: f64) -> String {
    let minutes = (time / 60.0).floor() as i64;
    let (days, minute) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
    // Years begin in March, so that a leap day is the last: H. Hinnant, "chrono-compatible
    // low-level date algorithms".
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month < 10 {
        true => (400 * era + year, month + 3),
        false => (400 * era + year + 1, month - 9),
    };
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::log::METRICS;
    use std::fs;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0.0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_399.0), "2000-02-28 23:59 UTC");
        assert_eq!(utc(951_782_400.0), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_795_722_748.9), "2026-11-26 19:52 UTC");
        assert_eq!(utc(f64::NAN), "1970-01-01 00:00 UTC");
    }

    /// A run of an earlier version, in a folder whose name is a trap.
    fn run(root: &Path, name: &str) -> Run {
        let line = |step: u64| {
            format!(
                "{{\"kind\":\"step\",\"step\":{step},\"time\":{step}.5,\"loss\":0.5,\
                 \"spatial\":0.1,\"frequency\":1.0,\"learning_rate\":1e-4,\
                 \"gradient_norm\":0.2,\"images_per_second\":2.0,\"skipped\":false}}\n"
            )
        };
        let folder = root.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(METRICS), (1..=9).map(line).collect::<String>()).unwrap();
        Run::read(&folder).unwrap()
    }

    #[test]
    fn runs_of_earlier_versions_have_a_page() {
        let root = tempfile::tempdir().unwrap();
        let page = String::from_utf8(page(&[run(root.path(), "old")]).unwrap()).unwrap();
        assert_eq!(page.matches("<svg").count(), PAGE_PANELS.len());
        for part in [
            "<h1>Training: old</h1>",
            "<td>Steps</td><td>9</td>",
            "<td>Time per step</td><td>1.00 s (median)</td>",
            "<td>Task</td><td>-</td>",
            "none in the log",
        ] {
            assert!(page.contains(part), "{part} is missing:\n{page}");
        }
        assert!(!page.contains("<img") && !page.contains("<details") && !page.contains("://"));
    }

    #[test]
    fn runs_are_compared_pair_by_pair() {
        let root = tempfile::tempdir().unwrap();
        let runs = ["one", "two"].map(|name| run(root.path(), name));
        for run in &runs {
            for pair in ["1-a.png", "2-b.png"] {
                let folder = run.folder.join(samples::SAMPLES).join(pair);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("step-0000009.jpg"), "a picture").unwrap();
            }
        }
        // Of a pair that the run no longer has.
        let former = runs[0].folder.join(samples::SAMPLES).join("1-c.png");
        fs::create_dir_all(&former).unwrap();
        fs::write(former.join("step-0000008.jpg"), "a picture").unwrap();
        let page = String::from_utf8(page(&runs).unwrap()).unwrap();
        let heads: Vec<&str> = page.split("<h2>").skip(1).map(|part| &part[..5]).collect();
        assert_eq!(heads, ["a.png", "a.png", "b.png", "b.png"]);
        let names: Vec<&str> = page.split("</h2>\n<p>").skip(1).map(|part| &part[..3]).collect();
        assert_eq!(names, ["one", "two", "one", "two"]);
    }

    #[test]
    fn names_and_settings_cannot_add_to_the_page() {
        let root = tempfile::tempdir().unwrap();
        let runs = [run(root.path(), "<b>&'\""), run(root.path(), "two")];
        let pair = runs[0].folder.join(samples::SAMPLES).join("1-<i>.png");
        fs::create_dir_all(&pair).unwrap();
        fs::write(pair.join("step-0000009.jpg"), "a picture").unwrap();
        fs::write(runs[0].folder.join("config.toml"), "# </pre><script>\n").unwrap();
        let page = String::from_utf8(page(&runs).unwrap()).unwrap();
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"));
        for part in ["&lt;b&gt;&amp;&#39;&quot;", "# &lt;/pre&gt;&lt;script&gt;", "&lt;i&gt;.png"] {
            assert!(page.contains(part), "{part} is missing:\n{page}");
        }
        assert_eq!(page.matches("<img").count(), 1);
    }
}
