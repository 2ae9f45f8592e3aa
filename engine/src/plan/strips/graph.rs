//! A planned computation of one map, seen as rows: which of its values are maps that can be made
//! strip by strip, and which are statistics of whole maps and what follows from these.

use crate::ops::batch_norm::by_statistics;
use crate::ops::instance_norm::ByItself;
use crate::ops::reduce::ScaledSum;
use crate::plan::graph::{Parts, PlanGraph};
use crate::rows::RowRule;
use crate::trace::{DynOp, OpNode, ValueId};
use crate::{DType, Device, Error, Meta, Result, Tensor};
use std::sync::Arc;

/// A computation of one map from one map.
pub(super) struct RowGraph {
    /// Shape and dtype of every value, those of maps at their full height.
    pub(super) metas: Vec<Meta>,
    /// The values that are known.
    pub(super) constants: Vec<Option<Tensor>>,
    /// The operations in their order.
    pub(super) nodes: Vec<RowNode>,
    /// Whether a value is a map that is made in strips.
    pub(super) maps: Vec<bool>,
    /// The stage from which on a value can be computed: the number of statistics of whole maps that
    /// it depends on, one after the other.
    pub(super) stages: Vec<usize>,
    pub(super) input: ValueId,
    pub(super) output: ValueId,
    pub(super) device: Device,
}

/// An operation.
pub(super) struct RowNode {
    pub(super) op: Arc<dyn DynOp>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) kind: NodeKind,
    /// Operations and memory accesses, roughly.
    pub(super) cost: f64,
}

/// How an operation is computed.
pub(super) enum NodeKind {
    /// At once, between two stages.
    AtOnce,
    /// Strip by strip; for each input that is a map, the rows that a row needs.
    InStrips(Vec<Option<RowRule>>),
    /// A statistic of a map, from the parts of all strips.
    Statistic(Statistic),
}

/// A statistic of the pixels of each channel.
#[derive(Clone, Copy)]
pub(super) enum Statistic {
    /// The sum times a constant, `[1, C, 1, 1]`.
    Sum(f64),
    /// The mean and the biased variance, two `[C]` in f64.
    Moments,
}

impl RowGraph {
    /// The rows of a planned computation.
    ///
    /// # Errors
    /// If it is not one of a map from a map of one image, or has an operation on maps that cannot
    /// be computed in strips.
    pub(super) fn new(graph: PlanGraph) -> Result<Self> {
        let device = graph.device(graph.inputs[0]);
        let Parts { values, nodes, captured, inputs, outputs } = graph.into_parts();
        let ([input], [output]) = (&inputs[..], &outputs[..]) else {
            return Err(refusal("a computation in strips has one input and one result"));
        };
        let (input, output) = (*input, *output);
        let count = values.len();
        let mut all = Self {
            metas: values,
            constants: captured,
            nodes: Vec::new(),
            maps: vec![false; count],
            stages: vec![0; count],
            input,
            output,
            device,
        };
        let meta = &all.metas[input];
        if !matches!(meta.shape[..], [1, _, _, _]) || meta.numel() == 0 {
            return Err(refusal(format!("a computation in strips takes [1, C, H, W], not {meta}")));
        }
        all.maps[input] = true;
        nodes.into_iter().try_for_each(|node| all.add(node))?;
        match all.maps[output] {
            true => Ok(all),
            false => Err(refusal("the result of a computation in strips is a map")),
        }
    }

    /// The height of a map.
    pub(super) fn height(&self, map: ValueId) -> usize {
        self.metas[map].shape[2]
    }

    /// The bytes of a row of a map.
    pub(super) fn row_bytes(&self, map: ValueId) -> usize {
        self.metas[map].bytes() / self.height(map)
    }

    /// The number of stages.
    pub(super) fn stage_count(&self) -> usize {
        self.stages.iter().max().map_or(1, |last| last + 1)
    }

