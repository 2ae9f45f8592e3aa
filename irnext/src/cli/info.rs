//! `irnext info`: the layers and costs of a network; or the costs of the paper's networks, beside
//! the published figures.

use super::arguments::{COMPUTE, ModelArguments, one_of};
use super::output::say;
use crate::compute::{Compute, Precision};
use crate::costs::tables::{Row, Table, printed, tables};
use crate::costs::{Costs, CountRule, PAPER_SIZE, layers};
use crate::error::Result;
use crate::model::Model;
use engine::{DType, Device, Tensor};
use nn::Cost;
use std::path::PathBuf;
use std::time::Instant;

const MEGA: u64 = 1_000_000;
const GIGA: u64 = 1_000_000_000;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext info
      Show the parameters and multiply-adds of the dehazing network
  irnext info --weights model.safetensors --layers
      List the layers of a weight file's network
  irnext info --preset gopro --size 512 --device cuda
      Measure a forward pass on a GPU
  irnext info --tables
      Compare the costs with the paper's")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Show the network of this weight file
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Side of the square input image, in pixels [default: 256]
    #[arg(long, value_name = "N", default_value_t = PAPER_SIZE, hide_default_value = true)]
    size: usize,
    /// Print one line per layer
    #[arg(long)]
    layers: bool,
    /// Measure the time and memory of a forward pass on this device: cpu, cuda or cuda:NUMBER
    #[arg(long, value_name = "DEVICE", help_heading = COMPUTE)]
    device: Option<Device>,
    /// Precision: f32, or the faster but less precise tf32, bf16 or f16 (GPU only) [default: f32]
    #[arg(
        long,
        value_name = "PRECISION",
        default_value = "f32",
        hide_default_value = true,
        value_parser = one_of(&Precision::ALL, Precision::name),
        hide_possible_values = true,
        help_heading = COMPUTE
    )]
    precision: Precision,
    /// Print the cost columns of the paper's tables, published figures beside ours
    #[arg(long, conflicts_with_all = [
        "preset", "n", "width", "msm", "groups", "weights", "size", "layers", "device",
    ])]
    tables: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.tables {
        return published();
    }
    let model = match &arguments.weights {
        Some(path) => Model::read(path)?.0,
        None => arguments.model.model()?,
    };
    let size = arguments.size;
    let layers = layers(&model, size)?;
    if arguments.layers {
        list(&layers);
    }
    let config = &model.config;
    let costs = Costs::of(&layers, CountRule::Main);
    let giga = |count: u64| count as f64 / GIGA as f64;
    say!("width {}, n = {}, {} MSM, {} groups", config.width, config.n, config.msm, config.groups);
    say!("parameters: {}", costs.parameters);
    say!("multiply-adds of convolutions at {size}×{size}: {:.3} G", giga(costs.convolutions));
    say!("multiply-adds of LAM's filters: {:.3} G", giga(costs.filters));
    say!("FLOPs as the paper counts them: {:.3} G", giga(costs.flops));
    match arguments.device {
        Some(device) => measure(model, Compute { device, precision: arguments.precision }, size),
        None => Ok(()),
    }
}

/// Measures a forward pass on a square image of side `size`: the best time of several, and the peak
/// memory.
fn measure(model: Model, compute: Compute, size: usize) -> Result<()> {
    const PASSES: usize = 5;
    let model = model.on(compute)?;
    let model = model.freeze().computing_in(compute.precision);
    let x = Tensor::full(&[1, 3, size, size], 0.5, DType::F32)?.to_device(compute.device)?;
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        compute.device.reset_peak()?;
        let start = Instant::now();
        model.predict(&x)?;
        compute.device.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let peak = compute.device.memory()?.peak as f64 / 1e6;
    say!("forward pass ({compute}): {:.1} ms, peak memory {peak:.0} MB", 1e3 * best);
    Ok(())
}

/// Prints a line for each use of a layer.
fn list(layers: &[Cost]) {
    let heads = ["output", "parameters", "M mult-adds", "M as counted"];
    say!(
        "{:<48} {:<20} {:>20} {:>11} {:>11} {:>12}",
        "layer",
        "kind",
        heads[0],
        heads[1],
        heads[2],
        heads[3]
    );
    for cost in layers {
        let (kind, output) = (cost.kind.to_string(), format!("{:?}", cost.output));
        let [true_count, counted] =
            [cost.multiply_adds(), CountRule::Main.flops(cost)].map(|n| n as f64 / MEGA as f64);
        say!(
            "{:<48} {kind:<20} {output:>20} {:>11} {true_count:>11.2} {counted:>12.2}",
            cost.path,
            cost.parameters
        );
    }
}

/// Prints the cost columns of the paper's tables.
fn published() -> Result<()> {
    let (mut figures, mut met) = (0, 0);
    for table in tables() {
        let Table { number, about, rule, rows } = &table;
        say!("Table {number}: {about}");
        say!(
            "{:<28}{:^25}  {:^25}  {:>10}  {:>8}",
            "",
            "parameters, M",
            "FLOPs, G",
            "mult-adds",
            "time, s"
        );
        let columns = format!("{:>6} {:>6} {:>11}", "paper", "ours", "exactly");
        say!("{:<28}{columns}  {columns}  {:>10}  {:>8}", "", "true, G", "paper");
        for row in rows {
            let costs = row.count(*rule)?;
            say!("{}", line(row, &costs));
            let pairs =
                [(Some(row.parameters), costs.parameters, MEGA), (row.flops, costs.flops, GIGA)];
            for (paper, count, unit) in
                pairs.into_iter().filter_map(|(paper, n, unit)| Some((paper?, n, unit)))
            {
                figures += 1;
                met += usize::from(paper == printed(count, unit));
            }
        }
        say!("");
    }
    say!(
        "{met} of {figures} figures come out as printed. FLOPs are for 256×256 and counted as the \
         paper counts: in Tables 6 and 13"
    );
    say!(
        "with LAM's global average and without its filter, in Tables 7, 8, 9 and 11 the other way \
         around."
    );
    say!(
        "True multiply-adds are those of the convolutions. Times are the paper's \
         measurements on a Tesla V100."
    );
    Ok(())
}

fn line(row: &Row, costs: &Costs) -> String {
    let (parameters, flops) = (printed(costs.parameters, MEGA), printed(costs.flops, GIGA));
    let exact = format!("{:.4}", costs.flops as f64 / GIGA as f64);
    let true_count = format!("{:.3}", costs.convolutions as f64 / GIGA as f64);
    format!(
        "  {:<26}{:>6} {parameters:>6} {:>11}  {:>6} {flops:>6} {exact:>11}  {true_count:>10}  \
         {:>8}",
        row.name,
        row.parameters,
        costs.parameters,
        row.flops.unwrap_or("–"),
        row.seconds.unwrap_or("–"),
    )
}
