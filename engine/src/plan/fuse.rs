//! Rules that join operations into one pass over memory.
//!
//! Each operation knows which others it can absorb (`Conv2d::with_residual`); the rules here decide
//! when. A fused operation gives the same bits as its parts, unless the rule says otherwise. The
//! rules about dynamic filters are in `filters.rs`.

use super::filters;
use super::graph::PlanGraph;
use crate::ops::arith::{Add, Affine, Div, Mul, Sub};
use crate::ops::batch_norm::WithStats;
use crate::ops::cast::Cast;
use crate::ops::concat::Concat;
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::Conv2d;
use crate::ops::gelu::GeluOp;
use crate::ops::pool::{AvgPool, MaxPool2d};
use crate::ops::resize::{AddBilinear, BilinearOp};
use crate::ops::slice::Slice;
use crate::ops::unary::{Elementwise, Sqrt};
use crate::ops::view::Reshape;
use crate::trace::ValueId;
use crate::{DType, Result};

/// Applies every rule to every traced operation, in the order in which the code called them.
pub(super) fn apply(graph: &mut PlanGraph) -> Result<()> {
    nest_pools(graph);
    for n in graph.numbers() {
        normalized_convolution(graph, n)?;
        filters::apply(graph, n)?;
        sum(graph, n);
        gelu(graph, n);
        joined_convolution(graph, n)?;
        gelu_before_convolution(graph, n);
    }
    Ok(())
}

/// Makes each pool of a map but the finest from a finer one, so that the map is read once: a mean
/// of means is the mean of the whole window, as the maximum of maxima is its maximum. Means differ
/// by rounding. Maxima are left alone in a recorded pass, where it matters which of several equal
/// elements gets the gradient.
fn nest_pools(graph: &mut PlanGraph) {
    let windows = |graph: &PlanGraph, n: usize| {
        let mean = graph.op::<AvgPool>(n).and_then(AvgPool::tiling).map(|size| (size, true));
        let largest = graph.op::<MaxPool2d>(n).filter(|_| !graph.on_tape);
        mean.or_else(|| largest?.tiling().map(|size| (size, false)))
    };
    let pools: Vec<(usize, ValueId, ValueId, (usize, bool))> = graph
        .numbers()
        .filter_map(|n| {
            let (node, windows) = (graph.node(n)?, windows(graph, n)?);
            Some((n, node.inputs[0], node.outputs[0], windows))
        })
        .collect();
    for &(n, input, _, (size, mean)) in &pools {
        let finer = pools.iter().filter(|&&(_, from, _, (finer, same))| {
            from == input && same == mean && finer < size && size % finer == 0
        });
        if let Some(&(_, _, value, (finer, _))) = finer.max_by_key(|(_, _, _, (size, _))| *size) {
            match mean {
                true => graph.replace(n, AvgPool::of(size / finer), vec![value]),
                false => graph.replace(n, MaxPool2d::of(size / finer), vec![value]),
            }
        }
    }
}

