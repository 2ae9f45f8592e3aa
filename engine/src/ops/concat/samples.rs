//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "concat", operations: &[("concat", sample), ("concat", sample_stack)] };

fn sample_stack(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=3, 5);
    let dim = c.size(0..=shape.len());
    let inputs = (0..c.size(1..=3)).map(|_| c.tensor(&shape, Values::Normal)).collect();
    Sample::new(format!("stack along {dim}"), inputs, move |x| {
        Tensor::stack(&x.iter().collect::<Vec<_>>(), dim)
    })
}

fn sample(c: &mut SampleGenerator) -> Sample {
    let mut shape = c.shape(1..=4, 5);
    let dim = c.size(0..=shape.len() - 1);
    let count = c.size(1..=3);
    let inputs = (0..count)
        .map(|_| {
            shape[dim] = c.size(1..=4);
            c.tensor(&shape, Values::Normal)
        })
        .collect();
    Sample::new(format!("along {dim}"), inputs, move |x| {
        Tensor::concat(&x.iter().collect::<Vec<_>>(), dim)
    })
}
