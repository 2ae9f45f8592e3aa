//! Layers with parameters: normalization, LAM, MSM, ResBlock, ConvS.

use crate::reference::Tensors;
use engine::{DType, Tape, Tensor};
use irnext::model::{Lam, ModelConfig, Msm, ResBlock, conv_s};
use nn::layers::{BatchNorm2d, InstanceNorm2d, Module};
use nn::{Builder, Context, EntryKind, Mode, Params};

/// `lam_…`, `msm_…`, `resblock_…`, `convs_…`: parameters under `param.` and `buffer.`, results
/// under `grad.` and `buffer_after.`.
pub fn block(name: &str, case: &Tensors) -> Tensors {
    let shape = |name: &str| case.get(&format!("param.{name}")).map(Tensor::shape);
    // Scores are G·K² channels.
    let scores = ["conv", "dynas.0.conv", "main.1.dynas.0.conv"]
        .iter()
        .find_map(|path| shape(&format!("{path}.weight")));
    let config =
        ModelConfig { groups: scores.map_or(8, |scores| scores[0] / 9), ..ModelConfig::default() };
    let channels = case["y"].shape()[1];
    let kind = name.split('_').next().unwrap_or(name);
    match kind {
        "lam" => {
            run(name, case, |b| Lam::new(b, &config, channels), |lam, cx, x| lam.forward(cx, x, x))
        }
        "msm" => run(name, case, |b| Msm::new(b, &config, channels), Msm::forward),
        "resblock" => {
            let msm = usize::from(shape("main.1.conv_sum.weight").is_some());
            run(name, case, |b| ResBlock::new(b, &config, channels, msm), ResBlock::forward)
        }
        "convs" => run(name, case, |b| conv_s(b, channels), Module::forward),
        _ => panic!("{name}: nothing here computes this block"),
    }
}

/// `bn_…` and `instnorm`: the same with shorter names.
pub fn norm_layer(name: &str, case: &Tensors) -> Tensors {
    let mut renamed = Tensors::new();
    for (key, tensor) in case {
        let key = match key.as_str() {
            "weight" | "bias" => format!("param.{key}"),
            "running_mean" | "running_mean_before" => "buffer.running_mean".into(),
            "running_var" | "running_var_before" => "buffer.running_var".into(),
            other => other.to_string(),
        };
        renamed.insert(key, tensor.clone());
    }
    let channels = case["weight"].numel();
    let found = match name.starts_with("bn") {
        true => run(name, &renamed, |b| BatchNorm2d::new(b, channels), Module::forward),
        false => run(name, &renamed, |b| InstanceNorm2d::affine(b, channels), Module::forward),
    };
    let short = |key: &str| match key.strip_prefix("buffer_after.") {
        Some(buffer) => format!("{buffer}_after"),
        None => key.replace("grad.", "grad_"),
    };
    found.into_iter().map(|(key, tensor)| (short(&key), tensor)).collect()
}

/// The block with the case's numbers, forwards and backwards; in training if the case's name says
/// so.
fn run<M>(
    name: &str,
    case: &Tensors,
    build: impl FnOnce(&mut Builder<'_>) -> M,
    forward: impl Fn(&M, &Context, &Tensor) -> nn::Result<Tensor>,
) -> Tensors {
    let (block, mut params) = Params::build(0, DType::F64, |b| Ok(build(b))).unwrap();
    let given = |key: &str| {
        Some(key.strip_prefix("param.").or_else(|| key.strip_prefix("buffer."))?.to_string())
    };
    let values =
        case.iter().filter_map(|(key, tensor)| Some((given(key)?, tensor.clone()))).collect();
    params.load(name, &values).unwrap();

    let mode = if name.contains("train") { Mode::Train } else { Mode::Eval };
    let tape = Tape::new();
    let x = tape.leaf(&case["x"]);
    let cx = Context::new(&params, mode, Some(&tape));
    let y = forward(&block, &cx, &x).unwrap();
    let mut gradients = tape.backward_from(&[&y], vec![case.get("gy").cloned()]).unwrap();
    let mut found = Tensors::from([("y".to_string(), y.detach())]);
    found.extend(gradients.take(&x).map(|gradient| ("grad_x".to_string(), gradient)));
    let pass = cx.finish();
    for (entry, gradient) in params.entries().iter().zip(pass.gradients(gradients)) {
        found.extend(gradient.map(|gradient| (format!("grad.{}", entry.path), gradient)));
    }
    pass.update_buffers(&mut params).unwrap();
    let buffers = params.entries().iter().filter(|entry| entry.kind == EntryKind::Buffer);
    found
        .extend(buffers.map(|entry| (format!("buffer_after.{}", entry.path), entry.value.clone())));
    found
}
