//! `irnext inspect`: lists the contents of a weight file, without running any of it, and whether
//! they are an IRNeXt network.

use super::output::say;
use crate::error::Result;
use crate::model::{Model, strip_prefix};
use nn::shown;
use nn::weights::{Contents, TensorInfo, WeightFile, printable, read_bytes};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext inspect ITS.pkl
      List the tensors of a file, and the functions that its pickle would call
  irnext inspect model.safetensors --json
      The same as JSON")]
pub(super) struct Arguments {
    /// Weight file
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The result of reading the file.
struct Reading {
    /// The prefix of the published names.
    prefix: String,
    /// The network, or the reason why it is none.
    network: Result<String, String>,
    /// Whether the file can be read, whatever it holds.
    whole: bool,
}

/// Prints the contents; true if the file is whole and calls nothing unknown.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let origin = shown(&arguments.file).to_string();
    let bytes = read_bytes(&arguments.file)?;
    let contents = Contents::from_bytes(&origin, &bytes)?;
    let reading = read(&origin, &bytes);
    match arguments.json {
        true => say!("{}", to_json(&contents, &reading)),
        false => print(arguments, &contents, &reading),
    }
    Ok(reading.whole)
}

fn read(origin: &str, bytes: &[u8]) -> Reading {
    let mut file = match WeightFile::from_bytes(origin, bytes) {
        Ok(file) => file,
        Err(error) => {
            return Reading {
                prefix: String::new(),
                network: Err(error.to_string()),
                whole: false,
            };
        }
    };
    let prefix = strip_prefix(&mut file.tensors);
    let network = Model::from_file(origin, file)
        .and_then(|(model, _)| describe(&model))
        .map_err(|error| error.to_string());
    Reading { prefix, network, whole: true }
}

fn describe(model: &Model) -> Result<String> {
    let config = &model.config;
    let mut not_finite = 0;
    for entry in model.params.entries() {
        not_finite += entry.value.to_f64_vec()?.iter().filter(|value| !value.is_finite()).count();
    }
    let [lam, modulation] = [(config.lam, "LAM"), (config.modulation, "FM")]
        .map(|(there, name)| if there { String::new() } else { format!(", no {name}") });
    Ok(format!(
        "IRNeXt, n = {}, width {}, {} MSM{lam}{modulation}, G = {}, K = {}; {} parameters{}",
        config.n,
        config.width,
        config.msm,
        config.groups,
        config.kernel,
        model.params.count(),
        if not_finite > 0 {
            format!("; {not_finite} PARAMETERS ARE NOT FINITE")
        } else {
            String::new()
        },
    ))
}

fn print(arguments: &Arguments, contents: &Contents, Reading { prefix, network, .. }: &Reading) {
    say!("{}: {}", shown(&arguments.file), contents.format);
    if !contents.refused.is_empty() {
        say!(
            "refused: this pickle references callables not needed for weights (none were executed):"
        );
        contents.refused.iter().for_each(|call| say!("  {call}"));
    }
    match network {
        Ok(network) => say!("network: {network}"),
        Err(reason) if contents.refused.is_empty() => say!("not an IRNeXt network: {reason}"),
        Err(_) => say!("network: not checked"),
    }
    if !contents.path.is_empty() {
        say!("state dict: under {}", printable(&contents.path.join(" / ")));
    }
    if !prefix.is_empty() {
        say!("name prefix: {}", printable(prefix));
    }
    if !contents.beside.is_empty() {
        say!("other entries:");
        contents.beside.iter().for_each(|(key, value)| say!("  {key}: {value}"));
    }
    if contents.tensors.is_empty() {
        return;
    }
    let numbers = contents.tensors.iter().map(numel).fold(0, u128::saturating_add);
    say!("{} tensors of {numbers} elements ({}):", contents.tensors.len(), kinds(contents));
    for tensor in &contents.tensors {
        say!("  {:<52} {:>5} {:?}", printable(&tensor.name), tensor.dtype, tensor.shape);
    }
}

fn numel(tensor: &TensorInfo) -> u128 {
    tensor.shape.iter().fold(1, |n, &size| u128::saturating_mul(n, size as u128))
}

/// `244 f32 on cuda:0, 18 i64 on cuda:0`.
fn kinds(contents: &Contents) -> String {
    let mut kinds = BTreeMap::new();
    for tensor in &contents.tensors {
        let device = tensor
            .device
            .as_ref()
            .map(|device| format!(" on {}", printable(device)))
            .unwrap_or_default();
        *kinds.entry(format!("{}{device}", tensor.dtype)).or_insert(0) += 1;
    }
    kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn to_json(contents: &Contents, Reading { prefix, network, whole }: &Reading) -> serde_json::Value {
    let tensor = |tensor: &TensorInfo| {
        json!({
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "device": tensor.device,
        })
    };
    json!({
        "format": contents.format,
        "whole": whole,
        "refused": contents.refused,
        "network": network.as_ref().ok(),
        "mismatch": network.as_ref().err(),
        "path": contents.path,
        "prefix": prefix,
        "beside": contents.beside.iter().cloned().collect::<BTreeMap<_, _>>(),
        "tensors": contents.tensors.iter().map(tensor).collect::<Vec<_>>(),
    })
}
