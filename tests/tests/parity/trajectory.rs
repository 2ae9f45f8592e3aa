//! Steps of training on one batch: losses, gradient norms, parameters, running statistics.
//!
//! A trajectory magnifies. With two images BatchNorm sees two values, and the losses have kinks: at
//! width 32, a part in 10¹³ of the weights has become 6·10⁻⁴ after twenty steps. So a trajectory
//! that misses the limit of single passes is held against our own sensitivity: how far a run from
//! weights that are off by [`DISTURBANCE`] gets from it.

use crate::case::{Case, Key, Run, is_rounding};
use crate::networks::{LOSS, STATISTICS, compare_f64, for_every_case, group, pair, torch_off};
use crate::reference::{Distances, Folder, on_device};
use crate::report::{Report, farthest, largest};
use crate::{F64, MULTIPLE};
use engine::{DType, Rng, Tensor};
use nn::Params;
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// What weights are disturbed by, relatively: as rounding disturbs the gradients of a single pass,
/// most of them less.
const DISTURBANCE: f64 = 1e-13;

/// How many times as far as PyTorch's f32 run a run in f32 may get: where two runs part, chance has
/// a say.
const LOOSE: f64 = 10.0;

#[test]
fn trajectories_in_f64() {
    for_every_case("trajectory in f64", has_trajectory, |_, case, report| {
        let params = case.params(DType::F64);
        let run = Run::of_trajectory(case, &params);
        let sensitivity = OnceCell::new();
        compare_f64(report, case, &run, true, |group, off| {
            if off <= F64 {
                return F64;
            }
            let sensitivity = sensitivity.get_or_init(|| sensitivity_of(case, &params, &run));
            f64::max(F64, MULTIPLE * sensitivity[group])
        });
    });
}

/// How far from `run`, which began with `params`, a run from disturbed weights is; for each group,
/// relative to the largest.
fn sensitivity_of(case: &Case, params: &Params, run: &Run) -> BTreeMap<String, f64> {
    let (mut disturbed, mut rng) = (params.clone(), Rng::new(1));
    for (id, entry) in params.parameters() {
        let factor = Tensor::rand(
            entry.value.shape(),
            1.0 - DISTURBANCE,
            1.0 + DISTURBANCE,
            DType::F64,
            &mut rng,
        )
        .unwrap();
        let factor = on_device(factor);
        disturbed.set(id, entry.value.mul(&factor).unwrap()).unwrap();
    }
    let disturbed = Run::of_trajectory(case, &disturbed);
    let mut sensitivity = BTreeMap::<String, f64>::new();
    for (_, Key { name, .. }, _) in case.keys(true).filter(|(key, ..)| !is_rounding(key)) {
        if let (Some(run), Some(disturbed)) = (run.get(&name), disturbed.get(&name)) {
            let group = sensitivity.entry(group(&name)).or_default();
            *group = group.max(farthest(&run.values, &disturbed.values) / run.largest);
        }
    }
    sensitivity
}

#[test]
fn trajectories_in_f32() {
    for_every_case("trajectory in f32", has_trajectory, compare_f32);
}

fn has_trajectory(case: &Case) -> bool {
    case.keys(true).next().is_some()
}

fn compare_f32(folder: &Folder, case: &Case, report: &mut Report) {
    let run = Run::of_trajectory(case, &case.params(DType::F32));
    let distances = Distances::of(folder);
    let distance = |kind: &str| distances.get(&case.name, kind);
    let mut sums = BTreeMap::<String, [f64; 2]>::new();
    for (key, Key { name, double }, expected) in case.keys(true) {
        let Some((found, expected)) = pair(report, key, &run, &name, expected) else { continue };
        if is_rounding(key) {
            report.skip("biases that rounding alone moves");
            continue;
        }
        let (group, off) = (group(&name), farthest(&found.values, &expected));
        let (off, limit) = match group.split('.').collect::<Vec<_>>().as_slice() {
            ["traj", step, "param"] => {
                let whole = name.contains("_norm.");
                if double && !whole {
                    let sum = sums.entry(step.to_string()).or_default();
                    let squares: f64 =
                        found.values.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b)).sum();
                    // Samples stand for the whole tensor.
                    *sum = [
                        sum[0] + squares / expected.len() as f64 * found.of as f64,
                        sum[1] + found.of as f64,
                    ];
                }
                // The norm moves by at most √n times the movement of each of n numbers.
                let off = if whole { off / (found.of as f64).sqrt() } else { off };
                (off, distance(&format!("traj step {step} maxabs param diff f32-f64")))
            }
            // PyTorch's f32 run of these is not in the files; they drift apart as gradients do.
            ["traj", _, "buffer"] => {
                let gradients = torch_off(case, "traj.gradnorm").unwrap_or(0.0);
                (off / largest(&expected), Some(gradients.max(STATISTICS)))
            }
            _ => (off / largest(&expected), Some(torch_off(case, &name).unwrap_or(0.0).max(LOSS))),
        };
        match limit {
            Some(limit) => report.check(&group, key, expected.len(), off, LOOSE * limit),
            None => report.skip(&format!("{group}: no distance of PyTorch's is recorded")),
        }
    }
    for (step, [squares, count]) in sums {
        if let Some(limit) = distance(&format!("traj step {step} rms param diff")) {
            report.check(
                &format!("traj.{step}, all"),
                &case.name,
                1,
                (squares / count).sqrt(),
                LOOSE * limit,
            );
        }
    }
}
