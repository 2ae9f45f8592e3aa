//! The `irnext` program: argument parsing, and a module for each command in [`irnext::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    irnext::cli::Cli::from_environment().run()
}
