//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "pad",
    operations: &[("pad_zeros", |c| sample(c, false)), ("pad_reflect", |c| sample(c, true))],
};

fn sample(c: &mut SampleGenerator, reflect: bool) -> Sample {
    let shape = c.shape(2..=4, 5);
    let [h, w] =
        [2, 1].map(|d| shape[shape.len() - d]).map(|side| if reflect { side - 1 } else { 3 });
    let padding = Padding {
        top: c.size(0..=h),
        bottom: c.size(0..=h),
        left: c.size(0..=w),
        right: c.size(0..=w),
    };
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("by {padding:?}"), vec![input], move |x| match reflect {
        true => x[0].pad_reflect(padding),
        false => x[0].pad_zeros(padding),
    })
}
