//! `irnext eval`: scores pairs of images, the degraded one beside the restored one.

use super::arguments::{ComputeArguments, WeightArguments, one_of, page};
use super::output::{check_overwrite, complain, say};
use crate::data::{Paired, Pairing, PhotoCache, Role, Source, Split, splits};
use crate::distributed::Team;
use crate::distributed::launch::LaunchInfo;
use crate::error::{Error, Result};
use crate::evaluate::{LookFn, RestoreFn, score};
use crate::gallery::{PICTURED, Pictures};
use crate::image::{Image, Pixels};
use crate::metrics::{Lpips, Measure, Scorer};
use crate::protocol::groups::groups;
use crate::protocol::sets::Set;
use crate::protocol::{Protocol, Report, ReportFormat, SetReport};
use crate::restore::{Scale, Sizing, restore_at};
use nn::shown;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext eval RESIDE/SOTS --protocol sots --weights ITS.pkl
      Score a weight file on a data set, by the protocol of its table
  irnext eval Rain100L --protocol rain-y --task derain
      Score the built-in weights
  irnext eval --input restored/ --target sharp/ --format csv
      Score images that any program restored
  irnext eval --input photographs/ --task dehaze
      Score photographs without ground truth, before and after, by NIQE

Without --task or --weights, the input images are scored as they are.")]
pub(super) struct Arguments {
    #[command(flatten)]
    weights: WeightArguments,
    /// Data set in its original layout, or a part of it; or give --input and --target
    #[arg(value_name = "DIR", required_unless_present = "input")]
    folder: Option<PathBuf>,
    /// Folder of input images: degraded ones, or restored ones to score as they are
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "folder",
        help_heading = DATA
    )]
    input: Option<PathBuf>,
    /// Folder of ground-truth images; without it, NIQE is the only score of --input
    #[arg(long, value_name = "DIR", requires = "input", help_heading = DATA)]
    target: Option<PathBuf>,
    /// Split of the data set: train, validation, test or other [default: test; images 51 to 55 of
    /// dense-haze and nh-haze]
    #[arg(long, hide_possible_values = true, help_heading = DATA)]
    split: Option<SplitArgument>,
    /// Score only the first N pairs of each split
    #[arg(
        long,
        value_name = "N",
        default_value_t = usize::MAX,
        hide_default_value = true,
        help_heading = DATA
    )]
    limit: usize,
    /// Size at which the network sees an image: full, a part such as 1/2, or auto, the size that
    /// `restore` uses [default: full]
    #[arg(
        long,
        value_name = "SCALE",
        default_value_t = Scale::Full,
        hide_default_value = true,
        help_heading = SCORES
    )]
    scale: Scale,
    /// Scoring protocol: sots, dense-haze, nh-haze, rain-y, snow, gopro, rsblur, dpdd or plain
    /// [default: plain]
    #[arg(long, default_value = "plain", hide_default_value = true, help_heading = SCORES)]
    protocol: Protocol,
    /// Scores to compute: all, headline (those in the paper's tables), or a comma-separated list
    /// [default: all]
    #[arg(long, default_value = "all", hide_default_value = true, help_heading = SCORES)]
    measures: String,
    /// Weights of LPIPS, the file lpips-alex.safetensors; adds the score lpips [default: the file
    /// beside the program, for protocols and lists with this score]
    #[arg(long, value_name = "FILE", help_heading = SCORES)]
    lpips: Option<PathBuf>,
    /// Output format: table, json (every score) or csv (a row per image and mean)
    /// [default: table]
    #[arg(
        long,
        default_value = "table",
        hide_default_value = true,
        value_parser = one_of(&ReportFormat::ALL, ReportFormat::name),
        hide_possible_values = true,
        help_heading = SCORES
    )]
    format: ReportFormat,
    /// Also write a page with the images and their scores; it needs no other file
    #[arg(long, value_name = "FILE.html", value_parser = page, help_heading = SCORES)]
    html: Option<PathBuf>,
    /// Replace an existing page
    #[arg(long, requires = "html", help_heading = SCORES)]
    overwrite: bool,
    #[command(flatten)]
    compute: ComputeArguments,
}

