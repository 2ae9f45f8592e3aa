//! Whole networks: outputs, losses, all gradients, running statistics; in use and in training, in
//! f64 and in f32.

use crate::case::{Case, Key, Numbers, Run, is_rounding};
use crate::reference::{Distances, Folder, folders};
use crate::report::{Report, farthest, largest, norm};
use crate::{F64, MULTIPLE};
use engine::{DType, Tensor};
use std::collections::BTreeMap;

#[test]
fn networks_in_f64() {
    for_every_case(
        "f64",
        |_| true,
        |_, case, report| compare_f64(report, case, &Run::of(case, DType::F64), false, |_, _| F64),
    );
}

#[test]
fn networks_in_f32() {
    for_every_case("f32", |_| true, compare_f32);
}

/// The relative accuracy of a sum over many f32: PyTorch's own distance between two losses may be
/// nothing, by chance.
pub const LOSS: f64 = 5e-7;

/// The same of running statistics, of which PyTorch's f32 run is not in the files; means may nearly
/// cancel.
pub const STATISTICS: f64 = 5e-6;

fn compare_f32(folder: &Folder, case: &Case, report: &mut Report) {
    let run = Run::of(case, DType::F32);
    let distances = Distances::of(folder);
    let distance = |kind: &str| distances.get(&case.name, kind);
    // Of each mode, the sums of squares of all gradients' differences and of the gradients.
    let mut sums = BTreeMap::<String, [f64; 2]>::new();
    for (key, Key { name, double }, expected) in case.keys(false) {
        let Some((Numbers { values: found, of, .. }, expected)) =
            pair(report, key, &run, &name, expected)
        else {
            continue;
        };
        let (group, off) = (group(&name), farthest(&found, &expected));
        let (kind, mode) = group.split_once('.').unwrap_or((&group, ""));
        let (off, limit) = match kind {
            "out" => (off, distance(&format!("out.{mode} maxabs"))),
            "loss" => {
                (off / largest(&expected), Some(torch_off(case, &name).unwrap_or(0.0).max(LOSS)))
            }
            "gradnorm_total" => {
                (off / largest(&expected), distance(&format!("grad.{mode} global rel L2")))
            }
            // A gradient that is 0 but for rounding is small beside all gradients together.
            "grad" if is_rounding(key) => {
                let off = largest(&found).max(largest(&expected)) / total_norm(&run, mode);
                (off, distance(&format!("grad.{mode} global rel L2")))
            }
            "grad" => {
                let differences: Vec<f64> =
                    found.iter().zip(&expected).map(|(a, b)| a - b).collect();
                let (off, size) = (norm(&differences), norm(&expected));
                if double && !name.contains("_norm.") {
                    let sum = sums.entry(mode.to_string()).or_default();
                    // Samples stand for the whole tensor.
                    let share = of as f64 / found.len() as f64;
                    *sum = [sum[0] + share * off * off, sum[1] + share * size * size];
                }
                (
                    off / size.max(f64::MIN_POSITIVE),
                    distance(&format!("grad.{mode} worst per-param rel L2")),
                )
            }
            _ => (off / largest(&expected), Some(STATISTICS)),
        };
        match limit {
            Some(limit) => report.check(&group, key, found.len(), off, MULTIPLE * limit),
            None => report.skip(&format!("{group}: no distance of PyTorch's is recorded")),
        }
    }
    for (mode, [off, size]) in sums {
        if let Some(limit) = distance(&format!("grad.{mode} global rel L2")) {
            report.check(
                &format!("grad.{mode}, all"),
                &case.name,
                1,
                (off / size).sqrt(),
                MULTIPLE * limit,
            );
        }
    }
}

/// How far PyTorch's number `name` in f32 is from that in f64, relative to the latter.
pub fn torch_off(case: &Case, name: &str) -> Option<f64> {
    let (first, rest) = name.split_once('.')?;
    let numbers = |name: &str| case.file.get(name)?.to_f64_vec().ok();
    let (single, double) = (numbers(name)?, numbers(&format!("{first}64.{rest}"))?);
    Some(farthest(&single, &double) / largest(&double))
}

/// Runs `compare` on every case of every folder that is `wanted`, a report for each.
pub fn for_every_case(
    title: &str,
    wanted: fn(&Case) -> bool,
    compare: impl Fn(&Folder, &Case, &mut Report),
) {
    let mut wrong = Vec::new();
    for folder in folders() {
        let names = folder.stems("case_", "safetensors");
        let mut compared = 0;
        for name in &names {
            let case = Case::open(&folder, name);
            if wanted(&case) {
                let mut report = Report::new(format!("{}, {name}, {title}", folder.name));
                compare(&folder, &case, &mut report);
                wrong.extend(report.print());
                compared += 1;
            }
        }
        assert!(compared > 0, "{}: none of {} cases is for this test", folder.name, names.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Compares what PyTorch computed in f64: the trajectory's numbers or the others. `limit` is told
/// the group and the difference.
pub fn compare_f64(
    report: &mut Report,
    case: &Case,
    run: &Run,
    trajectory: bool,
    limit: impl Fn(&str, f64) -> f64,
) {
    for (key, Key { name, double }, expected) in case.keys(trajectory) {
        let Some((found, expected)) = pair(report, key, run, &name, expected) else { continue };
        let (group, count) = (group(&name), expected.len());
        if !double {
            report.skip("in f32: compared with a run in f32");
        } else if !is_rounding(key) {
            let scale = if name.contains("_samp.") { found.largest } else { largest(&expected) };
            let off = farthest(&found.values, &expected) / scale;
            let limit = limit(&group, off);
            let group = if limit > F64 { format!("{group}, magnified") } else { group };
            report.check(&group, key, count, off, limit);
        } else if trajectory {
            report.skip("biases that rounding alone moves");
        } else {
            let (_, mode) = group.split_once('.').unwrap_or_default();
            let off = largest(&found.values).max(largest(&expected)) / total_norm(run, mode);
            report.check(&format!("{group}, zero"), key, count, off, limit(&group, off));
        }
    }
}

/// Our numbers for a key and PyTorch's; `None` if there are none, which the report learns.
pub fn pair(
    report: &mut Report,
    key: &str,
    run: &Run,
    name: &str,
    expected: &Tensor,
) -> Option<(Numbers, Vec<f64>)> {
    if name.ends_with(".num_batches_tracked") {
        report.skip("num_batches_tracked, which nothing here needs");
        return None;
    }
    let expected = expected.to_f64_vec().unwrap();
    match run.get(name) {
        Some(found) if found.values.len() == expected.len() => return Some((found, expected)),
        Some(found) => report.fail(format!(
            "{key}: {} numbers, expected {}",
            found.values.len(),
            expected.len()
        )),
        None => report.fail(format!("{key}: nothing here computes this")),
    }
    None
}

/// The group under which a key is reported: `out.train`, `grad.eval`, `traj.20.param`.
pub fn group(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let plain = |part: &str| part.trim_end_matches("_norm").trim_end_matches("_samp").to_string();
    match parts.as_slice() {
        ["traj", step, kind, ..] => format!("traj.{step}.{}", plain(kind)),
        [kind @ ("out" | "loss" | "grad" | "gradnorm_total" | "traj"), mode, ..] => {
            format!("{kind}.{}", plain(mode))
        }
        _ => parts[0].to_string(),
    }
}

fn total_norm(run: &Run, mode: &str) -> f64 {
    run.get(&format!("gradnorm_total.{mode}")).expect("a run with gradients has their norm").largest
}
