//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "matmul", operations: &[("matmul", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let batch: Vec<usize> = (0..c.size(0..=2)).map(|_| c.size(1..=3)).collect();
    let smaller = c.broadcastable(&batch);
    let (m, k, n) = (c.extent(1..=14), c.extent(1..=9), c.extent(1..=19));
    let (mut left, mut right) = (batch, smaller);
    if c.flag() {
        std::mem::swap(&mut left, &mut right);
    }
    left.extend([m, k]);
    right.extend([k, n]);
    let inputs = vec![c.tensor(&left, Values::Normal), c.tensor(&right, Values::Normal)];
    Sample::new("", inputs, |x| x[0].matmul(&x[1]))
}
