//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo { name: "cast", operations: &[("cast", sample)] };

/// To f64: from f64 for the gradients, from f32 where the op check compares the two.
fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=4, 5);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new("to f64", vec![input], |x| x[0].to_dtype(DType::F64))
}