/// Folds batch normalization by constants into the convolution before it: norm(w∗x + b) = (s·w)∗x +
/// (s·b + t), one convolution whose weight and bias are computed once. It differs by rounding.
fn normalized_convolution(graph: &mut PlanGraph, n: usize) -> Result<()> {
    let Some(&WithStats { eps }) = graph.op::<WithStats>(n) else { return Ok(()) };
    let inputs = graph.inputs_of(n);
    let Some(conv) = graph.sole_producer::<Conv2d>(inputs[0]) else { return Ok(()) };
    let Some(plain) = graph.op::<Conv2d>(conv).filter(|op| op.is_plain()).cloned() else {
        return Ok(());
    };
    let operands = graph.inputs_of(conv);
    let constants = inputs[1..].iter().chain(&operands[1..]);
    let known = graph.constants();
    if graph.on_tape || !constants.copied().all(|id| known[id]) {
        return Ok(());
    }
    // Folded in the type that parameters are stored in, and rounded once.
    let stored = |graph: &PlanGraph, id: ValueId| match graph.producer::<Cast>(id) {
        Some(cast) => graph.node(cast).map_or(id, |node| node.inputs[0]),
        None => id,
    };
    let (dtype, position) = (graph.values[inputs[0]].dtype, graph.position(inputs[0]));
    let [mean, var, weight, bias] = [1, 2, 3, 4].map(|i| stored(graph, inputs[i]));
    let w = stored(graph, operands[1]);
    let b = operands.get(2).map(|&b| stored(graph, b));
    // They are computed with as they are stored: in one type, and not in half precision.
    let type_of = |id: ValueId| graph.values[id].dtype;
    let alike = [mean, var, weight, bias].into_iter().chain(b).all(|id| type_of(id) == type_of(w));
    if !alike || !matches!(type_of(w), DType::F32 | DType::F64) {
        return Ok(());
    }
    let shifted = graph.add(Affine { scale: 1.0, shift: eps }, vec![var], position)?;
    let deviation = graph.add(Elementwise(Sqrt), vec![shifted], position)?;
    let scale = graph.add(Div, vec![weight, deviation], position)?;
    let moved = graph.add(Mul, vec![mean, scale], position)?;
    let mut constant = graph.add(Sub, vec![bias, moved], position)?;
    if let Some(b) = b {
        let scaled = graph.add(Mul, vec![b, scale], position)?;
        constant = graph.add(Add, vec![scaled, constant], position)?;
    }
    let shape = vec![graph.values[w].shape[0], 1, 1, 1];
    let column = graph.add(Reshape { shape }, vec![scale], position)?;
    let mut folded = graph.add(Mul, vec![w, column], position)?;
    for value in [&mut folded, &mut constant] {
        let from = graph.values[*value].dtype;
        if from != dtype {
            *value = graph.add(Cast { to: dtype, from }, vec![*value], position)?;
        }
    }
    graph.replace(n, plain.with_bias(), vec![operands[0], folded, constant]);
    Ok(())
}

