//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::plan::planned_one;

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "dynamic_filter",
    operations: &[
        ("dynamic_filter", |c| sample(c, Joined::Nothing)),
        ("dynamic_filter", |c| sample(c, Joined::Shift)),
        ("dynamic_filter", |c| sample(c, Joined::All)),
    ],
};

/// What a plan joins to the filter.
enum Joined {
    Nothing,
    Shift,
    /// A factor for each channel, a shift, and the input.
    All,
}

fn sample(c: &mut SampleGenerator, joined: Joined) -> Sample {
    let padding = c.pick(&[Border::Reflect, Border::Zero]);
    let k = c.pick(&[3, 1, 5]);
    let (groups, per_group) = (c.size(1..=3), c.channels(&[1, 2, 5, 16]));
    let least = if padding == Border::Reflect { k / 2 + 1 } else { 1 };
    let shape = c.map_shape(groups * per_group, least, 6);
    let mut inputs =
        vec![c.tensor(&shape, Values::Normal), c.tensor(&[shape[0], groups, k, k], Values::Normal)];
    match joined {
        Joined::Nothing => Sample::new(format!("{padding:?}"), inputs, move |x| {
            x[0].dynamic_filter(&x[1], padding)
        }),
        Joined::Shift => {
            inputs.push(c.tensor(&[shape[0], shape[1], 1, 1], Values::Normal));
            Sample::new(format!("{padding:?}, shifted"), inputs, move |x| {
                planned_one(x, |x| x[0].dynamic_filter(&x[1], padding)?.add(&x[2]))
            })
        }
        Joined::All => {
            inputs.push(c.tensor(&[1, shape[1], 1, 1], Values::Normal));
            Sample::new(format!("{padding:?}, scaled, shifted, and its input"), inputs, move |x| {
                planned_one(x, |x| {
                    let filtered = x[0].dynamic_filter(&x[1], padding)?;
                    filtered.mul(&x[2])?.sub(&x[2])?.add(&x[0])
                })
            })
        }
    }
}
