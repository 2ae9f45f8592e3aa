//! `irnext eval`: scores on pairs, the degraded input's beside the restored image's.

use super::WeightArguments;
use crate::data::{Paired, PhotoCache, Source};
use crate::error::Result;
use crate::image::Image;
use crate::metrics;
use crate::restore::restore;
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

/// PSNR in dB on RGB and on Y, and SSIM.
#[derive(Clone, Copy, Default)]
struct Scores([f64; 3]);

impl Scores {
    fn of(image: &Image, target: &Image) -> Result<Self> {
        Ok(Self([metrics::psnr(image, target)?, metrics::psnr_y(image, target)?, metrics::ssim(image, target)?]))
    }

    fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, value)| *sum += value);
    }

    fn scaled(self, by: f64) -> Self {
        Self(self.0.map(|value| value * by))
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let (model, _) = arguments.weights.load()?;
    let pairs = Paired::open(&arguments.input, &arguments.target, PhotoCache::new(0))?;
    let count = pairs.len().min(arguments.limit);
    println!("{:>8} {:>8} {:>7}   {:>8} {:>8} {:>7}   image", "PSNR", "PSNR-Y", "SSIM", "PSNR", "PSNR-Y", "SSIM");
    println!("{:^25}   {:^25}", "degraded", "restored");
    let (mut before, mut after) = (Scores::default(), Scores::default());
    for index in 0..count {
        let (input, target) = pairs.full(index)?;
        let (degraded, restored) = (Scores::of(&input, &target)?, Scores::of(&restore(&model, &input)?, &target)?);
        before.add(degraded);
        after.add(restored);
        print(degraded, restored, &pairs.name(index));
    }
    let mean = 1.0 / count.max(1) as f64;
    print(before.scaled(mean), after.scaled(mean), &format!("mean of {count}"));
    Ok(())
}

fn print(Scores(before): Scores, Scores(after): Scores, name: &str) {
    println!(
        "{:8.3} {:8.3} {:7.4}   {:8.3} {:8.3} {:7.4}   {name}",
        before[0], before[1], before[2], after[0], after[1], after[2]
    );
}
