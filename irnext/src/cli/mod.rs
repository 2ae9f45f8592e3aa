//! The program's commands, one file each. A command parses its arguments, calls the library and
//! prints. Results go to standard output, progress and errors to standard error.

mod arguments;

mod completions;
mod convert;
mod devices;
mod doctor;
mod eval;
mod explain;
#[cfg(feature = "checks")]
mod gradcheck;
mod info;
mod inspect;
mod output;
mod plot;
mod profile;
mod recipes;
mod restore;
mod restorer;
mod synth;
mod train;

use crate::distributed::launch::Launch;
use crate::error::{Error, Result};
use arguments::COMPUTE;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

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
    #[cfg(feature = "checks")]
    Gradcheck(gradcheck::Arguments),
    /// Degrade clean photographs, to make training or test pairs
    Synth(synth::Arguments),
    /// List a weight file's tensors, and any code its pickle would run
    Inspect(inspect::Arguments),
    /// Convert a weight file to another format or precision
    Convert(convert::Arguments),
    /// Print a script that completes commands and options in your shell
    Completions(completions::CompletionArguments),
    /// Print the manual page, or write the pages of all commands
    Man(completions::ManArguments),
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
                    // As shells report signals.
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
        let launch = Launch::from_environment();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads(self.threads, launch.local_size))
            .build()
            .map_err(|error| Error::Config {
                reason: format!("--threads {}: {error}", self.threads),
            })?;
        let run = || match self.command {
            Command::Restore(arguments) => restore::run(&arguments, launch),
            Command::Eval(arguments) => eval::run(&arguments, launch).map(|()| true),
            Command::Doctor(arguments) => doctor::run(&arguments),
            Command::Train(arguments) => train::run(&arguments, launch).map(|()| true),
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
            Command::Completions(arguments) => {
                completions::completions(&arguments, Self::command()).map(|()| true)
            }
            Command::Man(arguments) => completions::man(&arguments, Self::command()).map(|()| true),
        };
        // Inside the pool once, so that no operation has to enter it.
        pool.install(|| profile::profiled(self.profile, run))
    }
}

/// The number of threads, `asked` if it is not 0. A result of 0 lets rayon read its environment
/// variable.
///
/// Two threads on one core share its arithmetic units, which one of them keeps busy. If the process
/// may use only part of the machine, additional threads would take turns. The `local_size`
/// processes that were started together on this machine share its cores.
fn threads(asked: usize, local_size: usize) -> usize {
    if asked > 0 || std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return asked;
    }
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    (num_cpus::get_physical() / local_size).clamp(1, allowed)
}
