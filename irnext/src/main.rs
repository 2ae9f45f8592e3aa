//! The `irnext` program: argument parsing, and a module for each command in [`irnext::cli`].

#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    irnext::cli::Cli::parse().run()
}
