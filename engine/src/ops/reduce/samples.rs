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
        ("argmax", sample_argmax),
    ],
};

/// The elements at the places of the maxima, since places are not differentiable.
fn sample_argmax(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let input = c.tensor(&shape, Values::Distinct);
    Sample::new(format!("argmax along {dim}"), vec![input], move |x| {
        x[0].gather(dim, &x[0].argmax(dim)?)
    })
}

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
