//! The graph that planning rewrites.

use crate::ops::Op;
use crate::trace::{DynOp, OpNode, TracedGraph, ValueId};
use crate::{Device, Meta, Result, Tensor};
use std::sync::Arc;

/// A traced computation that rules rewrite.
pub(super) struct PlanGraph {
    pub(super) values: Vec<Meta>,
    devices: Vec<Device>,
    /// The operations; `None` where one is no longer needed.
    nodes: Vec<Option<Positioned>>,
    /// The node that makes a value.
    producers: Vec<Option<usize>>,
    /// The number of uses of each value, as an input of an operation or an output of the graph.
    uses: Vec<usize>,
    /// The tensors that existed before the trace, and constants that rules add, by value.
    captured: Vec<Option<Tensor>>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
    /// Whether operations will be recorded on a tape.
    pub(super) on_tape: bool,
}

/// A node and its position in the order of execution.
struct Positioned {
    node: OpNode,
    /// Nodes run by increasing position, except that a node follows those whose values it reads.
    position: f64,
}

/// A rewritten computation.
pub(super) struct Parts {
    /// Shape and dtype of every tensor.
    pub(super) values: Vec<Meta>,
    /// The operations in their order.
    pub(super) nodes: Vec<OpNode>,
    /// The tensors whose elements are known, by value.
    pub(super) captured: Vec<Option<Tensor>>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
}

impl PlanGraph {
    /// The computation as it was traced. `on_tape` says whether an input is on a tape.
    pub(super) fn new(TracedGraph { graph, inputs, outputs }: TracedGraph, on_tape: bool) -> Self {
        let on_tape = on_tape || graph.captured.iter().any(|(_, tensor)| tensor.is_on_tape());
        let mut captured = vec![None; graph.values.len()];
        for (id, tensor) in graph.captured {
            captured[id] = Some(tensor);
        }
        let mut all = Self {
            producers: vec![None; graph.values.len()],
            uses: vec![0; graph.values.len()],
            values: graph.values,
            devices: graph.devices,
            nodes: Vec::new(),
            captured,
            inputs,
            outputs,
            on_tape,
        };
        for &output in &all.outputs {
            all.uses[output] += 1;
        }
        for node in graph.nodes {
            let position = all.nodes.len() as f64;
            all.push(node, position);
        }
        // The code may have computed values that nothing needs.
        for n in all.numbers().rev() {
            if let Some(output) = all.node(n).and_then(|node| node.outputs.first().copied()) {
                all.drop_unused(output);
            }
        }
        all
    }

    /// The numbers of the nodes, those of removed ones among them, in the order they were added.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// Node `n`, if it has not been removed.
    pub(super) fn node(&self, n: usize) -> Option<&OpNode> {
        self.nodes[n].as_ref().map(|positioned| &positioned.node)
    }

    /// The inputs of node `n`; none if it has been removed.
    pub(super) fn inputs_of(&self, n: usize) -> Vec<ValueId> {
        self.node(n).map(|node| node.inputs.clone()).unwrap_or_default()
    }

