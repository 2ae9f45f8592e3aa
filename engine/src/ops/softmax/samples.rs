//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "softmax",
    operations: &[
        ("softmax", |c| sample(c, "softmax", Tensor::softmax)),
        ("log_softmax", |c| sample(c, "log_softmax", Tensor::log_softmax)),
    ],
};

fn sample(
    c: &mut SampleGenerator,
    name: &'static str,
    f: fn(&Tensor, usize) -> Result<Tensor>,
) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("{name} over {dim}"), vec![input], move |x| f(&x[0], dim))
}
