//! Rules that join what follows a dynamic filter to the filter.
//!
//! A filter computes A∗x + b, with taps A and a number b for each image and channel. A factor for
//! each channel, a sum with a number for each channel and a sum with x itself make the same of
//! another A and another b, which are small, so the map is read and written once. All three rules
//! differ by rounding, since the taps are rounded instead of the maps between the operations.

use super::graph::PlanGraph;
use crate::Result;
use crate::ops::arith::{Add, Affine, Mul, Sub};
use crate::ops::dynamic_filter::DynamicFilter;
use crate::ops::pad::{Pad, Padding};
use crate::ops::view::{BroadcastTo, Reshape};
use crate::trace::ValueId;

/// Applies the rules to node `n`, if it reads the result of a filter that nothing else needs.
pub(super) fn apply(graph: &mut PlanGraph, n: usize) -> Result<()> {
    let Some((mut filter, other)) = Filter::before(graph, n) else { return Ok(()) };
    let minus = graph.op::<Sub>(n).is_some();
    if graph.op::<Mul>(n).is_some() {
        if !filter.is_per_channel(graph, other) {
            return Ok(());
        }
        filter.scale(graph, other)?;
    } else if filter.is_per_channel(graph, other) {
        filter.shift(graph, other, minus)?;
    } else if let Some(factor) = filter.factor_of_input(graph, other)? {
        filter.pass_input(graph, factor, minus)?;
    } else {
        return Ok(());
    }
    let inputs = [filter.x, filter.taps].into_iter().chain(filter.shift).collect();
    graph.replace(n, filter.op, inputs);
    Ok(())
}

/// A dynamic filter of `x` `[N, C, H, W]` in a graph.
struct Filter {
    op: DynamicFilter,
    x: ValueId,
    /// A, `[N, G, K, K]`.
    taps: ValueId,
    /// b, `[N, C]`.
    shift: Option<ValueId>,
    /// The position of the operations that compute A and b.
    position: f64,
}

impl Filter {
    /// The filter from whose result node `n` alone computes a sum, a difference or a product of the
    /// same shape, and the other operand. A filter that is subtracted does not count.
    fn before(graph: &PlanGraph, n: usize) -> Option<(Self, ValueId)> {
        let commutes = graph.op::<Add>(n).is_some() || graph.op::<Mul>(n).is_some();
        if !commutes && graph.op::<Sub>(n).is_none() {
            return None;
        }
        let node = graph.node(n)?;
        let (a, b, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let orders = if commutes { 2 } else { 1 };
        [(a, b), (b, a)].into_iter().take(orders).find_map(|(value, other)| {
            let filter = graph.sole_producer::<DynamicFilter>(value)?;
            if graph.values[value] != graph.values[y] {
                return None;
            }
            let op = *graph.op::<DynamicFilter>(filter)?;
            let inputs = graph.inputs_of(filter);
            let (x, taps, shift) = (inputs[0], inputs[1], inputs.get(2).copied());
            Some((Self { op, x, taps, shift, position: graph.position(y) }, other))
        })
    }

    /// Whether `value` has one number for each channel, or one for all, of each image or of all:
    /// `[N, C, 1, 1]`, where N and C may be 1.
    fn is_per_channel(&self, graph: &PlanGraph, value: ValueId) -> bool {
        let of_map = &graph.values[self.x].shape;
        match graph.values[value].shape[..] {
            [n, c, 1, 1] => [1, of_map[0]].contains(&n) && [1, of_map[1]].contains(&c),
            _ => false,
        }
    }

    /// The f of `value` = f·x, a number for each channel. 1 if `value` is x.
    fn factor_of_input(&self, graph: &mut PlanGraph, value: ValueId) -> Result<Option<ValueId>> {
        if value == self.x {
            return graph.add_constant(&[1.0], &[1; 4], self.x).map(Some);
        }
        let factors = graph.producer::<Mul>(value).map(|n| graph.inputs_of(n));
        let factor = match factors.as_deref() {
            Some(&[x, factor] | &[factor, x]) if x == self.x => Some(factor),
            _ => None,
        };
        Ok(factor.filter(|&factor| self.is_per_channel(graph, factor)))
    }

    /// Scales the taps and the shift instead of the map: f·(A∗x + b) = (f·A)∗x + f·b. It differs by
    /// rounding.
    fn scale(&mut self, graph: &mut PlanGraph, factor: ValueId) -> Result<()> {
        self.separate_channels_for(graph, factor)?;
        self.taps = graph.add(Mul, vec![self.taps, factor], self.position)?;
        if let Some(shift) = self.shift {
            let row = self.row(graph, factor)?;
            self.shift = Some(graph.add(Mul, vec![shift, row], self.position)?);
        }
        Ok(())
    }

    /// Shifts as it filters: (A∗x + b) ± v = A∗x + (b ± v). It differs by rounding.
    fn shift(&mut self, graph: &mut PlanGraph, vector: ValueId, minus: bool) -> Result<()> {
        let vector = self.row(graph, vector)?;
        let vector = self.signed(graph, vector, minus)?;
        let shape = graph.values[self.x].shape[..2].to_vec();
        self.shift = Some(match self.shift {
            Some(shift) => graph.add(Add, vec![shift, vector], self.position)?,
            None if graph.values[vector].shape == shape => vector,
            None => graph.add(BroadcastTo { shape }, vec![vector], self.position)?,
        });
        Ok(())
    }

    /// Adds to the taps in the center instead of adding the map, whatever lies beyond its border:
    /// (A∗x + b) ± f·x = (A ± f·δ)∗x + b, where δ is 1 in the center and 0 elsewhere. It differs by
    /// rounding.
    fn pass_input(&mut self, graph: &mut PlanGraph, factor: ValueId, minus: bool) -> Result<()> {
        self.separate_channels_for(graph, factor)?;
        let factor = self.signed(graph, factor, minus)?;
        let around = Padding::all(graph.values[self.taps].shape[2] / 2);
        let center = graph.add(Pad::<false>(around), vec![factor], self.position)?;
        self.taps = graph.add(Add, vec![self.taps, center], self.position)?;
        Ok(())
    }

    /// Repeats the taps of a group for each of its channels, if `factor` has one for each.
    fn separate_channels_for(&mut self, graph: &mut PlanGraph, factor: ValueId) -> Result<()> {
        let channels = graph.values[factor].shape[1];
        let [n, groups, k, _] = graph.values[self.taps].shape[..] else { return Ok(()) };
        if channels == 1 || channels == groups {
            return Ok(());
        }
        let row = Reshape { shape: vec![n, groups, 1, k * k] };
        let rows = BroadcastTo { shape: vec![n, groups, channels / groups, k * k] };
        let of_group = graph.add(row, vec![self.taps], self.position)?;
        let of_channels = graph.add(rows, vec![of_group], self.position)?;
        let shape = vec![n, channels, k, k];
        self.taps = graph.add(Reshape { shape }, vec![of_channels], self.position)?;
        Ok(())
    }

    /// `[N, C, 1, 1]` as `[N, C]`.
    fn row(&self, graph: &mut PlanGraph, value: ValueId) -> Result<ValueId> {
        let shape = graph.values[value].shape[..2].to_vec();
        graph.add(Reshape { shape }, vec![value], self.position)
    }

    /// −`value` if `minus`, else `value`.
    fn signed(&self, graph: &mut PlanGraph, value: ValueId, minus: bool) -> Result<ValueId> {
        match minus {
            true => graph.add(Affine { scale: -1.0, shift: 0.0 }, vec![value], self.position),
            false => Ok(value),
        }
    }
}
