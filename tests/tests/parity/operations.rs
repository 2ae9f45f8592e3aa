//! Operations, losses, blocks and the optimizer by themselves: `ops.safetensors`,
//! `<case>.<tensor>`.

use crate::F64;
use crate::modules::{block, norm_layer};
use crate::reference::{Tensors, folders};
use crate::report::{Report, largest};
use engine::{Conv2dOptions, DType, FrequencyNorm, Padding, Tape, Tensor};
use nn::optim::{Optimizer, Rule, clip_global_norm};
use nn::{Context, Params, TrainingStep};
use std::collections::BTreeMap;

#[test]
fn operations() {
    for folder in folders() {
        let mut cases = BTreeMap::<String, Tensors>::new();
        for (key, tensor) in folder.tensors("ops") {
            let (case, name) =
                key.split_once('.').unwrap_or_else(|| panic!("{key}: not <case>.<tensor>"));
            cases
                .entry(case.into())
                .or_default()
                .insert(name.into(), tensor.to_dtype(DType::F64).unwrap());
        }
        let mut report =
            Report::new(format!("{}, {} operations and blocks", folder.name, cases.len()));
        for (name, case) in &cases {
            let found = compute(name, case);
            for (key, expected) in case {
                match found.get(key) {
                    // Before an instance normalization, a bias has no gradient but rounding.
                    Some(found) if kind(name) == "convs" && key == "grad.main.3.main.0.bias" => {
                        let weight =
                            largest(&case[&key.replace("bias", "weight")].to_f64_vec().unwrap());
                        let off = largest(&found.to_f64_vec().unwrap())
                            .max(largest(&expected.to_f64_vec().unwrap()))
                            / weight;
                        report.check(
                            "zero but for rounding",
                            &format!("{name}.{key}"),
                            found.numel(),
                            off,
                            F64,
                        );
                    }
                    Some(found) => {
                        report.compare(kind(name), &format!("{name}.{key}"), found, expected, F64)
                    }
                    None if is_input(name, key) => (),
                    None => report.fail(format!("{name}.{key}: nothing here computes this")),
                }
            }
        }
        report.finish();
    }
}

/// Everything that `case` can have as a result, under its names there.
fn compute(name: &str, case: &Tensors) -> Tensors {
    let side = |name: &str, d: usize| case[name].shape()[d];
    let size = || [side("y", 2), side("y", 3)];
    let one =
        |f: &dyn Fn(&Tensor) -> engine::Result<Tensor>| differentiate(case, &["x"], |x| f(&x[0]));
    match kind(name) {
        "conv3x3" | "conv1x1" => {
            let (padding, stride) = (side("weight", 2) / 2, side("x", 2).div_ceil(side("y", 2)));
            let options = Conv2dOptions { stride, padding, ..Conv2dOptions::default() };
            differentiate(case, &["x", "weight", "bias"], |x| x[0].conv2d(&x[1], x.get(2), options))
        }
        "convT4x4" => {
            let options = Conv2dOptions { stride: 2, padding: 1, ..Conv2dOptions::default() };
            differentiate(case, &["x", "weight", "bias"], |x| {
                x[0].conv_transpose2d(&x[1], x.get(2), options)
            })
        }
        "gelu" => one(&Tensor::gelu),
        "tanh" => one(&Tensor::tanh),
        "avgpool" => {
            let kernel = name["avgpool".len()..].parse().expect("avgpool<kernel>");
            one(&|x| x.avg_pool2d(kernel, kernel))
        }
        "gap" => one(&Tensor::global_avg_pool),
        "adaptive_avgpool" => one(&|x| x.adaptive_avg_pool2d(size()[0], size()[1])),
        "bilinear_ac" => one(&|x| x.bilinear(size()[0], size()[1], true)),
        "bilinear_half" => one(&|x| x.bilinear_by_scale(0.5)),
        "bilinear_quarter" => one(&|x| x.bilinear_by_scale(0.25)),
        "nearest_half_twice" => one(&|x| x.nearest_every(2)?.nearest_every(2)),
        "nearest_half" => one(&|x| x.nearest_every(2)),
        "reflect_pad1" => one(&|x| x.pad_reflect(Padding::all(1))),
        "reflect_pad_rb" => {
            let [bottom, right] = [2, 3].map(|d| side("y", d) - side("x", d));
            one(&|x| x.pad_reflect(Padding { bottom, right, ..Padding::default() }))
        }
        "concat" => {
            differentiate(case, &["a", "b"], |x| Tensor::concat(&x.iter().collect::<Vec<_>>(), 1))
        }
        "bn" | "instnorm" => norm_layer(name, case),
        "loss" => losses(case),
        "adam" => adam(case),
        "lam" | "msm" | "resblock" | "convs" => block(name, case),
        _ => panic!("{name}: nothing here computes this operation"),
    }
}

/// Which of the kinds above a case is: the longest that its name begins with.
fn kind(name: &str) -> &str {
    const KINDS: [&str; 22] = [
        "conv3x3",
        "conv1x1",
        "convT4x4",
        "gelu",
        "tanh",
        "avgpool",
        "gap",
        "adaptive_avgpool",
        "bilinear_ac",
        "bilinear_half",
        "bilinear_quarter",
        "nearest_half_twice",
        "nearest_half",
        "reflect_pad1",
        "reflect_pad_rb",
        "concat",
        "bn",
        "instnorm",
        "loss",
        "adam",
        "lam",
        "msm",
    ];
    let more = ["resblock", "convs"];
    let fits = KINDS.into_iter().chain(more).filter(|kind| name.starts_with(kind));
    fits.max_by_key(|kind| kind.len()).unwrap_or(name)
}

