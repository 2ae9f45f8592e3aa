//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo { name: "gelu", operations: &[("gelu", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=4, 6);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new("", vec![input], |x| x[0].gelu())
}
