//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "cumsum", operations: &[("cumsum", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("along {dim}"), vec![input], move |x| x[0].cumsum(dim))
}
