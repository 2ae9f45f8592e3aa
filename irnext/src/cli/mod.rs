//! The program's commands, one file each. A command parses its arguments, calls the library and
//! prints. Results go to standard output, progress and errors to standard error.

mod auto;
mod convert;
mod devices;
mod doctor;
mod eval;
mod explain;
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

/// The heading of the options that say where and how to compute.
const COMPUTE: &str = "Compute options";
/// The heading of the options that say what to write, and where.
const OUTPUT: &str = "Output options";

/// Remove haze, rain, snow and blur from photographs
#[derive(Parser)]
#[command(
    name = "irnext",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  irnext restore foggy.jpg                  Restore a photo; writes foggy.dehaze.jpg
  irnext restore photos/ -o restored/       Restore a folder
  irnext train --recipe gopro --data GOPRO_Large --dry-run
                                            Show what training would take
  irnext eval GOPRO_Large --protocol gopro --weights run/weights.safetensors
                                            Score weights on a data set

`irnext COMMAND --help` describes a command. The network is IRNeXt (Cui et al., ICML 2023);
small trained weights are built in."
)]
pub struct Cli {
    /// Number of CPU threads (0 = RAYON_NUM_THREADS if set, else all physical cores, shared among
    /// MPI ranks)
    #[arg(long, global = true, default_value_t = 0, help_heading = COMPUTE)]
    threads: usize,
    /// Print the calls, time and speed of each operation at exit
    #[arg(long, global = true, help_heading = COMPUTE)]
    profile: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Remove haze, rain, snow or blur from photographs
    Restore(restore::Arguments),
    /// Score weights on pairs of degraded and clean photographs
    Eval(eval::Arguments),
    /// Check a data set for missing pairs, damaged files and training images in the test set
    Doctor(doctor::Arguments),
    /// Train a network
    Train(train::Arguments),
    /// Plot the training curves of one or more runs
    Plot(plot::Arguments),
    /// List the built-in training recipes, or print one
    Recipes(recipes::Arguments),
    /// Show a network's layers, parameters and multiply-adds
    Info(info::Arguments),
    /// Draw the feature maps inside a network
    Explain(explain::Arguments),
    /// List available devices
    Devices(devices::Arguments),
    /// Check the gradient of every operation against finite differences
    Gradcheck(gradcheck::Arguments),
    /// Degrade clean photographs, to make training or test pairs
    Synth(synth::Arguments),
    /// List a weight file's tensors, and any code its pickle would run
    Inspect(inspect::Arguments),
    /// Convert a weight file to another format or precision
    Convert(convert::Arguments),
}

impl Cli {
    /// Runs the command. Errors go to standard error.
    pub fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(true) => ExitCode::SUCCESS,
            // The errors have been printed already.
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

    /// Returns true if the command did all of its work.
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
            Command::Gradcheck(arguments) => gradcheck::run(&arguments),
            Command::Synth(arguments) => synth::run(&arguments).map(|()| true),
            Command::Inspect(arguments) => inspect::run(&arguments),
            Command::Convert(arguments) => convert::run(&arguments).map(|()| true),
        };
        // Inside the pool once, so that no operation has to enter it.
        pool.install(|| profile::profiled(self.profile, run))
    }
}

/// The number of threads, `asked` if it is not 0. A result of 0 lets rayon read its environment
/// variable.
///
/// Two threads on one core share its arithmetic units, which one of them keeps busy. Where the
/// process may use only part of the machine, more threads than that would take turns. The `here`
/// processes that were started together on this machine share its cores.
fn threads(asked: usize, here: usize) -> usize {
    if asked > 0 || std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return asked;
    }
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    (num_cpus::get_physical() / here).clamp(1, allowed)
}

/// Fails if `path` exists and may not be overwritten.
fn keep(path: &Path, overwrite: bool) -> Result<()> {
    match path.exists() && !overwrite {
        true => Err(Error::data(path, "already exists; --overwrite replaces it")),
        false => Ok(()),
    }
}

/// Prints a line to standard output. Unlike `println!` it ignores a closed pipe:
/// `irnext eval … | head` ends quietly, and a training run outlives its terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
use say;

/// The device and its precision.
#[derive(Args)]
struct ComputeArguments {
    /// Device: cpu, cuda or cuda:NUMBER (`irnext devices` lists them)
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu, help_heading = COMPUTE)]
    device: Device,
    /// Precision on a GPU: f32, tf32, bf16 or f16
    #[arg(
        long,
        value_name = "PRECISION",
        default_value = "f32",
        hide_possible_values = true,
        help_heading = COMPUTE
    )]
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

/// The weights: a file, or those built in for a task.
#[derive(Args)]
struct WeightArguments {
    /// Use the built-in weights for this task: dehaze, derain, desnow, deblur-motion or
    /// deblur-defocus
    #[arg(long, value_name = "TASK")]
    task: Option<crate::degrade::Task>,
    /// Use this weight file: safetensors, or PyTorch's .pkl or .pth
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

impl WeightArguments {
    /// The model and the name of its task, or "restore" if the file names none.
    fn load(&self) -> Result<(Model, String)> {
        let nothing = || Error::Config { reason: "give --task or --weights".into() };
        self.load_if_given()?.ok_or_else(nothing)
    }

    /// Like [`Self::load`], but none if neither option was given.
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
            (None, Some(task)) => write!(f, "built in, {task}"),
            (None, None) => f.write_str("none"),
        }
    }
}

/// The network, where no weights are needed.
#[derive(Args)]
struct ModelArguments {
    /// Network: tiny, dehaze, derain, desnow, gopro or defocus
    #[arg(long, default_value = "dehaze")]
    preset: Preset,
    /// Plain residual blocks in each CNNBlock, before the one with a multi-scale module
    #[arg(long)]
    n: Option<usize>,
    /// Channels at full resolution
    #[arg(long)]
    width: Option<usize>,
    /// Multi-scale modules (MSM) in each CNNBlock
    #[arg(long)]
    msm: Option<usize>,
    /// Channel groups of the local attention module (LAM)
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