/// Fuses a sum of two maps of the same shape into the operation that makes one of them, if it can
/// add the other. A bilinear map is added part by part, which differs by rounding.
fn sum(graph: &mut PlanGraph, n: usize) {
    let Some(Add) = graph.op::<Add>(n) else { return };
    let Some(node) = graph.node(n) else { return };
    let (a, b, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    if [a, b].iter().any(|&id| graph.values[id] != graph.values[y]) {
        return;
    }
    // If both producers could add, the later one does, since the other's result is ready first.
    let mut pairs = [(a, b), (b, a)];
    if graph.position(b) > graph.position(a) {
        pairs.reverse();
    }
    for (value, other) in pairs {
        if let Some(resize) = graph.sole_producer::<BilinearOp>(value)
            && let Some(first) = graph.op::<BilinearOp>(resize).and_then(AddBilinear::of)
        {
            let Some(from) = graph.node(resize).map(|node| node.inputs[0]) else { continue };
            let more = graph
                .sole_producer::<AddBilinear>(other)
                .filter(|&m| graph.op::<AddBilinear>(m).is_some_and(|op| *op == first));
            let mut inputs = more.map_or_else(|| vec![other], |m| graph.inputs_of(m));
            inputs.push(from);
            graph.replace(n, first, inputs);
            return;
        }
        if let Some(conv) = graph.sole_producer::<Conv2d>(value)
            && let Some(op) = graph.op::<Conv2d>(conv).and_then(Conv2d::with_residual)
        {
            let mut inputs = graph.inputs_of(conv);
            inputs.push(other);
            graph.replace(n, op, inputs);
            return;
        }
    }
}

/// Fuses a GELU into the operation before it, which applies it as it writes.
///
/// In a recorded pass, a GELU before a convolution is left to that convolution. Then only the
/// GELU's input is in memory, which the gradient needs anyway.
fn gelu(graph: &mut PlanGraph, n: usize) {
    let Some(GeluOp) = graph.op::<GeluOp>(n) else { return };
    let Some((x, y)) = graph.node(n).map(|node| (node.inputs[0], node.outputs[0])) else { return };
    if graph.on_tape
        && let [reader] = graph.readers(y)[..]
        && let Some(conv) = graph.op::<Conv2d>(reader)
        && conv.with_gelu_input().is_some()
        && graph.node(reader).is_some_and(|node| node.inputs[0] == y)
    {
        return;
    }
    if let Some(m) = graph.sole_producer::<Conv2d>(x)
        && let Some(op) = graph.op::<Conv2d>(m).and_then(Conv2d::with_gelu)
    {
        graph.replace(n, op, graph.inputs_of(m));
    } else if let Some(m) = graph.sole_producer::<ConvTranspose2d>(x)
        && let Some(op) = graph.op::<ConvTranspose2d>(m).and_then(ConvTranspose2d::with_gelu)
    {
        graph.replace(n, op, graph.inputs_of(m));
    } else if let Some(m) = graph.sole_producer::<AddBilinear>(x)
        && let Some(op) = graph.op::<AddBilinear>(m).and_then(AddBilinear::with_gelu)
    {
        graph.replace(n, op, graph.inputs_of(m));
    }
}

/// Fuses the GELU of a convolution's input into the convolution, which takes it as it reads. Only
/// in a recorded pass.
fn gelu_before_convolution(graph: &mut PlanGraph, n: usize) {
    let Some(op) = graph.op::<Conv2d>(n).and_then(Conv2d::with_gelu_input) else { return };
    let mut inputs = graph.inputs_of(n);
    if graph.on_tape
        && let Some(gelu) = graph.sole_producer::<GeluOp>(inputs[0])
        && let Some(node) = graph.node(gelu)
    {
        inputs[0] = node.inputs[0];
        graph.replace(n, op, inputs);
    }
}

/// Makes a convolution of maps concatenated along their channels a sum of convolutions, each of one
/// map with its part of the weight. Nothing is joined, and the map that is made first is dropped
/// before the next one is made. The order of the sum differs, and so does its rounding.
fn joined_convolution(graph: &mut PlanGraph, n: usize) -> Result<()> {
    let Some(conv) = graph.op::<Conv2d>(n).filter(|op| op.is_sum_over_channels()).cloned() else {
        return Ok(());
    };
    let operands = graph.inputs_of(n);
    let Some(concat) = graph.sole_producer::<Concat>(operands[0]) else { return Ok(()) };
    if graph.op::<Concat>(concat).is_none_or(|op| op.dim != 1) {
        return Ok(());
    }
    let maps = graph.inputs_of(concat);
    let mut start = 0;
    let mut parts: Vec<(ValueId, usize, usize)> = Vec::new();
    for map in maps {
        let channels = graph.values[map].shape[1];
        parts.push((map, start, channels));
        start += channels;
    }
    // The map that is made first is convolved first.
    parts.sort_by(|a, b| graph.position(a.0).total_cmp(&graph.position(b.0)));
    let [first, next, last] = conv.parts();
    let (weight, mut rest) = (operands[1], operands[2..].to_vec());
    for (i, &(map, start, len)) in parts.iter().enumerate() {
        let position = match parts.get(i + 1) {
            Some(&(next, ..)) => graph.position(next).max(graph.position(map)) - 0.5,
            None => graph.position(operands[0]),
        };
        let part = graph.add(Slice { dim: 1, start, len, step: 1 }, vec![weight], position)?;
        let inputs: Vec<ValueId> = [map, part].into_iter().chain(rest).collect();
        if i + 1 == parts.len() {
            graph.replace(n, if i == 0 { conv } else { last }, inputs);
            return Ok(());
        }
        let op = if i == 0 { first.clone() } else { next.clone() };
        rest = vec![graph.add(op, inputs, position)?];
    }
    Ok(())
}
