//! `irnext train`: a run from a TOML file.

use super::say;
use crate::compute::{Compute, Precision};
use crate::error::{Error, Result};
use crate::train::{Ended, Event, TrainConfig, Trainer, Validation};
use engine::Device;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run's configuration
    #[arg(value_name = "CONFIG.TOML")]
    config: PathBuf,
    /// Another value for a setting, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What to compute on, whatever the configuration says: cpu, cuda or cuda:NUMBER
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
    /// How precisely a GPU computes, whatever the configuration says
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precision>,
    /// Print the configuration with every value, and stop
    #[arg(long)]
    show: bool,
    /// Stop after this many minutes, with a checkpoint; the same command goes on from there
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut config = TrainConfig::read(&arguments.config, &arguments.overrides)?;
    let Compute { device, precision } = &mut config.compute;
    *device = arguments.device.unwrap_or(*device);
    *precision = arguments.precision.unwrap_or(*precision);
    let device = *device;
    if arguments.show {
        say!("{}", config.to_toml()?.trim_end());
        return Ok(());
    }
    let batch = config.optimiser.batch;
    let out = config.out.clone();
    let signals = Signals::watch()?;
    let mut trainer = Trainer::open(config)?;
    trainer.stop_when(signals.stop.clone());
    if let Some(note) = trainer.note() {
        eprintln!("irnext: {note}");
    }
    let (done, total) = trainer.steps();
    say!("{} parameters, {total} steps, {done} of them done", trainer.model().params.count());

    let bar = ProgressBar::new(total).with_position(done);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let start = Instant::now();
    let mut mean_loss = None;
    let ended = trainer.run(|event| {
        match event {
            Event::Step(step) => {
                let mean: &mut f64 = mean_loss.get_or_insert(step.loss);
                *mean += 0.05 * (step.loss - *mean);
                let images = (step.step - done) as f64 * batch as f64 / start.elapsed().as_secs_f64();
                let peak = device.memory().map_or(0, |memory| memory.peak) as f64 / 1e9;
                let (loss, rate, norm) = (*mean, step.rate, step.gradient_norm);
                bar.set_message(format!(
                    "loss {loss:.4} lr {rate:.1e} |g| {norm:.3} {images:.2} images/s {peak:.2} GB"
                ));
                bar.set_position(step.step);
                if step.skipped {
                    bar.println(format!("step {}: the loss is not finite; the step was skipped", step.step));
                }
                // A log for those who do not watch: a line now and then.
                if bar.is_hidden() && (step.step % 50 == 0 || step.step == total) {
                    say!("step {} loss {loss:.4} lr {rate:.2e} {images:.2} images/s", step.step);
                }
            }
            Event::Validation(Validation { step, psnr, ssim }) => {
                let line = format!("step {step}: validation {psnr:.3} dB, SSIM {ssim:.4}");
                if bar.is_hidden() { say!("{line}") } else { bar.println(line) }
            }
        }
        arguments.minutes.is_none_or(|minutes| start.elapsed().as_secs_f64() < 60.0 * minutes)
    });
    bar.finish_and_clear();
    if let Err(error) = ended {
        if let Some(step) = trainer.saved() {
            eprintln!("irnext: step {step} is saved in {}; the same command goes on from there", out.display());
        }
        return Err(error);
    }
    let (done, total) = trainer.steps();
    let peak = device.memory()?.peak as f64 / 1e9;
    say!(
        "{done} of {total} steps done, {:.1} min, {peak:.2} GB at most, in {}",
        start.elapsed().as_secs_f64() / 60.0,
        out.display()
    );
    match signals.last() {
        Some(signal) if ended.is_ok_and(|ended| ended == Ended::Stopped) => Err(Error::Signal(signal)),
        _ => Ok(()),
    }
}

/// The signals that ask a program to end, which a run obeys when it has saved.
struct Signals {
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    fn watch() -> Result<Self> {
        let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // Whoever asks twice does not want to wait. First, so that the first signal does not meet its own flag.
            flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())
                .and_then(|_| flag::register_usize(signal, number.clone(), signal as usize))
                .and_then(|_| flag::register(signal, stop.clone()))
                .map_err(|error| Error::Config { reason: format!("signals cannot be watched: {error}") })?;
        }
        Ok(Self { stop, number })
    }

    /// The signal that came last.
    fn last(&self) -> Option<i32> {
        i32::try_from(self.number.load(Ordering::Relaxed)).ok().filter(|&number| number != 0)
    }
}
