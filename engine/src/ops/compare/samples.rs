//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "compare",
    operations: &[
        ("eq", |c| sample_equality(c, "eq", |a, b| a.eq(b))),
        ("ne", |c| sample_equality(c, "ne", |a, b| a.ne(b))),
        ("lt", |c| sample_order(c, "lt", |a, b| a.lt(b))),
        ("le", |c| sample_order(c, "le", |a, b| a.le(b))),
        ("lt", |c| sample_order(c, "gt", |a, b| a.gt(b))),
        ("le", |c| sample_order(c, "ge", |a, b| a.ge(b))),
        ("lt", |c| sample_number(c, "gt −0.4375", |x| x.gt(-0.4375))),
        ("eq", |c| sample_number(c, "eq 0.25", |x| x.eq(0.25))),
    ],
};

/// Random broadcastable shapes, and values some of which are equal.
fn sample_equality(
    c: &mut SampleGenerator,
    name: &'static str,
    f: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Sample {
    let shape = c.shape(0..=4, 5);
    let smaller = c.broadcastable(&shape);
    let inputs = vec![c.tensor(&shape, Values::Distinct), c.tensor(&smaller, Values::Distinct)];
    Sample::new(name, inputs, move |x| f(&x[0], &x[1]))
}

/// A comparison with constants 0.25·j + 0.0625, which every dtype has. They are at least 0.0125
/// from the values of `Distinct`, multiples of 0.1, so that no step of a finite difference crosses
/// one.
fn sample_order(
    c: &mut SampleGenerator,
    name: &'static str,
    f: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Sample {
    let (left, right) = c.broadcast_pair();
    let input = c.tensor(&left, Values::Distinct);
    let numel: usize = right.iter().product();
    let constants: Vec<f64> = (0..numel).map(|i| 0.25 * (i % 13) as f64 - 1.4375).collect();
    Sample::new(format!("{name} {right:?}"), vec![input], move |x| {
        f(&x[0], &x[0].constant(&constants, &right)?)
    })
}

fn sample_number(
    c: &mut SampleGenerator,
    name: &'static str,
    f: fn(&Tensor) -> Result<Tensor>,
) -> Sample {
    let shape = c.shape(0..=4, 5);
    let input = c.tensor(&shape, Values::Distinct);
    Sample::new(name, vec![input], move |x| f(&x[0]))
}