    /// The operation of node `n`, if it is an `O`.
    pub(super) fn op<O: 'static>(&self, n: usize) -> Option<&O> {
        self.node(n)?.op.as_any().downcast_ref()
    }

    /// The node that makes `value`, if it is an `O`.
    pub(super) fn producer<O: 'static>(&self, value: ValueId) -> Option<usize> {
        let n = self.producers[value]?;
        self.op::<O>(n).map(|_| n)
    }

    /// Like [`Self::producer`], but `None` if several operations need `value`.
    pub(super) fn sole_producer<O: 'static>(&self, value: ValueId) -> Option<usize> {
        self.producer::<O>(value).filter(|_| self.uses[value] == 1)
    }

    /// The nodes that read `value`; none if it is an output of the whole.
    pub(super) fn readers(&self, value: ValueId) -> Vec<usize> {
        if self.outputs.contains(&value) {
            return Vec::new();
        }
        let reads = |n: &usize| self.node(*n).is_some_and(|node| node.inputs.contains(&value));
        self.numbers().filter(reads).collect()
    }

    /// The position of the node that makes `value`; before all others for an input.
    pub(super) fn position(&self, value: ValueId) -> f64 {
        self.producers[value]
            .and_then(|n| self.nodes[n].as_ref())
            .map_or(-1.0, |node| node.position)
    }

    /// The elements of `value`, if they are known and no gradient flows there.
    pub(super) fn constant(&self, value: ValueId) -> Option<&Tensor> {
        self.captured[value].as_ref().filter(|tensor| !tensor.is_on_tape())
    }

    /// The values whose elements can be known when the plan is made.
    pub(super) fn constants(&self) -> Vec<bool> {
        let known =
            |value: ValueId| self.producers[value].is_none() && self.constant(value).is_some();
        let mut constants: Vec<bool> = (0..self.values.len()).map(known).collect();
        for n in self.order() {
            let Some(node) = self.node(n) else { continue };
            if node.op.settings().is_some() && node.inputs.iter().all(|&id| constants[id]) {
                node.outputs.iter().for_each(|&id| constants[id] = true);
            }
        }
        constants
    }

    /// The numbers of the nodes that are left, by position, each after those whose values it reads.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut by_position: Vec<(usize, f64)> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(n, positioned)| Some((n, positioned.as_ref()?.position)))
            .collect();
        by_position.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let (mut order, mut visited) = (Vec::new(), vec![false; self.nodes.len()]);
        for (n, _) in by_position {
            // Not by recursion: a chain of operations may be long.
            let mut waiting = vec![(n, 0)];
            while let Some((n, next)) = waiting.pop() {
                let Some(node) = self.node(n).filter(|_| !visited[n]) else { continue };
                match node.inputs.get(next) {
                    Some(&input) => {
                        waiting.push((n, next + 1));
                        waiting.extend(self.producers[input].map(|m| (m, 0)));
                    }
                    None => {
                        visited[n] = true;
                        order.push(n);
                    }
                }
            }
        }
        order
    }

    /// The device of `value`.
    pub(super) fn device(&self, value: ValueId) -> Device {
        self.devices[value]
    }

    /// Every captured tensor.
    pub(super) fn captured(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        self.captured.iter().enumerate().filter_map(|(id, x)| Some((id, x.as_ref()?)))
    }

    /// Replaces node `n` by `op` of `inputs`, which makes the same value at the same position.
    /// Operations that only the old one needed are removed.
    pub(super) fn replace<O: Op>(&mut self, n: usize, op: O, inputs: Vec<ValueId>) {
        let Some(Positioned { node, position }) = self.take(n) else { return };
        let op = crate::ops::dyn_op(op);
        self.put(n, OpNode { op, inputs, outputs: node.outputs }, position);
        node.inputs.into_iter().for_each(|id| self.drop_unused(id));
    }

    /// Adds `op` of `inputs` at `position`, and returns its value.
    pub(super) fn add<O: Op>(
        &mut self,
        op: O,
        inputs: Vec<ValueId>,
        position: f64,
    ) -> Result<ValueId> {
        let op: Arc<dyn DynOp> = crate::ops::dyn_op(op);
        let metas: Vec<Meta> = inputs.iter().map(|&id| self.values[id].clone()).collect();
        let meta = op.infer(&metas)?.swap_remove(0);
        let value = self.push_value(meta, self.devices[inputs[0]]);
        self.push(OpNode { op, inputs, outputs: vec![value] }, position);
        Ok(value)
    }

    /// Adds a constant with the dtype and on the device of the value `like`, of these elements in
    /// row-major order, and returns its value.
    pub(super) fn add_constant(
        &mut self,
        elements: &[f64],
        shape: &[usize],
        like: ValueId,
    ) -> Result<ValueId> {
        let (dtype, device) = (self.values[like].dtype, self.devices[like]);
        let constant = Tensor::constant_on(device, dtype, elements, shape)?;
        let value = self.push_value(constant.meta(), device);
        self.captured[value] = Some(constant);
        Ok(value)
    }

    /// Node `n` is no longer needed: its values are known to be `tensors`.
    pub(super) fn fold(&mut self, n: usize, tensors: Vec<Tensor>) {
        let Some(Positioned { node, .. }) = self.take(n) else { return };
        for (value, tensor) in node.outputs.into_iter().zip(tensors) {
            self.producers[value] = None;
            self.captured[value] = Some(tensor);
        }
        node.inputs.into_iter().for_each(|id| self.drop_unused(id));
    }

    /// The graph without the removed nodes.
    pub(super) fn into_parts(self) -> Parts {
        let nodes = self.order().into_iter().filter_map(|n| self.node(n).cloned()).collect();
        Parts {
            values: self.values,
            nodes,
            captured: self.captured,
            inputs: self.inputs,
            outputs: self.outputs,
        }
    }

    fn push_value(&mut self, meta: Meta, device: Device) -> ValueId {
        self.values.push(meta);
        self.devices.push(device);
        self.producers.push(None);
        self.uses.push(0);
        self.captured.push(None);
        self.values.len() - 1
    }

    fn push(&mut self, node: OpNode, position: f64) {
        self.nodes.push(None);
        self.put(self.nodes.len() - 1, node, position);
    }

    fn put(&mut self, n: usize, node: OpNode, position: f64) {
        node.inputs.iter().for_each(|&id| self.uses[id] += 1);
        node.outputs.iter().for_each(|&id| self.producers[id] = Some(n));
        self.nodes[n] = Some(Positioned { node, position });
    }

    /// Takes node `n` out.
    fn take(&mut self, n: usize) -> Option<Positioned> {
        let positioned = self.nodes[n].take()?;
        positioned.node.inputs.iter().for_each(|&id| self.uses[id] -= 1);
        Some(positioned)
    }

    /// Removes the node that makes `value` if nothing needs any of its values, and likewise the
    /// nodes that make its inputs.
    fn drop_unused(&mut self, value: ValueId) {
        let Some(n) = self.producers[value] else { return };
        let unused = |node: &OpNode| node.outputs.iter().all(|&id| self.uses[id] == 0);
        if !self.node(n).is_some_and(unused) {
            return;
        }
        if let Some(Positioned { node, .. }) = self.take(n) {
            node.inputs.into_iter().for_each(|id| self.drop_unused(id));
        }
    }
}