    /// The cost of computing every map once; more than 0.
    pub(super) fn work(&self) -> f64 {
        let of_maps = self.nodes.iter().filter(|node| !matches!(node.kind, NodeKind::AtOnce));
        of_maps.map(|node| node.cost).sum::<f64>().max(1.0)
    }

    fn add(&mut self, OpNode { op, inputs, outputs }: OpNode) -> Result<()> {
        let metas: Vec<Meta> = inputs.iter().map(|&id| self.metas[id].clone()).collect();
        let made: Vec<Meta> = outputs.iter().map(|&id| self.metas[id].clone()).collect();
        let elements: usize = made.iter().map(Meta::numel).sum();
        let cost = op.flops(&metas, &made) as f64 + 8.0 * elements as f64;
        let of_maps = inputs.iter().any(|&id| self.maps[id]);
        if !of_maps {
            self.push(RowNode { op, inputs, outputs, kind: NodeKind::AtOnce, cost });
        } else if let Some(scale) =
            op.as_any().downcast_ref::<ScaledSum>().and_then(ScaledSum::of_pixels)
        {
            let kind = NodeKind::Statistic(Statistic::Sum(scale));
            self.push(RowNode { op, inputs, outputs, kind, cost });
        } else if let Some(&ByItself { eps }) = op.as_any().downcast_ref() {
            let moment = Meta { shape: vec![metas[0].shape[1]], dtype: DType::F64 };
            let [mean, var] = [0, 1].map(|_| self.push_value(moment.clone()));
            let (map, kind) = (inputs[0], NodeKind::Statistic(Statistic::Moments));
            let moments = vec![mean, var];
            self.push(RowNode { op, inputs: vec![map], outputs: moments, kind, cost });
            let inputs = vec![map, mean, var, inputs[1], inputs[2]];
            let kind = NodeKind::InStrips(vec![Some(RowRule::Same), None, None, None, None]);
            self.push(RowNode { op: by_statistics(eps), inputs, outputs, kind, cost });
        } else {
            let rules = self.rules(&*op, &inputs, &metas, &made)?;
            let kind = NodeKind::InStrips(rules);
            self.push(RowNode { op, inputs, outputs, kind, cost });
        }
        Ok(())
    }

    /// The rules of an operation that can be computed in strips.
    fn rules(
        &self,
        op: &dyn DynOp,
        inputs: &[ValueId],
        metas: &[Meta],
        made: &[Meta],
    ) -> Result<Vec<Option<RowRule>>> {
        let refuse = || refusal(format!("{} cannot be computed in strips of rows", op.name()));
        let [Meta { shape, .. }] = made else { return Err(refuse()) };
        let &[1, _, height, _] = &shape[..] else { return Err(refuse()) };
        let rule = |(i, &id): (usize, &ValueId)| {
            let rule = op.rows(i, metas);
            let same = rule == Some(RowRule::Same);
            let rows = metas[i].shape.len().checked_sub(2).map_or(1, |row| metas[i].shape[row]);
            match (self.maps[id], rule) {
                // It is repeated for each row.
                (false, _) if !same || rows == 1 => Ok(None),
                (true, Some(rule)) if !same || rows == height => Ok(Some(rule)),
                _ => Err(refuse()),
            }
        };
        inputs.iter().enumerate().map(rule).collect()
    }

    fn push_value(&mut self, meta: Meta) -> ValueId {
        self.metas.push(meta);
        self.constants.push(None);
        self.maps.push(false);
        self.stages.push(0);
        self.metas.len() - 1
    }

    fn push(&mut self, node: RowNode) {
        let last = node.inputs.iter().map(|&id| self.stages[id]).max().unwrap_or(0);
        let statistic = matches!(node.kind, NodeKind::Statistic(_));
        for &id in &node.outputs {
            self.maps[id] = matches!(node.kind, NodeKind::InStrips(_));
            self.stages[id] = last + usize::from(statistic);
        }
        self.nodes.push(node);
    }
}

fn refusal(message: impl Into<String>) -> Error {
    Error::shape("strips", message)
}
