//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::{Result, Tensor};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "maximum",
    operations: &[
        ("maximum", |c| sample(c, "maximum", Tensor::maximum)),
        ("minimum", |c| sample(c, "minimum", Tensor::minimum)),
    ],
};

/// Random broadcastable shapes. The values are multiples of 0.1, moved by half of that in one
/// operand, so that none are equal, where the gradient has a step.
fn sample(
    c: &mut SampleGenerator,
    name: &str,
    f: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Sample {
    let (left, right) = c.broadcast_pair();
    let moved = c.tensor(&right, Values::Distinct).affine(1.0, 0.05).expect("a copy in memory");
    let inputs = vec![c.tensor(&left, Values::Distinct), moved];
    Sample::new(name, inputs, move |x| f(&x[0], &x[1]))
}
