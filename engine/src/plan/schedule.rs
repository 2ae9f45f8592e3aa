//! The order in which a plan's operations run, and how long each of its tensors lives.

use super::graph::{Parts, PlanGraph};
use crate::trace::{Node, Operation, ValueId};
use crate::{Error, Meta, Result, Tensor};
use std::sync::Arc;

/// A plan that is ready to run.
pub(super) struct Schedule {
    steps: Vec<Step>,
    /// The tensors that were there before, or were computed at planning.
    constants: Vec<(ValueId, Tensor)>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    values: usize,
}

struct Step {
    op: Arc<dyn Operation>,
    /// The inputs, and whether nobody needs one after this step.
    inputs: Vec<(ValueId, bool)>,
    /// The outputs, and whether anybody needs one.
    outputs: Vec<(ValueId, bool)>,
    metas: Vec<Meta>,
}

impl Schedule {
    /// The operations by their places, each after those whose values it reads.
    pub(super) fn of(graph: PlanGraph) -> Self {
        let Parts { values: metas, mut nodes, captured, inputs, outputs } = graph.into_parts();
        nodes.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let mut producers = vec![None; metas.len()];
        for (n, (node, _)) in nodes.iter().enumerate() {
            node.outputs.iter().for_each(|&id| producers[id] = Some(n));
        }
        let mut order = Vec::new();
        let mut placed = vec![false; nodes.len()];
        for n in 0..nodes.len() {
            place(n, &nodes, &producers, &mut placed, &mut order);
        }
        let mut needed = vec![false; metas.len()];
        outputs.iter().for_each(|&id| needed[id] = true);
        let mut steps: Vec<Step> = Vec::new();
        for n in order.into_iter().rev() {
            let Node { op, inputs, outputs } = nodes[n].0.clone();
            let outputs: Vec<_> = outputs.into_iter().map(|id| (id, needed[id])).collect();
            // From the last one on: of an input that is there twice, the second use is the last.
            let mut reads: Vec<(ValueId, bool)> = Vec::new();
            for id in inputs.into_iter().rev() {
                reads.push((id, !std::mem::replace(&mut needed[id], true)));
            }
            reads.reverse();
            let metas = outputs.iter().map(|&(id, _)| metas[id].clone()).collect();
            steps.push(Step { op, inputs: reads, outputs, metas });
        }
        steps.reverse();
        let constants = captured.into_iter().enumerate();
        let constants =
            constants.filter_map(|(id, x)| Some((id, x?))).filter(|(id, _)| needed[*id]);
        Self { steps, constants: constants.collect(), inputs, outputs, values: metas.len() }
    }

    /// Runs the plan on `inputs`, which are like those that it was made for.
    pub(super) fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let missing = || Error::tape("plan", "a value was needed before it was computed");
        let mut values: Vec<Option<Tensor>> = vec![None; self.values];
        for (id, tensor) in &self.constants {
            values[*id] = Some(tensor.clone());
        }
        for (&id, tensor) in self.inputs.iter().zip(inputs) {
            values[id] = Some(tensor);
        }
        for step in &self.steps {
            let take = |&(id, last): &(ValueId, bool)| match last {
                true => values[id].take(),
                false => values[id].clone(),
            };
            let inputs = step.inputs.iter().map(take).collect::<Option<Vec<_>>>();
            let outputs = step.op.compute(inputs.ok_or_else(missing)?, &step.metas)?;
            for (&(id, needed), tensor) in step.outputs.iter().zip(outputs) {
                if needed {
                    values[id] = Some(tensor);
                }
            }
        }
        let output = |&id: &ValueId| values[id].clone().ok_or_else(missing);
        self.outputs.iter().map(output).collect()
    }

    /// The names of the operations, in order.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.steps.iter().map(|step| step.op.name()).collect()
    }
}

/// Puts node `n` into `order`, after those that make its inputs.
fn place(
    n: usize,
    nodes: &[(Node, f64)],
    producers: &[Option<usize>],
    placed: &mut [bool],
    order: &mut Vec<usize>,
) {
    // Not by recursion: a chain of operations may be long.
    let mut waiting = vec![(n, 0)];
    while let Some((n, next)) = waiting.pop() {
        if placed[n] {
            continue;
        }
        match nodes[n].0.inputs.get(next) {
            Some(&input) => {
                waiting.push((n, next + 1));
                waiting.extend(producers[input].filter(|&m| !placed[m]).map(|m| (m, 0)));
            }
            None => {
                placed[n] = true;
                order.push(n);
            }
        }
    }
}
