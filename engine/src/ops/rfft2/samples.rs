//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo { name: "rfft2", operations: &[("rfft2", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let channels = c.size(1..=2);
    let shape = c.map_shape(channels, 1, 9);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new("", vec![input], |x| x[0].rfft2())
}
