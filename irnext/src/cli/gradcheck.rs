//! `irnext gradcheck`: the sweep over every operation, as a table.

use super::say;
use crate::error::Result;
use engine::ops::ROOMS;
use engine::sweep::{self, Choices};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Random uses of each operation
    #[arg(long, default_value_t = 20)]
    cases: u64,
    /// Seed of the shapes and values
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// True if every operation passed.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    say!("{:<17} {:<20} {:>6} {:>10} {:>9} {:>10}", "room", "operation", "cases", "gradients", "worst", "f32 error");
    let mut passed = true;
    for (room, (operation, samples)) in ROOMS.iter().flat_map(|room| room.operations.iter().map(|o| (room.name, o))) {
        let (mut compared, mut worst, mut f32_error) = (0, 0.0f64, 0.0f64);
        let mut failure = None;
        for case in 0..arguments.cases {
            let sample = samples(&mut Choices::from_seed(arguments.seed.wrapping_add(case)));
            match sweep::check(&sample) {
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
        say!("{room:<17} {operation:<20} {:>6} {compared:>10} {worst:>9.1e} {f32_error:>10.1e}", arguments.cases);
        if let Some(failure) = failure {
            say!("    FAILED {failure}");
            passed = false;
        }
    }
    say!("{}", if passed { "every gradient agrees with finite differences" } else { "some operations failed" });
    Ok(passed)
}
