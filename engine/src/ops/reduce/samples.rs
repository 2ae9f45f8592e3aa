//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "reduce",
    operations: &[
        ("sum", |c| sample(c, "sum", Values::Normal, Tensor::sum)),
        ("max", |c| sample(c, "max", Values::Distinct, Tensor::max)),
        ("sum", |c| sample(c, "mean", Values::Normal, Tensor::mean)),
    ],
};

fn sample(
    c: &mut SampleGenerator,
    name: &'static str,
    values: Values,
    f: fn(&Tensor, &[usize]) -> Result<Tensor>,
) -> Sample {
    let shape = c.shape(0..=4, 6);
    let dims: Vec<usize> = (0..shape.len()).filter(|_| c.flag()).collect();
    let input = c.tensor(&shape, values);
    Sample::new(format!("{name} over {dims:?}"), vec![input], move |x| f(&x[0], &dims))
}
