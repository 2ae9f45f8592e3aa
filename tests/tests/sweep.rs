//! The sweep: every operation, in shapes and layouts that property testing picks and shrinks.

use engine::ops::ROOMS;
use engine::sweep::{self, Choices};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Random uses of each operation.
const CASES: u32 = 24;

#[test]
fn every_operation_passes() {
    let mut failures = Vec::new();
    for room in ROOMS {
        for &(operation, samples) in room.operations {
            let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
            let strategy = (prop::collection::vec(any::<u32>(), 40), any::<u64>());
            let result = runner.run(&strategy, |(list, seed)| {
                let sample = samples(&mut Choices::from_list(list, seed));
                let outcome = sweep::check(&sample)
                    .map_err(|error| TestCaseError::fail(format!("{} [{}]: {error}", room.name, sample.label)))?;
                prop_assert!(outcome.recorded.contains(&operation), "{operation} did not record itself");
                Ok(())
            });
            if let Err(error) = result {
                failures.push(format!("{operation}: {error}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
