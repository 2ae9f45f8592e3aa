//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "where_cond", operations: &[("where_cond", sample)] };

/// The mask is a comparison of the first input with 0.
fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=4, 5);
    let mut shapes = [shape.clone(), c.broadcastable(&shape), c.broadcastable(&shape)];
    let first = c.size(0..=2);
    shapes.rotate_left(first);
    let inputs = vec![
        c.tensor(&shapes[0], Values::AwayFromZero),
        c.tensor(&shapes[1], Values::Normal),
        c.tensor(&shapes[2], Values::Normal),
    ];
    Sample::new("by the sign of the first", inputs, |x| x[0].gt(0.0)?.where_cond(&x[1], &x[2]))
}
