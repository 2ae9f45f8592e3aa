//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "arith",
    operations: &[
        ("add", |c| sample(c, "add", Values::Normal, Tensor::add)),
        ("sub", |c| sample(c, "sub", Values::Normal, Tensor::sub)),
        ("mul", |c| sample(c, "mul", Values::Normal, Tensor::mul)),
        ("div", |c| sample(c, "div", Values::Positive, Tensor::div)),
        ("affine", sample_affine),
        ("affine", sample_neg),
    ],
};

/// Random broadcastable shapes; the denominator of a division is positive.
fn sample(
    c: &mut SampleGenerator,
    name: &str,
    b: Values,
    f: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Sample {
    let (left, right) = c.broadcast_pair();
    let inputs = vec![c.tensor(&left, Values::Normal), c.tensor(&right, b)];
    Sample::new(name, inputs, move |x| f(&x[0], &x[1]))
}

fn sample_neg(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=4, 5);
    Sample::new("neg", vec![c.tensor(&shape, Values::Normal)], |x| x[0].neg())
}

fn sample_affine(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=4, 5);
    let inputs = vec![c.tensor(&shape, Values::Normal)];
    Sample::new("affine 1.5x − 0.25", inputs, |x| x[0].affine(1.5, -0.25))
}
