//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::plan::planned_one;

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo =
    OpInfo { name: "conv2d", operations: &[("conv2d", sample), ("conv2d", sample_planned)] };

/// Random settings: mostly small, with odd sizes, and often more than one block of channels or tile
/// of pixels.
pub(in crate::ops) fn sample_settings(
    c: &mut SampleGenerator,
) -> (Conv2dOptions, [usize; 4], [usize; 2]) {
    let groups = c.pick(&[1, 1, 1, 2, 3]);
    let (kh, kw) = (c.pick(&[3, 1, 2, 4]), c.pick(&[3, 1, 2, 4]));
    let options = Conv2dOptions {
        stride: c.size(1..=3),
        padding: c.size(0..=2),
        dilation: c.pick(&[1, 1, 2]),
        groups,
    };
    let least = (kh.max(kw) - 1) * options.dilation + 1;
    let (h, w) = (c.extent(least..=least + 4), c.extent(least..=least + 8));
    let (from, to) = (groups * c.channels(&[1, 2, 3, 4]), groups * c.channels(&[1, 2, 3, 8, 11]));
    (options, [c.size(1..=2), from, h, w], [to, kh * 16 + kw])
}

fn sample(c: &mut SampleGenerator) -> Sample {
    let (options, x, [to, kernel]) = sample_settings(c);
    let weight = [to, x[1] / options.groups, kernel / 16, kernel % 16];
    let mut inputs = vec![c.tensor(&x, Values::Normal), c.tensor(&weight, Values::Normal)];
    if c.flag() {
        inputs.push(c.tensor(&[to], Values::Normal));
    }
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    let label = format!("stride {stride}, padding {padding}, dilation {dilation}, groups {groups}");
    Sample::new(label, inputs, move |x| x[0].conv2d(&x[1], x.get(2), options))
}

/// A convolution with or without a bias, a residual and activations, as a plan fuses them.
fn sample_planned(c: &mut SampleGenerator) -> Sample {
    let (options, x, [to, kernel]) = sample_settings(c);
    let weight = [to, x[1] / options.groups, kernel / 16, kernel % 16];
    let [bias, residual, gelu_input, gelu] = [(); 4].map(|()| c.flag());
    let mut inputs = vec![c.tensor(&x, Values::Normal), c.tensor(&weight, Values::Normal)];
    if bias {
        inputs.push(c.tensor(&[to], Values::Normal));
    }
    if residual {
        let y = inputs[0].conv2d(&inputs[1], None, options).expect("the sample fits");
        inputs.push(c.tensor(y.shape(), Values::Normal));
    }
    let label = format!("{options:?}, GELU of the input {gelu_input}, of the output {gelu}");
    Sample::new(label, inputs, move |x| {
        planned_one(x, |x| {
            let from = if gelu_input { x[0].gelu()? } else { x[0].clone() };
            let mut y = from.conv2d(&x[1], bias.then(|| &x[2]), options)?;
            if residual {
                y = y.add(x.last().expect("the residual is the last"))?;
            }
            if gelu { y.gelu() } else { Ok(y) }
        })
    })
}
