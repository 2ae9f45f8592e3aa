//! Our side of the comparison with other engines (`benches/peers`): makes the weights and the batch
//! that everybody computes with, and computes with them when told to, on the line protocol of
//! `benches/peers/worker.py`.
//!
//! ```text
//! irnext-worker make --n 3 --width 32 --size 1x256x256 DIR
//! irnext-worker serve --threads 2 infer DIR
//! ```

use clap::{Parser, ValueEnum};
use engine::{DType, Device, Rng, Tensor};
use irnext::compute::{Compute, Precision};
use irnext::model::{LossConfig, Model, ModelConfig};
use irnext::train::{LOSS_SCALE, StepSettings, TrainingState};
use nn::optim::Rule;
use nn::weights::WeightFile;
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The files of a case's folder.
const WEIGHTS: &str = "weights.safetensors";
const BATCH: &str = "batch.safetensors";

/// Adam's learning rate; `worker.py` has the same.
const RATE: f64 = 1e-4;

/// The seed of everything random.
const SEED: u64 = 1;

/// One side of a comparison of engines: makes the case, and computes it when told to.
#[derive(Parser)]
#[command(max_term_width = 100)]
enum Command {
    /// Write weights.safetensors, and a batch of inputs and targets as batch.safetensors, into a
    /// folder
    Make {
        /// Plain residual blocks in each CNNBlock
        #[arg(long)]
        n: usize,
        /// Channels at full size
        #[arg(long)]
        width: usize,
        /// Batch, height and width, as 4x256x256; height and width are padded to the size that the
        /// network takes
        #[arg(long, value_parser = size)]
        size: [usize; 3],
        folder: PathBuf,
    },
    /// Obey the lines of standard input: warm, run, output PATH, memory
    Serve {
        /// Threads to compute with
        #[arg(long)]
        threads: usize,
        /// Device: cpu, cuda or cuda:NUMBER
        #[arg(long, default_value_t = Device::Cpu)]
        device: Device,
        /// How precisely a GPU computes
        #[arg(long, default_value = "f32")]
        precision: Precision,
        task: Task,
        folder: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Task {
    /// One pass from input to prediction
    Infer,
    /// One step of training: forward, loss, backward, Adam
    Train,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Make { n, width, size, folder } => {
            make(&ModelConfig { n, width, ..ModelConfig::default() }, size, &folder)
        }
        Command::Serve { threads, device, precision, task, folder } => {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .map_err(Into::into)
                // Inside the pool once, as the program does it.
                .and_then(|pool| {
                    let compute = Compute { device, precision };
                    pool.install(|| {
                        serve(task, &folder, compute).map_err(|error| error.to_string())
                    })
                    .map_err(Into::into)
                })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The measured work: the program's own way from a padded photograph to its prediction, and from a
/// batch to the next weights.
fn serve(task: Task, folder: &Path, compute: Compute) -> Result<()> {
    let (model, _) = Model::read(&folder.join(WEIGHTS))?;
    let model = model.on(compute)?;
    let mut batch = WeightFile::read(&folder.join(BATCH))?.tensors;
    let mut take =
        |name: &str| batch.remove(name).ok_or_else(|| format!("{BATCH}: no tensor {name}"));
    let (input, target) =
        (take("input")?.to_device(compute.device)?, take("target")?.to_device(compute.device)?);
    match task {
        Task::Infer => {
            let model = model.freeze().computing_in(compute.precision);
            obey(compute.device, || Ok(model.predict(&input)?))
        }
        Task::Train => {
            let settings = StepSettings {
                loss: LossConfig::default(),
                precision: compute.precision,
                rate: RATE,
                limit: f64::INFINITY,
                loss_scale: (compute.precision == Precision::F16).then_some(LOSS_SCALE),
            };
            let mut state = TrainingState::new(model, Rule::adam(), 0.0)?;
            let mut losses = Vec::new();
            obey(compute.device, || {
                losses.push(state.step(input.clone(), target.clone(), settings)?.loss as f32);
                Ok(Tensor::from_slice(&losses, &[losses.len()])?)
            })
        }
    }
}

/// Runs `work` as often as standard input says. Only its last result can be requested: a
/// prediction, or the losses of all steps.
fn obey(device: Device, mut work: impl FnMut() -> Result<Tensor>) -> Result<()> {
    let mut last = None;
    say(&format!("ready {}", env!("CARGO_PKG_VERSION")));
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((line.trim(), "")) {
            ("warm" | "run", "") => {
                let (output, seconds) = device.timed(&mut work)?;
                last = Some(output);
                say(&format!("{:.3}", 1e3 * seconds));
            }
            ("output", path) => {
                let output = last.clone().ok_or("nothing was computed yet")?;
                write(Path::new(path), [("output", output)])?;
                say("ok");
            }
            ("memory", "") => say(&format!("{:.1}", peak_memory())),
            _ => return Err(format!("unknown command: {line}").into()),
        }
    }
    Ok(())
}

/// The process's peak resident memory in MiB; 0 where the system does not tell.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok()
    });
    peak.unwrap_or(0.0) / 1024.0
}

fn make(config: &ModelConfig, [n, height, width]: [usize; 3], folder: &Path) -> Result<()> {
    let mut weights = Model::new(config, SEED, DType::F32)?.to_file(DType::F32, HashMap::new())?;
    // In the order of names: the same numbers every time.
    let mut names: Vec<String> = weights.tensors.keys().cloned().collect();
    names.sort();
    let mut rng = Rng::new(SEED);
    for name in names {
        if let Some((low, high)) = away_from_the_start(&name) {
            let shape = weights.tensors[&name].shape().to_vec();
            weights
                .tensors
                .insert(name, Tensor::rand(&shape, low, high, DType::F32, &mut rng).unwrap());
        }
    }
    weights.write(&folder.join(WEIGHTS))?;
    let shape = [n, 3, config.side_for(height), config.side_for(width)];
    let mut image = || Tensor::rand(&shape, 0.0, 1.0, DType::F32, &mut rng).unwrap();
    write(&folder.join(BATCH), [("input", image()), ("target", image())])
}

/// The range of those parameters that start at 0 or 1, where they would hide a mistake: a fresh LAM
/// is the identity.
fn away_from_the_start(name: &str) -> Option<(f64, f64)> {
    let normalizes =
        name.contains(".bn.") || (name.starts_with("SCM") && name.contains(".main.4."));
    match name.rsplit_once('.')?.1 {
        "lamb_l" | "lamb_h" | "inside_all" => Some((-0.5, 0.5)),
        "running_mean" => Some((-0.1, 0.1)),
        "running_var" => Some((0.5, 1.5)),
        "weight" if normalizes => Some((0.5, 1.5)),
        "bias" if normalizes => Some((-0.5, 0.5)),
        _ => None,
    }
}

fn write<const N: usize>(path: &Path, tensors: [(&str, Tensor); N]) -> Result<()> {
    let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).into();
    Ok(WeightFile { tensors, ..WeightFile::default() }.write(path)?)
}

fn size(text: &str) -> std::result::Result<[usize; 3], String> {
    let sides = text
        .split('x')
        .map(|side| side.parse().ok().filter(|&side| side > 0))
        .collect::<Option<Vec<usize>>>();
    sides
        .and_then(|sides| sides.try_into().ok())
        .ok_or_else(|| "expected batch, height and width, as 4x256x256".into())
}

/// A line of the protocol. That nobody listens any more is noticed at the end of standard input.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
