//! Random uses, for the checks.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

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
            x[0].dynamic_filter_shifted(&x[1], &x[2], padding)
        });
    }
    Sample::new(format!("{padding:?}"), inputs, move |x| x[0].dynamic_filter(&x[1], padding))
}
