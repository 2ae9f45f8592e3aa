//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "view",
    operations: &[
        ("reshape", sample_reshape),
        ("reshape", sample_squeeze),
        ("permute", sample_permute),
        ("broadcast_to", sample_broadcast),
    ],
};

fn sample_reshape(c: &mut SampleGenerator) -> Sample {
    let (a, b, d) = (c.extent(1..=4), c.extent(1..=4), c.extent(1..=4));
    let (from, to) = c.pick(&[
        (vec![a, b, d], vec![a * b, d]),
        (vec![a, b * d], vec![a, b, d]),
        (vec![2, a, b, d], vec![2 * a, b * d]),
        (vec![2, a, 1, 1], vec![2, a]),
        (vec![a, b, d], vec![d, 1, b, a]),
    ]);
    let input = c.tensor(&from, Values::Normal);
    Sample::new(format!("to {to:?}"), vec![input], move |x| x[0].reshape(&to))
}

fn sample_squeeze(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=3, 4);
    let dim = c.size(0..=shape.len());
    let squeezes = c.flag();
    let with = [&shape[..dim], &[1], &shape[dim..]].concat();
    let input = c.tensor(if squeezes { &with } else { &shape }, Values::Normal);
    let name = if squeezes { "squeeze" } else { "unsqueeze" };
    Sample::new(format!("{name} {dim}"), vec![input], move |x| match squeezes {
        true => x[0].squeeze(dim),
        false => x[0].unsqueeze(dim),
    })
}

fn sample_permute(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 4);
    let mut dims: Vec<usize> = (0..shape.len()).collect();
    for i in (1..shape.len()).rev() {
        dims.swap(i, c.size(0..=i));
    }
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("by {dims:?}"), vec![input], move |x| x[0].permute(&dims))
}

fn sample_broadcast(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(0..=4, 4);
    let smaller = c.broadcastable(&shape);
    let input = c.tensor(&smaller, Values::Normal);
    Sample::new(format!("to {shape:?}"), vec![input], move |x| x[0].broadcast_to(&shape))
}
