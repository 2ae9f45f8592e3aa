//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::plan::planned_one;
use crate::{Result, Tensor};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "resize",
    operations: &[
        ("bilinear", |c| sample_bilinear(c, true)),
        ("bilinear", |c| sample_bilinear(c, false)),
        ("bilinear", sample_by_scale),
        ("add_bilinear", sample_add),
        ("nearest", sample_nearest),
        ("nearest_every", sample_every),
    ],
};

fn sample_bilinear(c: &mut SampleGenerator, align_corners: bool) -> Sample {
    let (out_h, out_w) = (c.extent(1..=9), c.extent(1..=9));
    let shape = shape(c, 1);
    let input = c.tensor(&shape, Values::Normal);
    let label = format!("to {out_h}×{out_w}, align_corners {align_corners}");
    Sample::new(label, vec![input], move |x| x[0].bilinear(out_h, out_w, align_corners))
}

fn sample_by_scale(c: &mut SampleGenerator) -> Sample {
    let scale = c.pick(&[0.5, 2.0, 0.25, 0.7, 1.3]);
    let shape = shape(c, 4);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("by {scale}"), vec![input], move |x| x[0].bilinear_by_scale(scale))
}

fn sample_add(c: &mut SampleGenerator) -> Sample {
    let x = shape(c, 1);
    let mut inputs = vec![c.tensor(&x, Values::Normal)];
    for _ in 0..c.size(1..=3) {
        let (h, w) = (c.extent(1..=9), c.extent(1..=9));
        inputs.push(c.tensor(&[x[0], x[1], h, w], Values::Normal));
    }
    let (align_corners, gelu) = (c.flag(), c.flag());
    Sample::new(format!("align_corners {align_corners}, gelu {gelu}"), inputs, move |x| {
        planned_one(x, |x| {
            let sum = add_enlarged(&x[0], &x[1..], align_corners)?;
            if gelu { sum.gelu() } else { Ok(sum) }
        })
    })
}

/// `x` plus each of `others`, resized to its size: a plan computes the sum in one pass.
pub(super) fn add_enlarged(x: &Tensor, others: &[Tensor], align_corners: bool) -> Result<Tensor> {
    let [.., h, w] = x.dims4("bilinear")?;
    others.iter().try_fold(x.clone(), |sum, y| sum.add(&y.bilinear(h, w, align_corners)?))
}

fn sample_nearest(c: &mut SampleGenerator) -> Sample {
    let (out_h, out_w) = (c.extent(1..=9), c.extent(1..=9));
    let shape = shape(c, 1);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("to {out_h}×{out_w}"), vec![input], move |x| x[0].nearest(out_h, out_w))
}

fn sample_every(c: &mut SampleGenerator) -> Sample {
    let step = c.size(1..=4);
    let shape = shape(c, step);
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("every {step}"), vec![input], move |x| x[0].nearest_every(step))
}

fn shape(c: &mut SampleGenerator, least: usize) -> Vec<usize> {
    let channels = c.channels(&[1, 3, 8]);
    c.map_shape(channels, least, 6)
}
