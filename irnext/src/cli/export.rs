//! `irnext export`: a weight file in another precision.

use super::say;
use crate::error::{Error, Result};
use crate::model::Model;
use engine::DType;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The weight file to read
    from: PathBuf,
    /// The weight file to write
    to: PathBuf,
    /// Precision of the numbers
    #[arg(long, default_value = "f16")]
    dtype: Precision,
    /// Replace the file if it is there already
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Precision {
    F16,
    Bf16,
    F32,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.to.exists() && !arguments.overwrite {
        return Err(Error::Config {
            reason: format!("{} is there already; --overwrite replaces it", arguments.to.display()),
        });
    }
    let (model, metadata) = Model::read(&arguments.from)?;
    let dtype = match arguments.dtype {
        Precision::F16 => DType::F16,
        Precision::Bf16 => DType::BF16,
        Precision::F32 => DType::F32,
    };
    let file = model.to_file(dtype, metadata)?;
    file.write(&arguments.to)?;
    say!("{} numbers in {dtype} to {}", model.params.count(), arguments.to.display());
    Ok(())
}
