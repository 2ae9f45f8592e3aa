//! The program's commands, a file each. They parse, call the library, and print; results go to
//! standard output, progress and complaints to standard error.

mod arguments;
mod auto;
mod convert;
mod devices;
mod doctor;
mod eval;
mod explain;
mod gradcheck;
mod info;
mod inspect;
mod output;
mod plot;
mod profile;
mod recipes;
mod restore;
mod synth;
mod train;

use crate::distributed::launch::Launch;
use crate::error::{Error, Result};
use clap::{Parser, Subcommand};
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
/// may use only part of the machine, more threads than that would take turns. Of `local_size`
/// processes that were started together on this machine each takes its part.
fn threads(asked: usize, local_size: usize) -> usize {
    if asked > 0 || std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return asked;
    }
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    (num_cpus::get_physical() / local_size).clamp(1, allowed)
}
