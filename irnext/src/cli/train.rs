//! `irnext train`: runs a recipe or a TOML configuration, or shows its plan.

use super::arguments::{COMPUTE, one_of};
use super::output::{complain, say};
use super::recipes;
use super::signals::Signals;
use crate::compute::{Compute, Precision};
use crate::distributed::Team;
use crate::distributed::launch::LaunchInfo;
use crate::error::{Error, Result};
use crate::plot::{self, PAGE};
use crate::protocol::Protocol;
use crate::recipes::Recipe;
use crate::train::{
    Ended, Event, Measured, RunPlan, TrainConfig, TrainingRun, Validation, duration,
};
use engine::Device;
use indicatif::{ProgressBar, ProgressStyle};
use nn::shown;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The heading of the options that replace values of the configuration.
const CHANGES: &str = "Changes to the configuration";

/// The number of steps that a dry run measures.
const MEASURED: u32 = 3;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext train --recipe gopro --data GOPRO_Large --dry-run
      Show the plan, with measured time and memory
  irnext train --recipe gopro --data GOPRO_Large --shorten 0.01
      Try it with a hundredth of the steps
  irnext train --recipe gopro --data GOPRO_Large --out runs/gopro --device cuda
      Train; the same command resumes an interrupted run
  irnext train --recipe tiny-dehaze --data photos/
      Train on clean photographs, degraded on the fly
  irnext recipes gopro > mine.toml; irnext train mine.toml
      Train with your own configuration")]
pub(super) struct Arguments {
    /// Configuration file of the run
    #[arg(value_name = "CONFIG.TOML", required_unless_present = "recipe")]
    config: Option<PathBuf>,
    /// Use a built-in configuration (`irnext recipes` lists them)
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "config",
        value_parser = recipes::names(),
        hide_possible_values = true
    )]
    recipe: Option<String>,
    /// Folder of the data set, or of clean photographs to degrade on the fly
    #[arg(long, value_name = "DIR", help_heading = CHANGES)]
    data: Option<PathBuf>,
    /// Output folder of the run
    #[arg(long, value_name = "DIR", help_heading = CHANGES)]
    out: Option<PathBuf>,
    /// Start from the weights in this file, not from random ones
    #[arg(long, value_name = "FILE", help_heading = CHANGES)]
    start: Option<PathBuf>,
    /// Change a setting, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = CHANGES)]
    overrides: Vec<String>,
    /// Multiply steps, warm-up and validation interval by this factor (0.01 = 1 %)
    #[arg(long, value_name = "FACTOR", help_heading = CHANGES)]
    shorten: Option<f64>,
    /// Device: cpu, cuda or cuda:NUMBER [default: as configured]
    #[arg(long, value_name = "DEVICE", help_heading = COMPUTE)]
    device: Option<Device>,
    /// Precision on a GPU: f32, tf32, bf16 or f16 [default: as configured]
    #[arg(
        long,
        value_name = "PRECISION",
        value_parser = one_of(&Precision::ALL, Precision::name),
        hide_possible_values = true,
        help_heading = COMPUTE
    )]
    precision: Option<Precision>,
    /// Print the complete configuration and exit
    #[arg(long)]
    show: bool,
    /// Print the plan, with time and memory measured over a few steps, and exit without writing
    /// anything
    #[arg(long)]
    dry_run: bool,
    /// Stop after this many minutes with a checkpoint; the same command resumes the run
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
}

impl Arguments {
    /// The configuration of the run, and a line about `--shorten` if it was given.
    fn config(&self) -> Result<(TrainConfig, Option<String>)> {
        let mut config = match (&self.recipe, &self.config) {
            (Some(name), _) => Recipe::find(name)?.config(&self.overrides)?,
            (None, Some(path)) => TrainConfig::read(path, &self.overrides)?,
            (None, None) => {
                return Err(Error::Config {
                    reason: "give a configuration file or --recipe".into(),
                });
            }
        };
        if let Some(folder) = &self.data {
            config = config.on_data(folder.clone())?;
        }
        if let Some(out) = &self.out {
            config.out.clone_from(out);
        }
        if let Some(start) = &self.start {
            config.start = Some(start.clone());
        }
        let Compute { device, precision } = &mut config.compute;
        *device = self.device.unwrap_or(*device);
        *precision = self.precision.unwrap_or(*precision);
        let Some(part) = self.shorten else { return Ok((config, None)) };
        let scaled = config.clone().scaled(part)?;
        let said =
            format!("shortened by {part}: {} instead of {}", length(&scaled), length(&config));
        Ok((scaled, Some(said)))
    }
}

