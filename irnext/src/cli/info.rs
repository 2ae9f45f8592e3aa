//! `irnext info`: what a network consists of and costs.

use super::ModelArguments;
use super::say;
use crate::error::{Error, Result};
use crate::model::Model;
use engine::{DType, Tensor};
use nn::{Context, Cost};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A weight file whose network to show
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Side of the image that the multiply-adds are counted for, pixels
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// A line for each layer
    #[arg(long)]
    layers: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let model = match &arguments.weights {
        Some(path) => Model::read(path)?.0,
        None => arguments.model.model()?,
    };
    let size = arguments.size;
    if size > 4096 {
        return Err(Error::Config { reason: format!("--size must be at most 4096, got {size}") });
    }
    let costs = costs(&model, size)?;
    if arguments.layers {
        say!("{:<48} {:<22} {:>20} {:>11} {:>10}", "layer", "kind", "output", "parameters", "M mult-adds");
        for cost in &costs {
            let output = format!("{:?}", cost.output);
            let mega = cost.multiply_adds as f64 / 1e6;
            say!("{:<48} {:<22} {output:>20} {:>11} {mega:>10.2}", cost.path, cost.kind, cost.parameters);
        }
    }
    let config = &model.config;
    say!("width {}, n = {}, {} MSM, {} groups", config.width, config.n, config.msm, config.groups);
    say!("parameters: {}", model.params.count());
    let total: u64 = costs.iter().map(|cost| cost.multiply_adds).sum();
    say!("multiply-adds of convolutions at {size}×{size}: {:.3} G", total as f64 / 1e9);
    Ok(())
}

/// What each layer costs on one image of `size`².
fn costs(model: &Model, size: usize) -> Result<Vec<Cost>> {
    let cx = Context::inference(&model.params);
    cx.count_costs();
    model.network.forward(&cx, &Tensor::zeros(&[1, 3, size, size], DType::F32))?;
    Ok(cx.finish().costs)
}
