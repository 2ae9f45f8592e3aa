//! The op check: every operation, in shapes and layouts that property testing picks and shrinks.

use engine::checks::{self, SampleGenerator};
use engine::ops::OPS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;
use tests::files_in;

/// Random uses of each operation.
const CASES: u32 = 24;

#[test]
fn every_operation_passes() {
    let mut failures = Vec::new();
    for module in OPS {
        for &(operation, samples) in module.operations {
            let mut runner = TestRunner::new(Config {
                cases: CASES,
                failure_persistence: None,
                ..Config::default()
            });
            let strategy = (prop::collection::vec(any::<u32>(), 40), any::<u64>());
            let result = runner.run(&strategy, |(list, seed)| {
                let sample = samples(&mut SampleGenerator::from_list(list, seed));
                let outcome = checks::check(&sample).map_err(|error| {
                    TestCaseError::fail(format!("{} [{}]: {error}", module.name, sample.label))
                })?;
                prop_assert!(
                    outcome.recorded.contains(&operation),
                    "{operation} did not record itself"
                );
                Ok(())
            });
            if let Err(error) = result {
                failures.push(format!("{operation}: {error}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The names that operations give themselves, read from the source: one that no module lists would
/// escape the check.
#[test]
fn no_operation_is_left_out() {
    const DECLARATION: &str = "const NAME: &'static str = \"";
    let listed: Vec<&str> =
        OPS.iter().flat_map(|module| module.operations).map(|(name, _)| *name).collect();
    let mut found = 0;
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/src/ops"));
    for path in files_in(folder, &["rs"]) {
        let source = std::fs::read_to_string(&path).unwrap();
        let constants = source.lines().map(str::trim_start);
        for constant in constants.filter_map(|line| line.strip_prefix(DECLARATION)) {
            let name = constant.split('"').next().unwrap();
            let path = path.display();
            assert!(listed.contains(&name), "{name} of {path} is in the list of no module");
            found += 1;
        }
    }
    assert!(found > 20, "only {found} operations were found: are they declared otherwise now?");
}
