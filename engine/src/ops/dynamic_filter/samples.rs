//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::plan::planned_one;

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "dynamic_filter",
    operations: &[
        ("dynamic_filter", |c| sample(c, false)),
        ("dynamic_filter", |c| sample(c, true)),
    ],
};

fn sample(c: &mut SampleGenerator, shifted: bool) -> Sample {
    let padding = c.pick(&[Border::Reflect, Border::Zero]);
    let k = c.pick(&[3, 1, 5]);
    let (groups, per_group) = (c.size(1..=3), c.channels(&[1, 2, 5, 16]));
    let least = if padding == Border::Reflect { k / 2 + 1 } else { 1 };
    let shape = c.map_shape(groups * per_group, least, 6);
    let mut inputs =
        vec![c.tensor(&shape, Values::Normal), c.tensor(&[shape[0], groups, k, k], Values::Normal)];
    if shifted {
        inputs.push(c.tensor(&shape[..2], Values::Normal));
        return Sample::new(format!("{padding:?}, shifted"), inputs, move |x| {
            planned_one(x, |x| {
                let [n, c] = x[2].shape()[..] else { return Ok(x[2].clone()) };
                x[0].dynamic_filter(&x[1], padding)?.add(&x[2].reshape(&[n, c, 1, 1])?)
            })
        });
    }
    Sample::new(format!("{padding:?}"), inputs, move |x| x[0].dynamic_filter(&x[1], padding))
}
