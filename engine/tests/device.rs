//! The device check: every operation on the first GPU (or the emulator), in every type
//! that it computes in, against the CPU in f64.
//!
//! Without a GPU the test ends at once, unless `ENGINE_REQUIRE_CUDA` is set. `ENGINE_OP` names
//! one operation module to run alone.
#![cfg(feature = "cuda")]

use engine::checks::{self, DEVICE_TOLERANCES, SampleGenerator};
use engine::ops::OPS;
use engine::{DType, Device};

/// Random uses of each operation in each type.
const CASES: u64 = 12;

#[test]
fn every_operation_agrees_with_the_cpu() {
    let device = Device::Cuda(0);
    if let Err(error) = device.check() {
        assert!(std::env::var_os("ENGINE_REQUIRE_CUDA").is_none(), "{error}");
        return;
    }
    let only = std::env::var("ENGINE_OP").ok();
    let mut failures = Vec::new();
    for module in OPS.iter().filter(|module| only.as_ref().is_none_or(|only| only == module.name)) {
        for &(operation, samples) in module.operations {
            let mut worst = DEVICE_TOLERANCES.map(|(dtype, _)| (dtype, 0.0f64));
            for seed in 0..CASES {
                let sample = samples(&mut SampleGenerator::from_seed(seed));
                for ((dtype, tolerance), worst) in DEVICE_TOLERANCES.into_iter().zip(&mut worst) {
                    match checks::check_on(&sample, device, dtype, tolerance) {
                        Ok(distance) => {
                            worst.1 = worst.1.max(distance.value).max(distance.gradient)
                        }
                        Err(error) => {
                            failures.push(format!("{} {operation}: {error}", module.name))
                        }
                    }
                }
            }
            let worst: Vec<String> = worst
                .iter()
                .map(|(dtype, worst): &(DType, f64)| format!("{dtype} {worst:.0e}"))
                .collect();
            println!("{:<16} {operation:<20} {}", module.name, worst.join("  "));
        }
    }
    let shown: Vec<&str> = failures.iter().map(String::as_str).take(12).collect();
    assert!(failures.is_empty(), "{} failures, among them\n{}", failures.len(), shown.join("\n"));
}
