//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "reduce",
    operations: &[
        ("sum", |c| sample(c, "sum", Values::Normal, [Tensor::sum, Tensor::sum_keepdim])),
        ("max", |c| sample(c, "max", Values::Distinct, [Tensor::amax, Tensor::amax_keepdim])),
        ("sum", |c| sample(c, "mean", Values::Normal, [Tensor::mean, Tensor::mean_keepdim])),
        ("argmax", sample_argmax),
    ],
};

/// The elements at the places of the maxima, since places are not differentiable.
fn sample_argmax(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let input = c.tensor(&shape, Values::Distinct);
    Sample::new(format!("argmax along {dim}"), vec![input], move |x| {
        x[0].gather(dim, &x[0].argmax_keepdim(dim)?)
    })
}

type Reduction = fn(&Tensor, &[usize]) -> Result<Tensor>;

/// `forms` are without and with the dimensions.
fn sample(
    c: &mut SampleGenerator,
    name: &'static str,
    values: Values,
    forms: [Reduction; 2],
) -> Sample {
    let shape = c.shape(0..=4, 6);
    let dims: Vec<usize> = (0..shape.len()).filter(|_| c.flag()).collect();
    let input = c.tensor(&shape, values);
    let keep = c.flag();
    let text = format!("{name} over {dims:?}{}", if keep { ", which are kept" } else { "" });
    Sample::new(text, vec![input], move |x| forms[usize::from(keep)](&x[0], &dims))
}
