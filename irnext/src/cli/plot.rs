//! `irnext plot`: the curves of training runs.

use super::output::{keep, say};
use crate::error::Result;
use crate::plot::{check_writable, read, write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Folders of training runs; several are drawn on top of each other
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The picture to write; its extension names the format, svg or one of photographs
    #[arg(short, long, value_name = "FILE", default_value = "curves.png")]
    output: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let output = &arguments.output;
    check_writable(output)?;
    keep(output, arguments.overwrite)?;
    let runs = read(&arguments.runs)?;
    write(&runs, output)?;
    say!("{}", output.display());
    Ok(())
}
