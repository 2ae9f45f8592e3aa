//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "instance_norm", operations: &[("instance_norm", sample)] };

/// A large eps, for the reason given in `batch_norm`.
fn sample(c: &mut SampleGenerator) -> Sample {
    let channels = c.channels(&[1, 3, 8]);
    let mut shape = c.map_shape(channels, 1, 6);
    shape[2 + usize::from(c.flag())] += 1;
    let inputs = vec![
        c.tensor(&shape, Values::Normal),
        c.tensor(&[channels], Values::AwayFromZero),
        c.tensor(&[channels], Values::Normal),
    ];
    Sample::new("", inputs, |x| x[0].instance_norm(&x[1], &x[2], 0.1))
}
