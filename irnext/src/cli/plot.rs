//! `irnext plot`: plots the curves of training runs, or makes a page of them.

use super::output::{check_overwrite, say};
use crate::error::Result;
use crate::plot::{check_writable, read, write};
use nn::shown;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext plot runs/gopro
      Plot the loss and the validation scores of a run, to curves.png
  irnext plot runs/first runs/second -o both.svg
      Compare two runs
  irnext plot runs/first runs/second -o both.html
      A page with curves, samples over time and settings")]
pub(super) struct Arguments {
    /// Folders of training runs, drawn in one plot
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// File to write; its extension sets the format: html, svg, png, jpg, ... [default:
    /// curves.png]
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "curves.png",
        hide_default_value = true
    )]
    output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let output = &arguments.output;
    check_writable(output)?;
    check_overwrite(output, arguments.overwrite)?;
    let runs = read(&arguments.runs)?;
    write(&runs, output)?;
    say!("{}", shown(&output));
    Ok(())
}