/// The headings of the options.
const DATA: &str = "Data options";
const SCORES: &str = "Scoring options";

#[derive(Clone, Copy, clap::ValueEnum)]
enum SplitArgument {
    Train,
    Validation,
    Test,
    /// Folders whose names do not name a split.
    Other,
}

impl Arguments {
    /// The weights, and the scale if it is not full, for the report.
    fn restored_by(&self) -> String {
        match self.scale {
            Scale::Full => self.weights.to_string(),
            scale => format!("{}; scale {scale}", self.weights),
        }
    }

    fn role(&self) -> Option<Role> {
        self.split.map(|split| match split {
            SplitArgument::Train => Role::Train,
            SplitArgument::Validation => Role::Validation,
            SplitArgument::Test => Role::Test,
            SplitArgument::Other => Role::Unknown,
        })
    }

    /// The splits to score, and their folder.
    fn splits(&self) -> Result<(PathBuf, Vec<Split>)> {
        if let Some(input) = &self.input {
            // Scores without ground truth do not look at the other image of a pair.
            let target = self.target.as_ref().unwrap_or(input);
            let pairing = Pairing::of_folders(input, target)?.or_complain(input)?;
            let split = Split { name: input.display().to_string(), role: Role::Unknown, pairing };
            return Ok((input.clone(), vec![split]));
        }
        let folder = self.folder.clone().unwrap_or_else(|| ".".into());
        let splits = self.protocol.select(&folder, splits(&folder)?, self.role())?;
        Ok((folder, splits))
    }

    /// Whether there are images to score the others against.
    fn has_truth(&self) -> bool {
        self.input.is_none() || self.target.is_some()
    }

    fn measures(&self) -> Result<Vec<Measure>> {
        let measures = self.named_measures()?;
        if self.has_truth() {
            return Ok(measures);
        }
        if !self.lists_measures() {
            return Ok(Measure::ALL
                .map(|row| row.0)
                .into_iter()
                .filter(|m| m.is_blind())
                .collect());
        }
        match measures.iter().find(|measure| !measure.is_blind()) {
            None => Ok(measures),
            Some(measure) => Err(Error::Config {
                reason: format!("{measure} needs ground truth: give its folder by --target"),
            }),
        }
    }

    /// Whether `--measures` lists them one by one, and so asks for each.
    fn lists_measures(&self) -> bool {
        !["all", "headline"].contains(&self.measures.as_str())
    }

    fn named_measures(&self) -> Result<Vec<Measure>> {
        let headline = self.protocol.headline();
        match self.measures.as_str() {
            "headline" => Ok(headline),
            "all" => {
                let others = Measure::ALL
                    .into_iter()
                    .map(|row| row.0)
                    .filter(|m| m.is_default() && !headline.contains(m));
                Ok(headline.iter().copied().chain(others).collect())
            }
            list => list
                .split(',')
                .map(|name| name.trim().parse().map_err(|reason| Error::Config { reason }))
                .collect(),
        }
    }

    /// The scorer, and a remark about a score that it leaves out.
    fn scorer(&self) -> Result<(Scorer, Option<String>)> {
        let mut measures = self.measures()?;
        if self.lpips.is_some() && !measures.contains(&Measure::Lpips) {
            measures.push(Measure::Lpips);
        }
        if !measures.contains(&Measure::Lpips) {
            return Ok((Scorer::new(&measures), None));
        }
        let folder = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let folder = folder.unwrap_or_default();
        let beside = Some(folder.join(Lpips::FILE)).filter(|file| file.is_file());
        if let Some(file) = self.lpips.clone().or(beside) {
            return Ok((Scorer::new(&measures).with_lpips(Lpips::read(file)?), None));
        }
        let reason = format!(
            "LPIPS needs the file {}, from irnext/weights of the sources or from the archive of a \
             release: give it by --lpips FILE, or put it beside the program, into {}",
            Lpips::FILE,
            shown(&folder)
        );
        // A protocol also has other scores. A list that names this one asks for it.
        if self.lists_measures() {
            return Err(Error::Config { reason });
        }
        measures.retain(|measure| *measure != Measure::Lpips);
        Ok((Scorer::new(&measures), Some(format!("{reason} (lpips is left out)"))))
    }
}

