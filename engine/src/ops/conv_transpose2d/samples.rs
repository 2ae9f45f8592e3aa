//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::ops::conv2d::samples::sample_settings;
use crate::plan::planned_one;

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "conv_transpose2d", operations: &[("conv_transpose2d", sample)] };

fn sample(c: &mut SampleGenerator) -> Sample {
    let (options, mut x, [to, kernel]) = sample_settings(c);
    let (kh, kw) = (kernel / 16, kernel % 16);
    // Small maps suffice, and the output must have a pixel left after the padding is cut off.
    let options = Conv2dOptions { padding: options.padding.min((kh.min(kw) - 1) / 2), ..options };
    (x[2], x[3]) = (c.extent(1..=4), c.extent(1..=7));
    let weight = [x[1], to / options.groups, kh, kw];
    let mut inputs = vec![c.tensor(&x, Values::Normal), c.tensor(&weight, Values::Normal)];
    if c.flag() {
        inputs.push(c.tensor(&[to], Values::Normal));
    }
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    let gelu = c.flag();
    let label = format!(
        "stride {stride}, padding {padding}, dilation {dilation}, groups {groups}, gelu {gelu}"
    );
    Sample::new(label, inputs, move |x| {
        planned_one(x, |x| {
            let y = x[0].conv_transpose2d(&x[1], x.get(2), options)?;
            if gelu { y.gelu() } else { Ok(y) }
        })
    })
}
