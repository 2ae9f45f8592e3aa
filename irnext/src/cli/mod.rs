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
mod photo_first;
mod plot;
mod profile;
mod recipes;
mod restore;
mod restorer;
mod serve;
mod signals;
mod synth;
mod tasks;
mod train;

use crate::distributed::launch::LaunchInfo;
use crate::error::{Error, Result};
use arguments::{ADVANCED, COMPUTE};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use output::complain;
use std::process::ExitCode;

/// Remove haze, rain, snow and blur from photographs
#[derive(Parser)]
#[command(
    name = "irnext",
    // Also where the file of the program has another name: examples and pages use this one.
    bin_name = "irnext",
    version,
    max_term_width = 100,
    override_usage = "irnext [OPTIONS] PHOTO...\n       irnext COMMAND",
    after_help = "\
Examples:
  irnext foggy.jpg                          Restore a photo; writes foggy.dehaze.jpg
  irnext photos/ -o restored/               Restore a folder
  irnext train --recipe gopro --data GOPRO_Large --dry-run
                                            Show what training would take

The default command is `restore`. `irnext COMMAND --help` describes a command.
The network is IRNeXt (Cui et al., ICML 2023); small trained weights are built in."
)]
pub struct Cli {
    /// Processor cores to use [default: all physical cores, or RAYON_NUM_THREADS if that is set]
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = COMPUTE
    )]
    threads: usize,
    /// Print the time of each operation when done
    #[arg(long, global = true, help_heading = ADVANCED)]
    profile: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Remove haze, rain, snow or blur from photographs
    ///
    /// The photographs themselves are never changed. Folders are searched recursively; other files
    /// are skipped.
    Restore(restore::Arguments),
    /// Open a page to restore photographs in the browser
    Serve(serve::Arguments),
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
    /// Convert an IRNeXt network's weight file to another format or precision
    Convert(convert::Arguments),
    /// Print a script that completes commands and options in your shell
    Completions(completions::CompletionArguments),
    /// Print the manual page, or write the pages of all commands
    Man(completions::ManArguments),
}

impl Cli {
    /// The command line of this process. Ends it after --help, --version and misuse.
    pub fn from_environment() -> Self {
        let arguments = photo_first::with_command(std::env::args_os().collect(), &Self::command());
        Self::try_parse_from(arguments).unwrap_or_else(|mut error| {
            // For an unknown option, clap suggests to pass it as the name of a photograph.
            if error.kind() == ErrorKind::UnknownArgument {
                error.remove(ContextKind::Suggested);
            }
            error.exit()
        })
    }

    /// Runs the command. Errors go to standard error. Ends with 0 if all is done, 1 if something
    /// failed, 2 if the command line is invalid, and 128 + N after signal N.
    pub fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(true) => match output::lost() {
                None => ExitCode::SUCCESS,
                Some(reason) => {
                    complain!("{reason}");
                    ExitCode::FAILURE
                }
            },
            // The errors have been printed already.
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                complain!("{error}");
                match error {
                    // As shells report signals.
                    Error::Signal(signal) => {
                        u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
                    }
                    Error::Config { .. } => ExitCode::from(2),
                    _ => ExitCode::FAILURE,
                }
            }
        }
    }

    /// Returns true if the command did all of its work.
    fn try_run(self) -> Result<bool> {
        let launch = LaunchInfo::from_environment();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads(self.threads, launch.local_size)?)
            .build()
            .map_err(|error| Error::Config {
                reason: format!("--threads {}: {error}", self.threads),
            })?;
        let run = || match self.command {
            Command::Restore(arguments) => restore::run(&arguments, launch),
            Command::Serve(arguments) => serve::run(&arguments, launch).map(|()| true),
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
            Command::Synth(arguments) => synth::run(&arguments),
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

/// The variable that replaces the default number of threads, in all programs that use rayon.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// The number of threads: `asked`, or what the environment variable asks for, if it is not 0.
///
/// Two threads on one core share its arithmetic units, which one of them keeps busy. If the process
/// may use only part of the machine, additional threads would take turns. The `local_size`
/// processes that were started together on this machine share its cores.
fn threads(asked: usize, local_size: usize) -> Result<usize> {
    let (name, asked) = match std::env::var(VARIABLE) {
        Ok(value) if asked == 0 => (VARIABLE, value.trim().parse().unwrap_or(0)),
        _ => ("--threads", asked),
    };
    // More than this only take turns, and thousands bring a machine to a halt.
    let most = 4 * num_cpus::get();
    if asked > most {
        let cores = num_cpus::get();
        let reason = format!("{name} {asked}: this machine has {cores} cores; give at most {most}");
        return Err(Error::Config { reason });
    }
    if asked > 0 {
        return Ok(asked);
    }
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    Ok((num_cpus::get_physical() / local_size).clamp(1, allowed))
}