/// The values that a case gives and nothing has to compute.
fn is_input(case: &str, key: &str) -> bool {
    let adam = case == "adam"
        && (["a0", "b0"].contains(&key) || key.starts_with("ga.") || key.starts_with("gb."));
    let tensors = ["x", "a", "b", "weight", "bias", "gy", "pred", "target"].contains(&key);
    let running =
        ["running_mean", "running_var", "running_mean_before", "running_var_before"].contains(&key);
    adam || tensors || running || key.starts_with("param.") || key.starts_with("buffer.")
}

/// The value of `f` for those of `inputs` that the case has, and its gradients for the output's
/// gradient `gy`.
fn differentiate(
    case: &Tensors,
    inputs: &[&str],
    f: impl Fn(&[Tensor]) -> engine::Result<Tensor>,
) -> Tensors {
    let tape = Tape::new();
    let inputs: Vec<&str> =
        inputs.iter().copied().filter(|name| case.contains_key(*name)).collect();
    let leaves: Vec<Tensor> = inputs.iter().map(|name| tape.leaf(&case[*name])).collect();
    let y = f(&leaves).unwrap();
    let mut found = Tensors::from([("y".into(), y.detach())]);
    let mut gradients = tape.backward_from(&[&y], vec![case.get("gy").cloned()]).unwrap();
    for (name, leaf) in inputs.iter().zip(&leaves) {
        found.extend(gradients.take(leaf).map(|gradient| (format!("grad_{name}"), gradient)));
    }
    found
}

/// Both L1 losses with their gradients for the prediction, and the prediction's spectrum.
fn losses(case: &Tensors) -> Tensors {
    let target = &case["target"];
    let mut found = Tensors::new();
    let mut loss = |name: &str, f: &dyn Fn(&Tensor) -> engine::Result<Tensor>| {
        let tape = Tape::new();
        let pred = tape.leaf(&case["pred"]);
        let value = f(&pred).unwrap();
        found.insert(name.into(), value.detach());
        found.insert(format!("grad_{name}"), tape.backward(&value).unwrap().take(&pred).unwrap());
    };
    loss("l1", &|pred| pred.sub(target)?.abs()?.mean_all());
    loss("fftl1", &|pred| pred.frequency_l1(target, FrequencyNorm::Stacked));
    let [re, im] = spectrum(&case["pred"]);
    found.extend([("fft_re".into(), re), ("fft_im".into(), im)]);
    found
}

/// The whole spectrum from its half: F[k, l] = conj F[−k, −l].
fn spectrum(x: &Tensor) -> [Tensor; 2] {
    let [n, c, h, w] = x.dims4("spectrum").unwrap();
    let (half, columns) = (x.rfft2().unwrap().to_f64_vec().unwrap(), w / 2 + 1);
    let at = |map: usize, k: usize, l: usize, part: usize| {
        half[((map * h + k) * columns + l) * 2 + part]
    };
    [(0, 1.0), (1, -1.0)].map(|(part, mirrored)| {
        let value = |i: usize| match (i / (h * w), i / w % h, i % w) {
            (map, k, l) if l < columns => at(map, k, l, part),
            (map, k, l) => mirrored * at(map, (h - k) % h, w - l, part),
        };
        let values: Vec<f64> = (0..n * c * h * w).map(value).collect();
        Tensor::from_slice(&values, &[n, c, h, w]).unwrap()
    })
}

/// Two parameters through as many steps of Adam as there are gradients, clipped together.
fn adam(case: &Tensors) -> Tensors {
    let build = |b: &mut nn::Builder<'_>| {
        let ids = ["a", "b"].map(|name| b.constant(name, case[&format!("{name}0")].shape(), 0.0));
        Ok(ids)
    };
    let (ids, mut params) = Params::build(0, DType::F64, build).unwrap();
    for (id, name) in ids.into_iter().zip(["a0", "b0"]) {
        params.set(id, case[name].clone()).unwrap();
    }
    let mut optimizer = Optimizer::new(Rule::adam(), &params);
    let mut found = Tensors::new();
    for step in 0.. {
        let gradient = |name: &str| case.get(&format!("g{name}.{step}")).cloned();
        let mut gradients = vec![gradient("a"), gradient("b")];
        if gradients.iter().all(Option::is_none) {
            break;
        }
        let norm = clip_global_norm(&mut gradients, 1e-3).unwrap();
        found.insert(format!("total_norm.{step}"), Tensor::scalar(norm, DType::F64).unwrap());
        let pass = Context::inference(&params).finish();
        let mut adam = TrainingStep::begin(&mut optimizer, None, 1e-4).unwrap();
        adam.apply(&mut params, &gradients, pass, None).unwrap();
        adam.commit();
        for (i, name) in ["a", "b"].into_iter().enumerate() {
            found.insert(format!("{name}.{}", step + 1), params.entries()[i].value.clone());
            found.extend(
                gradients[i].take().map(|gradient| (format!("g{name}_clipped.{step}"), gradient)),
            );
        }
    }
    found
}
