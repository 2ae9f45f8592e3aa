//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "unary",
    operations: &[
        ("exp", |c| sample(c, "exp", Values::Normal, Tensor::exp)),
        ("log", |c| sample(c, "log", Values::Positive, Tensor::log)),
        ("sqrt", |c| sample(c, "sqrt", Values::Positive, Tensor::sqrt)),
        ("square", |c| sample(c, "square", Values::Normal, Tensor::square)),
        ("abs", |c| sample(c, "abs", Values::AwayFromZero, Tensor::abs)),
        ("tanh", |c| sample(c, "tanh", Values::Normal, Tensor::tanh)),
        ("sigmoid", |c| sample(c, "sigmoid", Values::Normal, Tensor::sigmoid)),
        ("silu", |c| sample(c, "silu", Values::Normal, Tensor::silu)),
        ("relu", |c| sample(c, "relu", Values::AwayFromZero, Tensor::relu)),
        ("leaky_relu", |c| {
            sample(c, "leaky_relu 0.125", Values::AwayFromZero, |x| x.leaky_relu(0.125))
        }),
        ("pow", |c| sample(c, "pow 1.75", Values::Positive, |x| x.pow(1.75))),
        ("pow", |c| sample(c, "pow 3", Values::Normal, |x| x.pow(3.0))),
        ("pow", |c| sample(c, "pow −1", Values::AwayFromZero, |x| x.pow(-1.0))),
        // Bounds between the values of `Distinct`, which are multiples of 0.1.
        ("clamp", |c| {
            sample(c, "clamp −0.75 to 0.55", Values::Distinct, |x| x.clamp(-0.75, 0.55))
        }),
    ],
};

fn sample(
    c: &mut SampleGenerator,
    name: &str,
    values: Values,
    f: fn(&Tensor) -> Result<Tensor>,
) -> Sample {
    let shape = c.shape(0..=4, 5);
    let input = c.tensor(&shape, values);
    Sample::new(name, vec![input], move |x| f(&x[0]))
}
