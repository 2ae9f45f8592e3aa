//! The program's commands, a file each. They parse, call the library, and print; results go to
//! standard output, progress and complaints to standard error.

mod auto;
mod convert;
mod devices;
mod doctor;
mod eval;
mod explain;
#[cfg(feature = "checks")]
mod gradcheck;
mod info;
mod inspect;
mod plot;
mod profile;
mod recipes;
mod restore;
mod synth;
mod train;

use crate::compute::{Compute, Precision};
use crate::distributed::launch::Launched;
use crate::error::{Error, Result};
use crate::model::{Model, ModelConfig, Preset};
use crate::shipped;
use clap::{Args, Parser, Subcommand};
use engine::{DType, Device};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Removes haze, rain, snow and blur from photographs with IRNeXt (Cui et al., ICML 2023).
#[derive(Parser)]
#[command(name = "irnext", version, about, max_term_width = 100)]
pub struct Cli {
    /// Threads to compute with; 0, one for each physical core (or as many as RAYON_NUM_THREADS
    /// says), of which processes started by mpirun or srun each take their part
    #[arg(long, global = true, default_value_t = 0)]
    threads: usize,
    /// Say, when done, how often each operation ran, how long it took, and how fast it computed
    #[arg(long, global = true)]
    profile: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Restore photographs
    Restore(restore::Arguments),
    /// Score weights on pairs of degraded and clean photographs
    Eval(eval::Arguments),
    /// Look through a data set: pairs, counts, sizes, damaged files, ground truth shared by
    /// training and test
    Doctor(doctor::Arguments),
    /// Train a network
    Train(train::Arguments),
    /// Draw the curves of training runs
    Plot(plot::Arguments),
    /// List the training recipes inside the program, or print one
    Recipes(recipes::Arguments),
    /// Show a network's layers, parameters and multiply-adds
    Info(info::Arguments),
    /// Write pictures of what happens inside a network
    Explain(explain::Arguments),
    /// List what there is to compute on
    Devices(devices::Arguments),
    /// Check every operation's gradient against finite differences
    #[cfg(feature = "checks")]
    Gradcheck(gradcheck::Arguments),
    /// Write degraded versions of clean photographs
    Synth(synth::Arguments),
    /// Show what a weight file holds, and what it would call
    Inspect(inspect::Arguments),
    /// Write a weight file in another format or precision
    Convert(convert::Arguments),
}

impl Cli {
    /// Runs the command; complaints go to standard error.
    pub fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(true) => ExitCode::SUCCESS,
            // What failed has been said already.
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("irnext: {error}");
                match error {
                    // As a shell reports it.
                    Error::Signal(signal) => {
                        u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
                    }
                    _ => ExitCode::FAILURE,
                }
            }
        }
    }

    /// Whether everything that was asked for was done.
    fn try_run(self) -> Result<bool> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads(self.threads, Launched::by_environment().here))
            .build()
            .map_err(|error| Error::Config {
                reason: format!("--threads {}: {error}", self.threads),
            })?;
        let run = || match self.command {
            Command::Restore(arguments) => restore::run(&arguments),
            Command::Eval(arguments) => eval::run(&arguments).map(|()| true),
            Command::Doctor(arguments) => doctor::run(&arguments),
            Command::Train(arguments) => train::run(&arguments).map(|()| true),
            Command::Plot(arguments) => plot::run(&arguments).map(|()| true),
            Command::Recipes(arguments) => recipes::run(&arguments).map(|()| true),
            Command::Info(arguments) => info::run(&arguments).map(|()| true),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Devices(arguments) => devices::run(&arguments).map(|()| true),
            #[cfg(feature = "checks")]
            Command::Gradcheck(arguments) => gradcheck::run(&arguments),
            Command::Synth(arguments) => synth::run(&arguments).map(|()| true),
            Command::Inspect(arguments) => inspect::run(&arguments),
            Command::Convert(arguments) => convert::run(&arguments).map(|()| true),
        };
        // Inside the pool once, so that no operation has to enter it.
        pool.install(|| profile::profiled(self.profile, run))
    }
}

