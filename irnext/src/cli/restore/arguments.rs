//! The options of `irnext restore`.

use crate::cli::arguments::{COMPUTE, ComputeArguments, OUTPUT, SizingArguments, page};
use crate::cli::restorer::RestorerArguments;
use crate::error::Result;
use crate::image::WriteOptions;
use crate::jobs::{Naming, Output, STRENGTHS, Settings};
use crate::restorer::Restorer;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(
    override_usage = "irnext restore [OPTIONS] PHOTO...",
    after_help = "\
Examples:
  irnext foggy.jpg
      Detect the degradation and write, say, foggy.dehaze.jpg beside the photo
  irnext photos/ -o restored/
      Restore a folder, with its subfolders, into another one
  irnext --task derain --strength 0.7 wet.jpg -o dry.jpg
      Remove rain, a little less than fully

A photograph that seems clear gets no result, but is copied to --output if given. Photographs \
already restored are skipped."
)]
pub(in crate::cli) struct Arguments {
    /// Photographs, or folders of them; - is standard input
    #[arg(required_unless_present = "watch", value_name = "PHOTO")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) restorer: RestorerArguments,
    /// Strength of the restoration, 0 to 1.5: 0.5 halves the effect [default: 1]
    #[arg(
        long,
        value_name = "AMOUNT",
        default_value_t = 1.0,
        hide_default_value = true,
        allow_negative_numbers = true,
        value_parser = strength
    )]
    pub(super) strength: f32,
    /// Also write NAME.compare.EXT, with the photograph and its result side by side
    #[arg(long)]
    pub(super) compare: bool,
    /// Also write a page with all photographs, before and after; it needs no other file
    #[arg(long, value_name = "FILE.html", conflicts_with = "watch", value_parser = page)]
    pub(super) report: Option<PathBuf>,
    /// Also restore truncated files, as far as they can be read; an error in one photo never stops
    /// the others
    #[arg(long)]
    pub(super) keep_going: bool,
    /// Restore the photographs in this folder, and any added later, until Ctrl-C
    #[arg(long, value_name = "DIR", conflicts_with = "paths")]
    pub(super) watch: Option<PathBuf>,

    /// Output file (for one photograph) or folder; - is standard output [default: beside each
    /// photograph, as NAME.TASK.EXT]
    #[arg(short, long, value_name = "PATH", help_heading = OUTPUT)]
    pub(super) output: Option<PathBuf>,
    /// Name results NAME + SUFFIX + .EXT
    #[arg(
        long,
        value_name = "SUFFIX",
        value_parser = suffix,
        allow_hyphen_values = true,
        help_heading = OUTPUT
    )]
    pub(super) suffix: Option<String>,
    /// File format of results [default: that of the photograph; png or jpg if that is only read]
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = formats(),
        ignore_case = true,
        help_heading = OUTPUT
    )]
    pub(super) format: Option<String>,
    /// Quality of JPEG results, 1 to 100 [default: that of the photo, at least 90]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=100),
        help_heading = OUTPUT
    )]
    pub(super) quality: Option<u8>,
    /// Omit metadata such as date, place and camera
    #[arg(long, help_heading = OUTPUT)]
    pub(super) strip: bool,
    /// Replace existing results
    #[arg(long, help_heading = OUTPUT)]
    pub(super) overwrite: bool,
    /// Print one line of JSON for each file
    #[arg(long, help_heading = OUTPUT)]
    pub(super) json: bool,
    /// What many programs need to be told, and is always so here
    #[arg(short, long, hide = true)]
    recursive: bool,
    /// Print errors only
    #[arg(short, long, help_heading = OUTPUT)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) compute: ComputeArguments,
    /// Photographs to restore at once; they share the threads [default: several if small]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64),
        help_heading = COMPUTE
    )]
    pub(super) jobs: Option<u16>,
    #[command(flatten)]
    pub(super) sizing: SizingArguments,
}

/// A parser of the formats of results, by their extensions.
fn formats() -> impl TypedValueParser<Value = String> {
    let names: [&[&str]; 6] = [
        &["jpg", "jpeg", "jpe", "jfif"],
        &["png"],
        &["webp"],
        &["tif", "tiff"],
        &["bmp"],
        &["ppm", "pnm", "pgm", "pam"],
    ];
    let value = |names: &'static [&str]| PossibleValue::new(names[0]).aliases(&names[1..]);
    PossibleValuesParser::new(names.map(value)).map(|given| given.to_lowercase())
}

fn strength(given: &str) -> Result<f32, String> {
    match given.parse() {
        Ok(strength) if STRENGTHS.contains(&strength) => Ok(strength),
        _ => Err("the strength is a number from 0 to 1.5".into()),
    }
}

fn suffix(given: &str) -> Result<String, String> {
    match given.is_empty() || given.contains(std::path::is_separator) {
        true => Err("a suffix is part of a file's name, such as -clear".into()),
        false => Ok(given.into()),
    }
}

impl Arguments {
    /// Whether a photograph comes from standard input or goes to standard output.
    pub(super) fn streams(&self) -> bool {
        let is_dash = |path: &PathBuf| path == Path::new("-");
        self.paths.iter().any(is_dash) || self.output.as_ref().is_some_and(is_dash)
    }

    pub(super) fn settings(&self) -> Settings {
        let Self { strength, compare, overwrite, keep_going, quality, strip, .. } = *self;
        let pictures = self.report.is_some();
        let niqe = pictures || self.json;
        let write = WriteOptions { quality, strip };
        let only_whole = false;
        Settings { strength, compare, pictures, niqe, overwrite, keep_going, only_whole, write }
    }

    pub(super) fn naming(&self, restorer: &Restorer, several: bool) -> Naming {
        Naming {
            tasks: restorer.tasks().into_iter().map(String::from).collect(),
            output: self.output.clone().map(|output| Output::new(output, several)),
            suffix: self.suffix.clone(),
            extension: self.format.clone(),
            overwrite: self.overwrite,
            compare: self.compare,
        }
    }
}
