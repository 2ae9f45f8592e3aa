//! A training checkpoint: the network, and Adam's memory of every parameter, after a number of
//! steps. `checkpoint_<weights>_after<steps>.safetensors`; PyTorch computed in f32.

use crate::MULTIPLE;
use crate::case::{Case, is_rounding, samples, train};
use crate::reference::{Distances, Folder, Tensors, folders};
use crate::report::{Report, farthest, norm};
use engine::{DType, Tensor};

#[test]
fn checkpoints() {
    for folder in folders() {
        let stems = folder.stems("checkpoint_", "safetensors");
        assert!(!stems.is_empty(), "{} has no checkpoint", folder.name);
        for stem in stems {
            let (weights, steps) = parts(&stem)
                .unwrap_or_else(|| panic!("{stem}: not checkpoint_<weights>_after<steps>"));
            let file = folder.tensors(&stem);
            let case = case_of(&folder, weights, &file, steps);
            for dtype in [DType::F64, DType::F32] {
                let mut report =
                    Report::new(format!("{}, {stem}, {} in {dtype}", folder.name, case.name));
                compare(&mut report, &Distances::of(&folder), &case, &file, steps, dtype);
                report.finish();
            }
        }
    }
}

fn parts(stem: &str) -> Option<(&str, usize)> {
    let (weights, steps) = stem.strip_prefix("checkpoint_")?.rsplit_once("_after")?;
    Some((weights, steps.parse().ok()?))
}

/// The case that was trained on. The name does not tell which of those in training for these
/// weights it is, but PyTorch's own trajectory of the right one comes by the checkpoint.
fn case_of(folder: &Folder, weights: &str, checkpoint: &Tensors, steps: usize) -> Case {
    let (width, rest) =
        weights.split_once("_num_res").expect("weights are called w<width>_num_res<number>");
    let suffix = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let start = format!("case_{width}{suffix}_train_");
    let apart = |case: &Case| {
        let one = |(path, value): (&String, &Tensor)| {
            let samples_there =
                case.file.get(&format!("traj64.{steps}.param_samp.{path}"))?.to_f64_vec().unwrap();
            Some(farthest(&samples(&value.to_f64_vec().unwrap()), &samples_there))
        };
        checkpoint
            .iter()
            .filter(|(path, _)| !is_rounding(path))
            .filter_map(one)
            .reduce(f64::max)
            .unwrap_or(f64::INFINITY)
    };
    let cases =
        folder.stems(&start, "safetensors").into_iter().map(|name| Case::open(folder, &name));
    let nearest = cases.map(|case| (apart(&case), case)).min_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.unwrap_or_else(|| panic!("{weights}: there is no {start}…")).1
}

fn compare(
    report: &mut Report,
    distances: &Distances,
    case: &Case,
    file: &Tensors,
    steps: usize,
    dtype: DType,
) {
    let mut found = Tensors::new();
    train(case, &case.params(dtype), steps, |step, params, optimizer| {
        if step == steps {
            found.extend(
                params.entries().iter().map(|entry| (entry.path.clone(), entry.value.clone())),
            );
            found.extend(
                optimizer
                    .tensors(params)
                    .into_iter()
                    .map(|(name, tensor)| (format!("adam.{name}"), tensor)),
            );
            for (entry, &taken) in params.entries().iter().zip(optimizer.steps()) {
                let taken = Tensor::full(&[1], taken as f64, DType::F64).unwrap();
                found.insert(format!("adam.step.{}", entry.path), taken);
            }
        }
    });
    let distance = |kind: &str| distances.get(&case.name, kind);
    let parameters = distance(&format!("traj step {steps} maxabs param diff f32-f64"));
    let gradients = distance("grad.train worst per-param rel L2");
    for (key, expected) in file {
        if key.ends_with(".num_batches_tracked") || is_rounding(key) {
            report.skip("num_batches_tracked, and biases that rounding alone moves");
            continue;
        }
        let Some(found) = found.get(key).filter(|found| found.numel() == expected.numel()) else {
            report.fail(format!("{key}: nothing here computes this"));
            continue;
        };
        let (found, expected) = (found.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
        let off = farthest(&found, &expected);
        let relative = || {
            let differences: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
            norm(&differences) / norm(&expected).max(f64::MIN_POSITIVE)
        };
        // The mean is linear in the gradients; their squares are off by twice as much.
        let (group, off, limit) = match key.split('.').collect::<Vec<_>>().as_slice() {
            ["adam", "step", ..] => ("adam.step", off, Some(0.0)),
            ["adam", "exp_avg", ..] => ("adam.exp_avg", relative(), gradients),
            ["adam", "exp_avg_sq", ..] => {
                ("adam.exp_avg_sq", relative(), gradients.map(|limit| 2.0 * limit))
            }
            [.., "running_mean" | "running_var"] => ("statistics", relative(), Some(1e-6)),
            _ => ("parameters", off, parameters),
        };
        match limit {
            Some(limit) => report.check(group, key, expected.len(), off, MULTIPLE * limit),
            None => report.skip(&format!("{group}: no distance of PyTorch's is recorded")),
        }
    }
}
