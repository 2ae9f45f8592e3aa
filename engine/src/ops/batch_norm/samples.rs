//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "batch_norm",
    operations: &[("batch_norm", sample_train), ("batch_norm", sample_eval)],
};

/// x with at least two values per channel, a weight and a bias.
fn inputs(c: &mut SampleGenerator) -> Vec<Tensor> {
    let channels = c.channels(&[1, 3, 8]);
    let mut shape = c.map_shape(channels, 1, 5);
    shape[0] += 1;
    vec![
        c.tensor(&shape, Values::Normal),
        c.tensor(&[channels], Values::AwayFromZero),
        c.tensor(&[channels], Values::Normal),
    ]
}

/// A large eps: with the usual one, two values that happen to be close would make a step too steep
/// for differences.
fn sample_train(c: &mut SampleGenerator) -> Sample {
    Sample::new("train", inputs(c), |x| Ok(x[0].batch_norm_train(&x[1], &x[2], 0.1)?.0))
}

fn sample_eval(c: &mut SampleGenerator) -> Sample {
    let inputs = inputs(c);
    let (mean, var) = (
        c.tensor(inputs[1].shape(), Values::Normal),
        c.tensor(inputs[1].shape(), Values::Positive),
    );
    Sample::new("eval", inputs, move |x| {
        let like_x = |numbers: &Tensor| numbers.to_device(x[0].device())?.to_dtype(x[0].dtype());
        x[0].batch_norm_eval(&like_x(&mean)?, &like_x(&var)?, &x[1], &x[2], 1e-5)
    })
}
