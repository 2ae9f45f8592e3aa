//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo { name: "slice", operations: &[("slice", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let start = c.size(0..=shape[dim] - 1);
    let step = c.size(1..=3);
    let len = c.size(1..=(shape[dim] - start).div_ceil(step));
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("{len} from {start} by {step} along {dim}"), vec![input], move |x| {
        x[0].slice(dim, start, len, step)
    })
}
