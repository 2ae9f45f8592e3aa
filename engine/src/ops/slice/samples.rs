//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "slice", operations: &[("slice", sample), ("slice", sample_chunk)] };

/// One of the chunks, which may be shorter than the others.
fn sample_chunk(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let count = c.size(1..=shape[dim]);
    let input = c.tensor(&shape, Values::Normal);
    let last = c.flag();
    Sample::new(format!("one of {count} chunks along {dim}"), vec![input], move |x| {
        let chunks = x[0].chunk(count, dim)?;
        Ok(chunks[if last { chunks.len() - 1 } else { 0 }].clone())
    })
}

fn sample(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let start = c.size(0..=shape[dim] - 1);
    let step = c.size(1..=3);
    let len = c.size(1..=(shape[dim] - start).div_ceil(step));
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("{len} from {start} by {step} along {dim}"), vec![input], move |x| {
        x[0].slice(dim, start, len, step)
    })
}
