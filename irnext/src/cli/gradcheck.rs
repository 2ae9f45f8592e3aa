//! `irnext gradcheck`: checks every operation, on the CPU or on a device, and prints a table.

use super::arguments::COMPUTE;
use super::output::say;
use crate::error::Result;
use engine::Device;
use engine::checks::{self, DEVICE_TOLERANCES, SampleGenerator};
use engine::ops::OPS;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext gradcheck
      Compare the gradient of every operation with finite differences
  irnext gradcheck --cases 200 --seed 7
      The same, with more samples, and others
  irnext gradcheck --device cuda
      Compare every operation on a GPU with the CPU")]
pub(super) struct Arguments {
    /// Random samples per operation [default: 20]
    #[arg(long, value_name = "N", default_value_t = 20, hide_default_value = true)]
    cases: u64,
    /// Random seed of the shapes and values [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seed: u64,
    /// Compare values and gradients on this device with the CPU, in every dtype, instead of
    /// checking gradients [default: cpu]
    #[arg(
        long,
        value_name = "DEVICE",
        default_value_t = Device::Cpu,
        hide_default_value = true,
        help_heading = COMPUTE
    )]
    device: Device,
}

/// True if every operation passed.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    match arguments.device {
        Device::Cpu => differences(arguments),
        device => device_column(arguments, device),
    }
}

/// Compares the gradients with finite differences.
fn differences(arguments: &Arguments) -> Result<bool> {
    say!(
        "{:<17} {:<20} {:>6} {:>10} {:>9} {:>10}",
        "module",
        "operation",
        "cases",
        "gradients",
        "worst",
        "f32 error"
    );
    let mut passed = true;
    for (module, (operation, samples)) in
        OPS.iter().flat_map(|module| module.operations.iter().map(|o| (module.name, o)))
    {
        let (mut compared, mut worst, mut f32_error) = (0, 0.0f64, 0.0f64);
        let mut failure = None;
        for case in 0..arguments.cases {
            let sample =
                samples(&mut SampleGenerator::from_seed(arguments.seed.wrapping_add(case)));
            match checks::check(&sample) {
                Ok(outcome) => {
                    compared += outcome.gradients.compared;
                    worst = worst.max(outcome.gradients.worst);
                    f32_error = f32_error.max(outcome.f32_error);
                }
                Err(error) => {
                    failure = Some(format!("{}: {error}", sample.label));
                    break;
                }
            }
        }
        say!(
            "{module:<17} {operation:<20} {:>6} {compared:>10} {worst:>9.1e} {f32_error:>10.1e}",
            arguments.cases
        );
        if let Some(failure) = failure {
            say!("    FAILED {failure}");
            passed = false;
        }
    }
    say!(
        "{}",
        if passed {
            "every gradient agrees with finite differences"
        } else {
            "some operations failed"
        }
    );
    Ok(passed)
}

/// Compares a device with the CPU in f64.
fn device_column(arguments: &Arguments, device: Device) -> Result<bool> {
    device.check()?;
    let heads = DEVICE_TOLERANCES
        .map(|(dtype, tolerance)| format!("{:>16}", format!("{dtype} ({tolerance:.0e})")));
    say!("{:<17} {:<20} {:>6} {}", "module", "operation", "cases", heads.join(" "));
    let mut passed = true;
    for (module, (operation, samples)) in
        OPS.iter().flat_map(|module| module.operations.iter().map(|o| (module.name, o)))
    {
        let mut failures = Vec::new();
        let columns = DEVICE_TOLERANCES.map(|(dtype, tolerance)| {
            let mut worst = 0.0f64;
            for case in 0..arguments.cases {
                let sample =
                    samples(&mut SampleGenerator::from_seed(arguments.seed.wrapping_add(case)));
                match checks::check_on(&sample, device, dtype, tolerance) {
                    Ok(distance) => worst = worst.max(distance.value).max(distance.gradient),
                    Err(error) => {
                        failures.push(error.to_string());
                        worst = f64::INFINITY;
                        break;
                    }
                }
            }
            format!("{worst:>16.1e}")
        });
        say!("{module:<17} {operation:<20} {:>6} {}", arguments.cases, columns.join(" "));
        for failure in failures {
            say!("    FAILED {failure}");
            passed = false;
        }
    }
    let verdict =
        if passed { "every operation agrees with the CPU" } else { "some operations failed" };
    say!(
        "{verdict}: {device}, largest difference of values and gradients, relative to the largest \
         value"
    );
    Ok(passed)
}
