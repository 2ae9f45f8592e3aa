//! The samples that benches take: every operation has some that are worth timing, and none that is
//! too large to run.

use engine::checks::SampleGenerator;
use engine::ops::OPS;

#[test]
fn every_operation_can_be_benched() {
    let mut wrong = Vec::new();
    for module in OPS {
        for (operation, sampler) in module.operations {
            // The most elements that a tensor has in either of two random uses.
            let elements = (0..2).map(|seed| {
                let sample = sampler(&mut SampleGenerator::large(seed));
                let output = (sample.run)(&sample.inputs).unwrap();
                sample.inputs.iter().map(|x| x.numel()).fold(output.numel(), usize::max)
            });
            let most = elements.fold(0, usize::max);
            if !(1 << 14..1 << 24).contains(&most) {
                wrong.push(format!("{operation} of {}: {most}", module.name));
            }
        }
    }
    // Dimensions come from `shape`, `map_shape`, `extent` and `channels` of `SampleGenerator`,
    // settings from the others.
    assert!(wrong.is_empty(), "large samples have too few or too many elements: {wrong:#?}");
}
