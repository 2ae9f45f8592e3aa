//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "softmax", operations: &[("softmax", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("over {dim}"), vec![input], move |x| x[0].softmax(dim))
}
