//! Learning rates, epoch by epoch: `lr_schedule.json`,
//! `<name>_<epochs>_warm<epochs>_<closed_form or torch…>`.

use crate::reference::folders;
use crate::report::Report;
use nn::schedule::WarmupCosine;

/// The rate that every schedule falls to.
const LAST: f64 = 1e-6;

#[test]
fn learning_rates() {
    for folder in folders() {
        let mut report = Report::new(format!("{}, learning rates", folder.name));
        let file = folder.json("lr_schedule").expect("every folder has schedules");
        for (name, rates) in file.as_object().expect("schedules by name") {
            let rates: Vec<f64> =
                rates.as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).collect();
            let Some((schedule, closed_form)) = schedule(name, &rates) else {
                report.fail(format!("{name}: nothing here computes this"));
                continue;
            };
            // Newer PyTorch evaluates its recursion also on the way to the first of these epochs,
            // which multiplies what all of them are above the last rate by this.
            let falling = (schedule.total - schedule.warmup) as f64;
            let factor = if closed_form {
                1.0
            } else {
                2.0 / (1.0 + (std::f64::consts::PI / falling).cos())
            };
            let (mut off, mut deviation) = (0.0f64, 0.0f64);
            for (epoch, &expected) in (1..).zip(&rates) {
                let ours = schedule.rate(epoch);
                let theirs =
                    if epoch <= schedule.warmup { ours } else { LAST + (ours - LAST) * factor };
                off = off.max((theirs - expected).abs() / expected);
                deviation = deviation.max((ours - expected).abs());
            }
            let group = if closed_form { "closed form" } else { "recursion" };
            report.check(
                group,
                &format!("{name} (the rates are up to {deviation:.1e} apart)"),
                rates.len(),
                off,
                1e-12,
            );
        }
        report.finish();
    }
}

/// The schedule that a name speaks of, and whether the numbers are its closed form.
fn schedule(name: &str, rates: &[f64]) -> Option<(WarmupCosine, bool)> {
    let mut parts = name.split('_').skip(1);
    let (total, warmup) =
        (parts.next()?.parse().ok()?, parts.next()?.strip_prefix("warm")?.parse().ok()?);
    let rest: Vec<&str> = parts.collect();
    let closed_form = match rest.join("_").as_str() {
        "closed_form" => true,
        kind if kind.starts_with("torch") => false,
        _ => return None,
    };
    // The last rate of the warm-up is the highest of the closed form.
    let base = *rates.get(usize::max(warmup, 1) - 1)?;
    Some((WarmupCosine { base, last: LAST, warmup: warmup as u64, total }, closed_form))
}
