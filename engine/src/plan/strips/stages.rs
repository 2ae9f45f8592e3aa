//! What each stage of a computation in strips makes, and which maps are kept for later stages.
//!
//! A map that a later stage needs is either kept or made again. At first all are kept. While they
//! take too much memory, the one is given up that costs the least work for the memory it sets free.

use super::graph::{NodeKind, RowGraph};
use crate::trace::ValueId;
use crate::{DType, Meta};

/// The most work, in that of one piece, that giving up maps may lead to.
const MOST_WORK: f64 = 4.0;

/// A stage: one walk over the rows, from maps that are there to maps and statistics that are not.
#[derive(Default)]
pub(super) struct Stage {
    /// The steps for each strip, in this order.
    pub(super) steps: Vec<StageStep>,
    /// The maps of earlier stages that no later stage needs, so that their rows can go.
    pub(super) last: Vec<ValueId>,
}

/// A step of a strip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StageStep {
    /// The next rows of a map that is there come.
    Load(ValueId),
    /// An operation makes as many rows as it can, or takes them into a statistic.
    Run(usize),
    /// Rows of a map are kept for later stages.
    Keep(ValueId),
    /// Rows of the result leave.
    Emit(ValueId),
}

/// Which maps are kept between stages, and how.
#[derive(Clone)]
pub(super) struct Keeping {
    /// For each value the last stage that it may be kept for.
    until: Vec<usize>,
    /// Whether in half the bytes.
    pub(super) compact: bool,
}

impl Keeping {
    /// Every map that a later stage needs is kept. No other way keeps one for longer: then giving
    /// one up never takes memory for another.
    pub(super) fn all(graph: &RowGraph, compact: bool) -> Self {
        let always = Self { until: vec![usize::MAX; graph.metas.len()], compact };
        let mut until = vec![0; graph.metas.len()];
        for (at, stage) in always.stages(graph).iter().enumerate() {
            stage.last.iter().for_each(|&map| until[map] = at);
        }
        Self { until, compact }
    }

    /// The dtype in which a map is kept.
    pub(super) fn dtype(&self, meta: &Meta) -> DType {
        match meta.dtype {
            DType::F32 if self.compact => DType::F16,
            DType::F64 if self.compact => DType::F32,
            dtype => dtype,
        }
    }

    /// The bytes of a row of `map`, kept.
    pub(super) fn row_bytes(&self, graph: &RowGraph, map: ValueId) -> usize {
        let meta = &graph.metas[map];
        graph.row_bytes(map) / meta.dtype.size() * self.dtype(meta).size()
    }

    /// The stages with these maps kept.
    pub(super) fn stages(&self, graph: &RowGraph) -> Vec<Stage> {
        // The maps that a later stage loads.
        let mut loaded = vec![false; graph.metas.len()];
        let mut stages: Vec<Stage> =
            (0..graph.stage_count()).rev().map(|at| self.stage(graph, at, &mut loaded)).collect();
        stages.reverse();
        stages
    }

    fn stage(&self, graph: &RowGraph, at: usize, loaded: &mut [bool]) -> Stage {
        let now = |map: ValueId| graph.maps[map] && graph.stages[map] == at;
        let maps = 0..graph.metas.len();
        let kept: Vec<ValueId> = maps.filter(|&id| now(id) && loaded[id]).collect();
        let mut needed = vec![false; graph.metas.len()];
        let mut runs = vec![false; graph.nodes.len()];
        kept.iter().for_each(|&id| needed[id] = true);
        let emits = now(graph.output);
        needed[graph.output] |= emits;
        let mut loads = Vec::new();
        for (n, node) in graph.nodes.iter().enumerate().rev() {
            runs[n] = match &node.kind {
                NodeKind::AtOnce => false,
                NodeKind::Statistic(_) => now(node.inputs[0]),
                // One that is kept from an earlier stage is not made again.
                NodeKind::InStrips(_) => {
                    let map = node.outputs[0];
                    let there = graph.stages[map] < at && at <= self.until[map];
                    if needed[map] && there {
                        loads.push(map);
                    }
                    needed[map] && !there
                }
            };
            if runs[n] {
                node.inputs.iter().filter(|&&id| graph.maps[id]).for_each(|&id| needed[id] = true);
            }
        }
        let last = loads.iter().copied().filter(|&id| !loaded[id]).collect();
        loads.iter().for_each(|&id| loaded[id] = true);
        if needed[graph.input] {
            loads.push(graph.input);
        }
        loads.reverse();
        let mut steps: Vec<StageStep> = loads.into_iter().map(StageStep::Load).collect();
        for n in (0..runs.len()).filter(|&n| runs[n]) {
            steps.push(StageStep::Run(n));
            let made = graph.nodes[n].outputs[0];
            steps.extend(kept.contains(&made).then_some(StageStep::Keep(made)));
            steps.extend((emits && made == graph.output).then_some(StageStep::Emit(made)));
        }
        if emits && graph.output == graph.input {
            steps.push(StageStep::Emit(graph.input));
        }
        Stage { steps, last }
    }

    /// The bytes of the kept maps in each stage: the more of those at its beginning and its end.
    fn bytes(&self, graph: &RowGraph, stages: &[Stage]) -> Vec<usize> {
        let bytes = |&id: &ValueId| self.row_bytes(graph, id) * graph.height(id);
        let mut held = 0;
        let after = stages.iter().map(|stage| {
            let before = held;
            held += stage.kept().map(|id| bytes(&id)).sum::<usize>();
            held -= stage.last.iter().map(bytes).sum::<usize>();
            before.max(held)
        });
        after.collect()
    }

    /// The bytes of the kept maps where they are most.
    pub(super) fn most_bytes(&self, graph: &RowGraph, stages: &[Stage]) -> usize {
        self.bytes(graph, stages).into_iter().max().unwrap_or(0)
    }

    /// The same without the map whose memory costs the least work. None if nothing can be given up.
    pub(super) fn with_less(&self, graph: &RowGraph, stages: &[Stage]) -> Option<Self> {
        let bytes = self.bytes(graph, stages);
        let (fullest, most) = bytes.iter().copied().enumerate().max_by_key(|(_, bytes)| *bytes)?;
        let cost = work(graph, stages);
        let mut best: Option<(f64, Self)> = None;
        let mut candidates: Vec<ValueId> = stages.iter().flat_map(Stage::kept).collect();
        candidates.sort_unstable();
        candidates.dedup();
        for map in candidates {
            let mut less = self.clone();
            less.until[map] = 0;
            let stages = less.stages(graph);
            let after = less.bytes(graph, &stages);
            let freed = most.saturating_sub(after[fullest]);
            let cost_after = work(graph, &stages);
            if freed == 0 || cost_after > MOST_WORK * graph.work() {
                continue;
            }
            let value = freed as f64 / (cost_after - cost).max(1.0);
            if best.as_ref().is_none_or(|(most, _)| value > *most) {
                best = Some((value, less));
            }
        }
        best.map(|(_, less)| less)
    }
}

impl Stage {
    /// The maps that are kept here.
    fn kept(&self) -> impl Iterator<Item = ValueId> {
        self.steps.iter().filter_map(|step| match step {
            StageStep::Keep(map) => Some(*map),
            _ => None,
        })
    }
}

/// The cost of all stages.
pub(super) fn work(graph: &RowGraph, stages: &[Stage]) -> f64 {
    let steps = stages.iter().flat_map(|stage| &stage.steps);
    let cost = |step: &StageStep| match step {
        StageStep::Run(n) => graph.nodes[*n].cost,
        _ => 0.0,
    };
    steps.map(cost).sum()
}