pub(super) fn run(arguments: &Arguments, launch: LaunchInfo) -> Result<()> {
    let team = launch.connect()?;
    team.finish(run_in(&team, arguments))
}

/// The pairs are shared among `team`, and the first rank prints the scores of all.
fn run_in(team: &Team, arguments: &Arguments) -> Result<()> {
    if let Some(page) = &arguments.html {
        if !team.is_alone() {
            return Err(Error::Config { reason: "--html needs a single process".into() });
        }
        check_overwrite(page, arguments.overwrite)?;
    }
    let (folder, splits) = arguments.splits()?;
    let (scorer, remark) = arguments.scorer()?;
    if let Some(remark) = remark.filter(|_| team.is_first()) {
        complain!("{remark}");
    }
    let compute = arguments.compute.compute(team);
    let (model, task) = match arguments.weights.load_if_given()? {
        Some((model, task)) => (Some(model.on(compute)?.freeze()), task),
        None => (None, String::new()),
    };
    let mut report = Report {
        protocol: arguments.protocol,
        measures: scorer.measures().to_vec(),
        weights: model.as_ref().map(|_| arguments.restored_by()),
        sets: Vec::new(),
    };
    let model = model.map(|model| model.computing_in(compute.precision));
    let restore = model.as_ref().map(|model| {
        let sizing = Sizing { scale: arguments.scale, ..Sizing::default() };
        let restore = move |image: &Image| {
            let photo = Pixels::from(image.clone());
            let (restored, _) = restore_at(sizing, model, &task, (&photo, 0), &|_, _| (), &|_| ())?;
            Ok(restored.into_image())
        };
        Box::new(restore) as Box<RestoreFn<'_>>
    });

    // The lines of a table are printed as soon as they are known: large sets take hours.
    let print = |text: String| {
        if team.is_first() && arguments.format == ReportFormat::Table {
            say!("{}", text.trim_end_matches('\n'));
        }
    };
    print(report.preface());
    let pictures = RefCell::new(Vec::new());
    let look = |input: &Image, restored: Option<&Image>, target: &Image| {
        let mut pictures = pictures.borrow_mut();
        if pictures.len() < PICTURED {
            let pixels = |image: &Image| Pixels::from(image.clone());
            let target = arguments.has_truth().then(|| pixels(target));
            let restored = restored.map(pixels);
            pictures.push(Pictures::of(&pixels(input), restored.as_ref(), target.as_ref())?);
        }
        Ok(())
    };
    let look = arguments.html.as_ref().map(|_| &look as &LookFn<'_>);
    for split in splits {
        let set = Set::of_split(&folder, &split.name, Some(arguments.protocol));
        let groups = groups(arguments.protocol, &folder, &split.pairing.pairs)?;
        let pairs = Paired::new(split.pairing.pairs, PhotoCache::new(0));
        let mut done = SetReport { name: split.name, set, pairs: pairs.len(), images: Vec::new() };
        print(report.heading(&done.name, done.pairs));
        let one = |index| score(&pairs, index, &scorer, restore.as_deref(), look);
        team.distribute(
            pairs.len().min(arguments.limit),
            &AtomicBool::new(false),
            one,
            |scored| {
                print(report.rows(&scored));
                done.images.push((scored, groups[done.images.len()]));
                Ok(())
            },
        )?;
        print(report.summary(&done));
        report.sets.push(done);
    }
    if team.is_first() && arguments.format != ReportFormat::Table {
        say!("{}", report.write(arguments.format).trim_end_matches('\n'));
    }
    if let Some(file) = &arguments.html {
        let page = report.page(&pictures.into_inner(), Vec::new()).map_err(Error::io(file))?;
        nn::write_atomically(file, &page).map_err(Error::io(file))?;
    }
    Ok(())
}
