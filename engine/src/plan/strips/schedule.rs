//! The order in which a stage goes over rows, and the memory that this takes.
//!
//! A stage advances strip by strip. In each strip, every operation makes the rows for which its
//! inputs are there. Of each map, the rows that some operation still needs are held until the next
//! strip, so that no row is made twice.

use super::graph::{NodeKind, RowGraph};
use super::stages::{Keeping, Stage, StageStep};
use crate::rows::{RowRule, RowsRead};
use crate::trace::ValueId;
use std::collections::VecDeque;
use std::ops::Range;

/// One action of a stage. Rows are numbered in the whole map.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// These rows of a map that is there come; if `release`, they are not needed again.
    Load { map: ValueId, rows: Range<usize>, release: bool },
    /// Operation `node` makes these rows from what it reads of each input that is a map.
    Make { node: usize, rows: Range<usize>, reads: Vec<Option<RowsRead>> },
    /// Operation `node`, a statistic, takes these rows in.
    Count { node: usize, rows: Range<usize> },
    /// These rows of a map are kept for later stages.
    Keep { map: ValueId, rows: Range<usize> },
    /// These rows of the result leave.
    Emit { rows: Range<usize> },
    /// Rows of a map before `first` are no longer needed in this stage.
    Forget { map: ValueId, first: usize },
}

/// The actions of `stage` with strips of `strip` rows of its tallest map.
pub(super) fn actions(graph: &RowGraph, stage: &Stage, strip: usize) -> Vec<Action> {
    let steps = &stage.steps;
    // Of each step, the map whose rows it counts, and the maps that it reads, by which rule.
    let advances: Vec<ValueId> = steps.iter().map(|step| advance(graph, step)).collect();
    let reads: Vec<Vec<(ValueId, RowRule)>> = steps.iter().map(|step| reads(graph, step)).collect();
    // Of each map, the steps that read it; after the last of them, rows can be forgotten.
    let mut readers: Vec<Vec<(usize, RowRule)>> = vec![Vec::new(); graph.metas.len()];
    for (step, reads) in reads.iter().enumerate() {
        reads.iter().for_each(|&(map, rule)| readers[map].push((step, rule)));
    }
    let mut last_reads: Vec<Vec<ValueId>> = vec![Vec::new(); steps.len()];
    for (map, readers) in readers.iter().enumerate() {
        if let Some((step, _)) = readers.last() {
            last_reads[*step].push(map);
        }
    }
    let tallest = advances.iter().map(|&map| graph.height(map)).max().unwrap_or(1);
    // The rows that each step has done, and those of each map that are there: from, to.
    let mut done = vec![0; steps.len()];
    let mut there = vec![0..0; graph.metas.len()];
    let mut actions = Vec::new();
    for front in (0..tallest).step_by(strip).map(|start| (start + strip).min(tallest)) {
        for (i, step) in steps.iter().enumerate() {
            let height = graph.height(advances[i]);
            let ready = match step {
                StageStep::Load(_) => (height * front).div_ceil(tallest),
                _ => {
                    let ready = |&(map, rule): &(ValueId, RowRule)| {
                        RowRule::ready(rule, there[map].end, graph.height(map), height)
                    };
                    reads[i].iter().map(ready).min().unwrap_or(height)
                }
            };
            let rows = done[i]..ready;
            if !rows.is_empty() {
                done[i] = ready;
                actions.push(action(graph, stage, step, rows));
                if let Some(Action::Load { .. } | Action::Make { .. }) = actions.last() {
                    there[advances[i]].end = ready;
                }
            }
            for &map in &last_reads[i] {
                let first = |&(reader, rule): &(usize, RowRule)| {
                    let (at, of) = (done[reader], graph.height(advances[reader]));
                    match at == of {
                        true => usize::MAX,
                        false => rule.reads(&(at..at + 1), graph.height(map)).rows.start,
                    }
                };
                let first = readers[map].iter().map(first).min().unwrap_or(usize::MAX);
                let first = first.min(there[map].end);
                if first > there[map].start {
                    there[map].start = first;
                    actions.push(Action::Forget { map, first });
                }
            }
        }
    }
    actions
}

fn is_statistic(graph: &RowGraph, n: usize) -> bool {
    matches!(graph.nodes[n].kind, NodeKind::Statistic(_))
}

/// The map whose rows a step goes over.
fn advance(graph: &RowGraph, step: &StageStep) -> ValueId {
    match *step {
        StageStep::Load(map) | StageStep::Keep(map) | StageStep::Emit(map) => map,
        StageStep::Run(n) if is_statistic(graph, n) => graph.nodes[n].inputs[0],
        StageStep::Run(n) => graph.nodes[n].outputs[0],
    }
}

