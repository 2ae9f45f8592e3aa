//! Sample inputs for the op check.

use crate::checks::{OpInfo, Sample, SampleGenerator, Values};
use crate::{Result, Tensor};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "gather",
    operations: &[
        ("gather", sample_gather),
        ("gather", sample_index_select),
        ("one_hot", sample_one_hot),
    ],
};

/// `numel` numbers below `size`, some of them several times.
fn numbers(c: &mut SampleGenerator, numel: usize, size: usize) -> Vec<i64> {
    let (first, step) = (c.size(0..=size - 1), c.size(1..=7));
    (0..numel).map(|i| ((first + i * step + i / 5) % size) as i64).collect()
}

/// `indices` as a tensor on the device of `x`, every second element of something larger if
/// `strided`.
fn indices_for(x: &Tensor, indices: &[i64], shape: &[usize], strided: bool) -> Result<Tensor> {
    if !strided {
        return Tensor::from_slice(indices, shape)?.to_device(x.device());
    }
    let twice: Vec<i64> = indices.iter().flat_map(|&index| [index, -1]).collect();
    let mut larger = shape.to_vec();
    larger.push(2);
    let twice = Tensor::from_slice(&twice, &larger)?.to_device(x.device())?;
    twice.narrow(shape.len(), 0, 1)?.squeeze(shape.len())
}

fn sample_gather(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let mut chosen: Vec<usize> =
        shape.iter().map(|&size| if c.is_large() { size } else { c.size(1..=size) }).collect();
    if !c.is_large() {
        chosen[dim] = c.size(1..=8);
    }
    let indices = numbers(c, chosen.iter().product(), shape[dim]);
    let strided = c.flag();
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("gather {chosen:?} along {dim}"), vec![input], move |x| {
        x[0].gather(dim, &indices_for(&x[0], &indices, &chosen, strided)?)
    })
}

fn sample_index_select(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let dim = c.size(0..=shape.len() - 1);
    let count = if c.is_large() { shape[dim] } else { c.size(1..=9) };
    let indices = numbers(c, count, shape[dim]);
    let strided = c.flag();
    let input = c.tensor(&shape, Values::Normal);
    Sample::new(format!("index_select {count} along {dim}"), vec![input], move |x| {
        x[0].index_select(dim, &indices_for(&x[0], &indices, &[count], strided)?)
    })
}

/// Where the largest elements are, as a mask of those: the sum with it is differentiable.
fn sample_one_hot(c: &mut SampleGenerator) -> Sample {
    let shape = c.shape(1..=4, 6);
    let last = shape.len() - 1;
    let input = c.tensor(&shape, Values::Distinct);
    Sample::new("of the largest", vec![input], move |x| {
        let places = x[0].argmax(last)?;
        places.one_hot(shape[last], x[0].dtype())?.mul(&x[0])
    })
}
