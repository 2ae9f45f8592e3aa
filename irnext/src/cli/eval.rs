//! `irnext eval`: scores on pairs, the degraded input's beside the restored image's.

use super::WeightArguments;
use super::say;
use crate::data::{Paired, PhotoCache};
use crate::error::Result;
use crate::evaluate::{Scores, evaluate};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    weights: WeightArguments,
    /// A folder of degraded photographs
    #[arg(long, value_name = "DIR")]
    input: PathBuf,
    /// A folder of what they should be
    #[arg(long, value_name = "DIR")]
    target: PathBuf,
    /// Score only the first so many pairs
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let (model, _) = arguments.weights.load()?;
    let pairs = Paired::from_folders(&arguments.input, &arguments.target, PhotoCache::new(0))?;
    say!("{:^25}   {:^25}", "degraded", "restored");
    say!("{0:>8} {1:>8} {2:>7}   {0:>8} {1:>8} {2:>7}   image", "PSNR", "PSNR-Y", "SSIM");
    let mut count = 0;
    let (before, after) = evaluate(&model, &model.params.values(), &pairs, arguments.limit, |name, before, after| {
        print(before, after, name);
        count += 1;
    })?;
    print(before, after, &format!("mean of {count}"));
    Ok(())
}

fn print(before: Scores, after: Scores, name: &str) {
    let row = |s: Scores| format!("{:8.3} {:8.3} {:7.4}", s.psnr, s.psnr_y, s.ssim);
    say!("{}   {}   {name}", row(before), row(after));
}
