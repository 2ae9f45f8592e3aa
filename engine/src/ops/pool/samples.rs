//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "pool",
    operations: &[
        ("avg_pool2d", |c| sample_windows(c, Values::Normal, Tensor::avg_pool2d)),
        ("max_pool2d", |c| sample_windows(c, Values::Distinct, Tensor::max_pool2d)),
        ("adaptive_avg_pool2d", sample_adaptive),
        ("sum", sample_global),
    ],
};

fn sample_windows(
    c: &mut SampleGenerator,
    values: Values,
    f: fn(&Tensor, usize, usize) -> Result<Tensor>,
) -> Sample {
    let (kernel, stride) = c.pick(&[(2, 2), (1, 1), (3, 1), (2, 3), (4, 4), (3, 2)]);
    let channels = c.channels(&[1, 3, 8]);
    let shape = c.map_shape(channels, kernel, 7);
    let input = c.tensor(&shape, values);
    Sample::new(format!("{kernel}×{kernel}, stride {stride}"), vec![input], move |x| {
        f(&x[0], kernel, stride)
    })
}

fn sample_adaptive(c: &mut SampleGenerator) -> Sample {
    let (out_h, out_w) = (c.extent(1..=8), c.extent(1..=8));
    let shape = c.map_shape(2, 1, 6);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("to {out_h}×{out_w}"), vec![input], move |x| {
        x[0].adaptive_avg_pool2d(out_h, out_w)
    })
}

fn sample_global(c: &mut SampleGenerator) -> Sample {
    let shape = c.map_shape(3, 1, 6);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new("global", vec![input], |x| x[0].global_avg_pool())
}