/// The length of a run, in the units of its configuration.
fn length(config: &TrainConfig) -> String {
    let optimizer = &config.optimizer;
    let (length, unit) = match (optimizer.epochs, optimizer.steps) {
        (Some(epochs), _) => (epochs, "epochs"),
        (None, steps) => (steps.unwrap_or(0), "steps"),
    };
    format!(
        "{length} {unit}, warm-up {}, validation every {} steps",
        optimizer.warmup, config.validation.every
    )
}

pub(super) fn run(arguments: &Arguments, launch: LaunchInfo) -> Result<()> {
    if arguments.show {
        say!("{}", arguments.config()?.0.to_toml()?.trim_end());
        return Ok(());
    }
    let team = launch.connect()?;
    team.finish(match team.is_first() {
        true => lead(&team, arguments),
        false => follow(&team, arguments),
    })
}

/// The work of the first rank, or of the only one: the run, and all output.
fn lead(team: &Team, arguments: &Arguments) -> Result<()> {
    let (config, scaled) = arguments.config()?;
    let device = team.device(config.compute.device);
    if let Some(scaled) = scaled {
        say!("{scaled}");
    }
    if arguments.dry_run {
        return dry_run(team, config);
    }
    let batch = config.optimizer.batch;
    let out = config.out.clone();
    let eval = eval_command(&config);
    let signals = Signals::watch()?;
    let mut run = TrainingRun::open_in(team.clone(), config)?;
    run.stop_when(signals.stop.clone());
    if let Some(note) = run.note() {
        complain!("{note}");
    }
    let (done, total) = run.steps();
    run.remarks().iter().for_each(|remark| say!("{remark}"));
    say!("{} parameters, {total} steps, {done} done", run.model().params.count());
    if !team.is_alone() {
        say!("{} ranks, {} images per batch each", team.size(), batch / team.size());
    }

    let bar = ProgressBar::new(total).with_position(done);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let start = Instant::now();
    let (mut mean_loss, mut complained) = (None, false);
    let ended = run.train(|event| {
        match event {
            Event::Step(step) => {
                let mean: &mut f64 = mean_loss.get_or_insert(step.loss);
                *mean += 0.05 * (step.loss - *mean);
                let images =
                    (step.step - done) as f64 * batch as f64 / start.elapsed().as_secs_f64();
                let peak = device.memory().map_or(0, |memory| memory.peak) as f64 / 1e9;
                let (loss, rate, norm) = (*mean, step.rate, step.gradient_norm);
                bar.set_message(format!(
                    "loss {loss:.4} lr {rate:.1e} |g| {norm:.3} {images:.2} images/s {peak:.2} GB"
                ));
                bar.set_position(step.step);
                if step.skipped {
                    bar.println(format!(
                        "step {}: loss or gradient not finite; step skipped",
                        step.step
                    ));
                }
                // Without a progress bar, a line from time to time.
                if bar.is_hidden() && (step.step % 50 == 0 || step.step == total) {
                    say!("step {} loss {loss:.4} lr {rate:.2e} {images:.2} images/s", step.step);
                }
            }
            Event::Validation(Validation { step, psnr, ssim, without_ssim }) => {
                let ssim = match without_ssim {
                    0 => format!("SSIM {ssim:.4}"),
                    _ if ssim.is_nan() => "no SSIM: the pairs are too small".into(),
                    small => format!("SSIM {ssim:.4} (pairs too small for it: {small})"),
                };
                let line = format!("step {step}: validation {psnr:.3} dB, {ssim}");
                if bar.is_hidden() { say!("{line}") } else { bar.println(line) }
            }
            Event::Samples { step, failed } => {
                let failed = failed.as_ref().filter(|_| !std::mem::replace(&mut complained, true));
                if let Some(reason) = failed {
                    bar.suspend(|| complain!("step {step}: no samples were drawn: {reason}"));
                }
                // What goes wrong with the page is said once, after the last step.
                drop(plot::write_page(&out));
            }
        }
        arguments.minutes.is_none_or(|minutes| start.elapsed().as_secs_f64() < 60.0 * minutes)
    });
    bar.finish_and_clear();
    // A run that is complete gets its page back, too.
    if mean_loss.is_some() || !out.join(PAGE).exists() && run.steps().0 > 0 {
        write_page(&out);
    }
    if let Err(error) = ended {
        if let Some(step) = run.saved() {
            complain!(
                "step {step} is saved in {}; the same command resumes from there",
                shown(&out)
            );
        }
        return Err(error);
    }
    let (done, total) = run.steps();
    let peak = device.memory()?.peak as f64 / 1e9;
    say!(
        "{done} of {total} steps done in {:.1} min, peak memory {peak:.2} GB, saved in {}",
        start.elapsed().as_secs_f64() / 60.0,
        shown(&out)
    );
    if let Some(eval) = eval.filter(|_| done == total) {
        say!("to score the weights by the protocol of their table: {eval}");
    }
    outcome(&signals, ended?)
}