/// The maps that a step reads, and the rows of each that a row takes.
fn reads(graph: &RowGraph, step: &StageStep) -> Vec<(ValueId, RowRule)> {
    match *step {
        StageStep::Load(_) => Vec::new(),
        StageStep::Keep(map) | StageStep::Emit(map) => vec![(map, RowRule::Same)],
        StageStep::Run(n) => match &graph.nodes[n].kind {
            NodeKind::InStrips(rules) => {
                let inputs = graph.nodes[n].inputs.iter().zip(rules);
                inputs.filter_map(|(&id, rule)| Some((id, (*rule)?))).collect()
            }
            _ => vec![(graph.nodes[n].inputs[0], RowRule::Same)],
        },
    }
}

fn action(graph: &RowGraph, stage: &Stage, step: &StageStep, rows: Range<usize>) -> Action {
    match *step {
        StageStep::Load(map) => Action::Load { map, rows, release: stage.last.contains(&map) },
        StageStep::Keep(map) => Action::Keep { map, rows },
        StageStep::Emit(_) => Action::Emit { rows },
        StageStep::Run(node) => match &graph.nodes[node].kind {
            NodeKind::InStrips(rules) => {
                let inputs = graph.nodes[node].inputs.iter().zip(rules);
                let read = |(&id, rule): (&ValueId, &Option<RowRule>)| {
                    rule.map(|rule| rule.reads(&rows, graph.height(id)))
                };
                let reads = inputs.map(read).collect();
                Action::Make { node, rows, reads }
            }
            _ => Action::Count { node, rows },
        },
    }
}

/// The bytes that the tensors of a computation take.
pub(super) struct Ledger<'a> {
    graph: &'a RowGraph,
    keeping: &'a Keeping,
    live: usize,
    peak: usize,
    /// Of each map the rows that are there, and their bytes.
    there: Vec<(Range<usize>, usize)>,
    /// The pieces that are kept.
    kept: Vec<VecDeque<Range<usize>>>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(graph: &'a RowGraph, keeping: &'a Keeping) -> Self {
        let count = graph.metas.len();
        Self {
            graph,
            keeping,
            live: 0,
            peak: 0,
            there: vec![(0..0, 0); count],
            kept: vec![VecDeque::new(); count],
        }
    }

    /// The most bytes at once in the stages so far, and an eighth more: buffers are somewhat larger
    /// than their tensors.
    pub(super) fn peak(&self) -> usize {
        self.peak.saturating_add(self.peak / 8)
    }

    /// What `action` takes and gives back.
    pub(super) fn note(&mut self, action: &Action) {
        match action {
            Action::Load { map, rows, release } => {
                // In the dtype in which it is kept, then in its own.
                let kept = match *map == self.graph.input {
                    true => 0,
                    false => self.keeping.row_bytes(self.graph, *map) * rows.len(),
                };
                self.take(kept);
                self.extend(*map, rows, rows.len());
                self.give(kept);
                while let Some(piece) = self.kept[*map].front()
                    && *release
                    && piece.end <= rows.end
                {
                    self.give(self.keeping.row_bytes(self.graph, *map) * piece.len());
                    self.kept[*map].pop_front();
                }
            }
            Action::Make { node, rows, reads } => {
                let made = reads.iter().flatten().map(|read| read.made).max();
                let map = self.graph.nodes[*node].outputs[0];
                self.extend(map, rows, made.unwrap_or(rows.len()).max(rows.len()));
            }
            Action::Keep { map, rows } => {
                self.take(self.keeping.row_bytes(self.graph, *map) * rows.len());
                self.kept[*map].push_back(rows.clone());
            }
            Action::Forget { map, first } => {
                let left = first..&self.there[*map].0.end;
                let bytes = self.graph.row_bytes(*map) * left.end.saturating_sub(*left.start);
                self.take(bytes);
                self.give(self.there[*map].1);
                self.there[*map].0.start = *first;
                self.there[*map].1 = bytes;
            }
            Action::Count { .. } | Action::Emit { .. } => {}
        }
    }

    /// `made` rows of a map come, of which `rows` are joined to those that are there.
    fn extend(&mut self, map: ValueId, rows: &Range<usize>, made: usize) {
        let row = self.graph.row_bytes(map);
        let made = made * row;
        self.take(made);
        let (there, bytes) = &mut self.there[map];
        let old = *bytes;
        there.end = rows.end;
        if there.start >= rows.start {
            there.start = rows.start;
            *bytes = made;
        } else {
            let joined = there.len() * row;
            *bytes = joined;
            self.take(joined);
            self.give(made + old);
        }
    }

    fn take(&mut self, bytes: usize) {
        self.live = self.live.saturating_add(bytes);
        self.peak = self.peak.max(self.live);
    }

    fn give(&mut self, bytes: usize) {
        self.live = self.live.saturating_sub(bytes);
    }
}
