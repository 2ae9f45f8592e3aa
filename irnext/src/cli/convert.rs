//! `irnext convert`: writes a weight file of the network in another format or precision, with
//! metadata.

use super::output::{check_overwrite, say};
use super::tasks::task_parser;
use crate::degrade::Task;
use crate::error::Result;
use crate::model::{Model, TASK, strip_prefix};
use engine::DType;
use nn::shown;
use nn::weights::WeightFile;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext convert ITS.pkl dehaze.safetensors --dtype f16
      From PyTorch to safetensors, in half precision
  irnext convert run/weights.safetensors model.pth --task derain --score psnr=38.39
      To PyTorch, with metadata
  irnext convert first/weights.safetensors mean.safetensors --mix second/weights.safetensors
      The mean of two runs")]
pub(super) struct Arguments {
    /// Weight file of an IRNeXt network to read: safetensors, or a file written by torch.save
    from: PathBuf,
    /// Weight file to write: .safetensors, or .pkl, .pth or .pt for PyTorch
    to: PathBuf,
    /// Precision to store: f16, bf16 or f32 [default: that of the input; f32 for f64]
    #[arg(long, hide_possible_values = true)]
    dtype: Option<StoredPrecision>,
    /// Weight file of the same network to mix with the first: the mean of two training runs from
    /// the same weights often has the strengths of both
    #[arg(long, value_name = "FILE", help_heading = MEAN)]
    mix: Option<PathBuf>,
    /// Share of that file in the mean, 0 to 1 [default: 0.5]
    #[arg(
        long,
        value_name = "SHARE",
        requires = "mix",
        default_value_t = 0.5,
        hide_default_value = true,
        help_heading = MEAN
    )]
    share: f64,
    /// Task to record
    #[arg(
        long,
        value_name = "TASK",
        value_parser = task_parser(),
        ignore_case = true,
        help_heading = METADATA
    )]
    task: Option<Task>,
    /// Training data set to record
    #[arg(long, value_name = "NAME", help_heading = METADATA)]
    dataset: Option<String>,
    /// Score to record, for instance psnr=38.39; may be repeated
    #[arg(
        long,
        value_name = "NAME=NUMBER",
        value_parser = parse_score,
        help_heading = METADATA
    )]
    score: Vec<(String, String)>,
    /// Overwrite an existing file
    #[arg(long)]
    overwrite: bool,
}

/// The heading of the options of the mean.
const MEAN: &str = "Mean of two files";

/// The heading of the options that describe the weights.
const METADATA: &str = "Metadata";

#[derive(Clone, Copy, clap::ValueEnum)]
enum StoredPrecision {
    F16,
    Bf16,
    F32,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let to = &arguments.to;
    check_overwrite(to, arguments.overwrite)?;
    let mut source = WeightFile::read(&arguments.from)?;
    strip_prefix(&mut source.tensors);
    let dtype = match arguments.dtype {
        Some(StoredPrecision::F16) => DType::F16,
        Some(StoredPrecision::Bf16) => DType::BF16,
        Some(StoredPrecision::F32) => DType::F32,
        None => precision(&source),
    };
    let is_count = |name: &str| name.ends_with(".num_batches_tracked");
    let counts = source.tensors.iter().filter(|(name, _)| is_count(name));
    let counts: Vec<_> = counts.map(|(name, count)| (name.clone(), count.clone())).collect();

    let (mut model, mut metadata) = Model::from_file(&shown(&arguments.from).to_string(), source)?;
    if let Some(other) = &arguments.mix {
        model = model.mixed_with(&Model::read(other)?.0, arguments.share)?;
    }
    let task = arguments.task.map(|task| (TASK.to_string(), task.to_string()));
    let dataset = arguments.dataset.iter().map(|name| ("irnext.dataset".to_string(), name.clone()));
    let scores =
        arguments.score.iter().map(|(name, value)| (format!("irnext.score.{name}"), value.clone()));
    metadata.extend(task.into_iter().chain(dataset).chain(scores));
    let mut file = model.to_file(dtype, metadata)?;
    // The model does not use PyTorch's counts of batches, but they belong to the file.
    for (name, count) in counts {
        if let Some(zero) = file.tensors.get_mut(&name).filter(|zero| zero.shape() == count.shape())
        {
            *zero = count.to_dtype(DType::I64)?;
        }
    }
    file.write(to)?;
    say!("wrote {} parameters in {dtype} to {}", model.params.count(), shown(&to));
    Ok(())
}

/// The precision of a file's weights.
fn precision(file: &WeightFile) -> DType {
    let short =
        |dtype: DType| file.tensors.values().filter(|tensor| tensor.dtype() == dtype).count();
    let floats = file.tensors.len() - short(DType::I64) - short(DType::U8);
    [DType::F16, DType::BF16]
        .into_iter()
        .find(|&dtype| short(dtype) == floats)
        .unwrap_or(DType::F32)
}

fn parse_score(text: &str) -> Result<(String, String), String> {
    let score = text
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && value.parse::<f64>().is_ok());
    score
        .map(|(name, value)| (name.into(), value.into()))
        .ok_or_else(|| "expected NAME=NUMBER".into())
}