/// Writes the page of the run in `out`. It is not worth a run.
fn write_page(out: &Path) {
    if let Err(error) = plot::write_page(out) {
        complain!("the page of the run was not written: {error}");
    }
}

/// The work of the other ranks, without output.
fn follow(team: &Team, arguments: &Arguments) -> Result<()> {
    let (config, _) = arguments.config()?;
    if arguments.dry_run {
        let run = TrainingRun::prepare(team.clone(), config)?;
        return run.measure(MEASURED).map(drop);
    }
    let signals = Signals::watch()?;
    let mut run = TrainingRun::open_in(team.clone(), config)?;
    run.stop_when(signals.stop.clone());
    outcome(&signals, run.train(|_| true)?)
}

/// The result of the program after a run that has `ended`.
fn outcome(signals: &Signals, ended: Ended) -> Result<()> {
    match signals.last() {
        Some(signal) if ended == Ended::Stopped => Err(Error::Signal(signal)),
        _ => Ok(()),
    }
}

/// The command that scores a finished run on the test split; none for runs without a data set.
fn eval_command(config: &TrainConfig) -> Option<String> {
    let folder =
        config.data.folder.as_ref().filter(|_| config.validation.protocol != Protocol::Plain)?;
    let weights = config.out.join("weights.safetensors");
    let (folder, weights, protocol) = (shown(&folder), shown(&weights), config.validation.protocol);
    Some(format!("irnext eval {folder} --protocol {protocol} --weights {weights}"))
}

/// Prints the plan of a run.
fn dry_run(team: &Team, config: TrainConfig) -> Result<()> {
    let eval = eval_command(&config);
    let run = TrainingRun::prepare(team.clone(), config.clone())?;
    let plan = run.plan()?;
    run.remarks().iter().for_each(|remark| say!("data      {remark}"));
    say_plan(&config, &plan);
    let measured = run.measure(MEASURED)?;
    say_measured(&plan, &measured);
    if let Some(eval) = eval {
        say!("then      {eval}");
    }
    say!("dry run: nothing was written");
    Ok(())
}

fn say_plan(config: &TrainConfig, plan: &RunPlan) {
    let (optimizer, crop) = (&config.optimizer, config.data.crop);
    say!("data      {} training images, {} scored per validation", plan.images, plan.validated);
    let looked_at: usize = plan.sizes.values().sum();
    let mut sizes: Vec<_> = plan.sizes.iter().collect();
    sizes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<String> =
        sizes.iter().take(4).map(|((w, h), count)| format!("{w}x{h}: {count}")).collect();
    let more = if sizes.len() > shown.len() {
        format!(", and {} other sizes", sizes.len() - shown.len())
    } else {
        String::new()
    };
    say!("sizes     {looked_at} images checked: {}{more}", shown.join(", "));
    let small = sizes
        .iter()
        .filter(|((w, h), _)| *w < crop.width || *h < crop.height)
        .map(|(_, count)| **count)
        .sum::<usize>();
    if small > 0 {
        say!("          {small} of them are smaller than the crop; they are padded by reflection");
    }
    let model = &config.model;
    say!("network   width {}, n = {}: {} parameters", model.width, model.n, plan.parameters);
    let (done, total) = plan.steps;
    say!("batch     {} crops of {}x{} (width x height)", optimizer.batch, crop.width, crop.height);
    say!("steps     {} per epoch, {total} in all, {done} done", plan.steps_per_epoch);
    say!(
        "schedule  {:?}, warm-up to {:.1e} in {} steps, cosine to {:.1e}; gradients clipped at {}",
        optimizer.rule,
        optimizer.learning_rate,
        plan.warmup,
        optimizer.last_learning_rate,
        optimizer.clip
    );
    say!("compute   {}", config.compute);
}

fn say_measured(plan: &RunPlan, measured: &Measured) {
    let Measured { steps, step, waiting, peak, validation } = measured;
    say!("measured  {step:.2} s per step ({steps} steps), {waiting:.2} s of it waiting for data");
    say!(
        "memory    {:.2} GB at the peak of a step, without decoded photographs",
        *peak as f64 / 1e9
    );
    let (training, validating) = plan.seconds(measured);
    if let Some(validation) = validation {
        say!("          {validation:.2} s per validation pair, {} validations", plan.validations);
    }
    say!("time      {} of training, {} of validation", duration(training), duration(validating));
}
