//! A plan: operations in the order in which they run, and how long each of their tensors lives.

use super::graph::{Parts, PlanGraph};
use crate::trace::{DynOp, OpNode, ValueId};
use crate::{Error, Meta, Result, Tensor};
use std::sync::Arc;

/// A traced computation that is ready to run.
pub(super) struct Plan {
    steps: Vec<Step>,
    /// The tensors that existed before the trace, or were computed when the plan was made.
    constants: Vec<(ValueId, Tensor)>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// The bytes of each tensor; 0 for constants.
    sizes: Vec<usize>,
    on_tape: bool,
}

struct Step {
    op: Arc<dyn DynOp>,
    /// The inputs, each with whether this step is the last to need it.
    inputs: Vec<(ValueId, bool)>,
    /// The outputs, each with whether anything needs it.
    outputs: Vec<(ValueId, bool)>,
    metas: Vec<Meta>,
}

impl Plan {
    /// The plan of `graph`: its operations in order.
    pub(super) fn schedule(graph: PlanGraph) -> Self {
        let on_tape = graph.on_tape;
        let Parts { values: metas, nodes, captured, inputs, outputs } = graph.into_parts();
        let mut sizes: Vec<usize> = metas.iter().map(Meta::bytes).collect();
        let mut needed = vec![false; metas.len()];
        outputs.iter().for_each(|&id| needed[id] = true);
        let mut steps: Vec<Step> = Vec::new();
        for OpNode { op, inputs, outputs } in nodes.into_iter().rev() {
            let outputs: Vec<_> = outputs.into_iter().map(|id| (id, needed[id])).collect();
            // Backwards, so that of an input that appears twice, the second use counts as the last.
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
        let constants: Vec<(ValueId, Tensor)> = constants.collect();
        constants.iter().for_each(|&(id, _)| sizes[id] = 0);
        Self { steps, constants, inputs, outputs, sizes, on_tape }
    }

    /// Whether the plan is for a pass that is recorded on a tape.
    pub(super) fn is_recorded(&self) -> bool {
        self.on_tape
    }

    /// The most bytes that the plan's tensors take at once. A step that works in the memory of its
    /// input takes less, and the buffers inside of an operation come on top.
    pub(super) fn peak_bytes(&self) -> usize {
        let size = |&(id, _): &(ValueId, bool)| self.sizes[id];
        let total = |sizes: &mut dyn Iterator<Item = usize>| sizes.fold(0, usize::saturating_add);
        let mut live = total(&mut self.inputs.iter().map(|&id| self.sizes[id]));
        let mut peak = live;
        for step in &self.steps {
            live = live.saturating_add(total(&mut step.outputs.iter().map(size)));
            peak = peak.max(live);
            let done = step.inputs.iter().filter(|(_, last)| *last);
            let unneeded = step.outputs.iter().filter(|(_, needed)| !needed);
            live = live.saturating_sub(total(&mut done.chain(unneeded).map(size)));
        }
        peak
    }

    /// Runs the plan on `inputs`, which are like those that it was made for.
    pub(super) fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let missing = || Error::tape("plan", "a value was needed before it was computed");
        let mut values: Vec<Option<Tensor>> = vec![None; self.sizes.len()];
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