/// How many threads to make if `asked` for so many; 0 lets rayon ask its environment variable.
///
/// Two threads on one core share its arithmetic units, which one keeps busy; and where the process
/// may use only part of the machine, more threads than that would take turns. Of `here` processes
/// that were started together on this machine each takes its part.
fn threads(asked: usize, here: usize) -> usize {
    if asked > 0 || std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return asked;
    }
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    (num_cpus::get_physical() / here).clamp(1, allowed)
}

/// Refuses to replace what is at `path`, unless that was asked for.
fn keep(path: &Path, overwrite: bool) -> Result<()> {
    match path.exists() && !overwrite {
        true => Err(Error::data(path, "is there already; --overwrite replaces it")),
        false => Ok(()),
    }
}

/// Prints a line to standard output. Unlike `println!` it does not mind if nobody reads on:
/// `irnext eval … | head` ends quietly, and a training run outlives its terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
use say;

/// Where to compute, and how precisely.
#[derive(Args)]
struct ComputeArguments {
    /// What to compute on: cpu, cuda or cuda:NUMBER (see `irnext devices`)
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
    /// How precisely a GPU computes
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: Precision,
}

impl ComputeArguments {
    fn compute(&self) -> Compute {
        Compute {
            device: Launched::by_environment().device(self.device),
            precision: self.precision,
        }
    }
}

/// Which weights to use: a file, or those inside the program for a task.
#[derive(Args)]
struct WeightArguments {
    /// What to remove; uses the weights inside the program
    #[arg(long, value_name = "TASK")]
    task: Option<crate::degrade::Task>,
    /// A weight file to use instead: safetensors, or PyTorch's .pkl and .pth
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

impl WeightArguments {
    /// The model, and what to call its work: the task, or "restore" if the file does not say.
    fn load(&self) -> Result<(Model, String)> {
        let nothing = || Error::Config { reason: "give --task or --weights".into() };
        self.load_if_given()?.ok_or_else(nothing)
    }

    /// As [`Self::load`], where one can do without.
    fn load_if_given(&self) -> Result<Option<(Model, String)>> {
        let ((model, metadata), task) = match (&self.weights, self.task) {
            (Some(path), task) => (Model::read(path)?, task),
            (None, Some(task)) => (shipped::load(task)?, Some(task)),
            (None, None) => return Ok(None),
        };
        let name =
            task.map(|task| task.to_string()).or_else(|| metadata.get(crate::model::TASK).cloned());
        Ok(Some((model, name.unwrap_or_else(|| "restore".into()))))
    }
}

impl std::fmt::Display for WeightArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.weights, self.task) {
            (Some(path), _) => write!(f, "{}", path.display()),
            (None, Some(task)) => write!(f, "those inside the program for {task}"),
            (None, None) => f.write_str("none"),
        }
    }
}

/// Which network, where no weights are needed.
#[derive(Args)]
struct ModelArguments {
    /// The network: tiny, dehaze, derain, desnow, gopro or defocus
    #[arg(long, default_value = "dehaze")]
    preset: Preset,
    /// Residual blocks in each CNNBlock before the last
    #[arg(long)]
    n: Option<usize>,
    /// Channels at full size
    #[arg(long)]
    width: Option<usize>,
    /// Multi-scale modules in each CNNBlock
    #[arg(long)]
    msm: Option<usize>,
    /// Groups of LAM's filters
    #[arg(long)]
    groups: Option<usize>,
}

impl ModelArguments {
    fn model(&self) -> Result<Model> {
        let preset = ModelConfig::preset(self.preset);
        let config = ModelConfig {
            n: self.n.unwrap_or(preset.n),
            width: self.width.unwrap_or(preset.width),
            msm: self.msm.unwrap_or(preset.msm),
            groups: self.groups.unwrap_or(preset.groups),
            ..preset
        };
        Model::new(&config, 0, DType::F32)
    }
}
