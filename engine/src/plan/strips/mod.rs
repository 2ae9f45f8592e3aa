//! A planned computation of a map from a map, done in strips of rows, for maps too large to go
//! through in one piece. It is one function of the whole map, whatever the strips.
//!
//! 1. `graph.rs` takes the plan apart. A mean over all pixels, or a normalization by them, cuts it
//!    into stages; within a stage, a row of each map depends on a few rows of others
//!    ([`Op::rows`](crate::ops::Op::rows)).
//! 2. `stages.rs` chooses which maps are kept whole between stages, and which are made again.
//! 3. `schedule.rs` goes over the rows of each stage. Rows that are needed again are held, so that
//!    within a stage none is computed twice. The memory of all this is known beforehand.
//! 4. `run.rs` does it.

mod graph;
mod run;
mod schedule;
mod stages;

use super::fold::{self, Constants};
use super::fuse;
use super::graph::PlanGraph;
use crate::trace::trace;
use crate::{Error, Numerics, Result, Tensor, memory};
use graph::RowGraph;
use run::StripState;
use schedule::{Action, Ledger, actions};
use stages::{Keeping, Stage, StageStep, work};
use std::ops::Range;

/// The heights of strips to choose from, in rows of the tallest map of a stage. Smaller ones take
/// less memory, and more of the work for the rows around each strip.
const HEIGHTS: [usize; 5] = [256, 128, 64, 32, 16];

/// The index of the heights that are worse than to keep a map less.
const LOW: usize = 3;

/// A computation of a map from a map in strips of rows, made by
/// [`Planner::strips`](crate::Planner::strips).
pub struct Strips {
    graph: RowGraph,
    keeping: Keeping,
    stages: Vec<Stage>,
    height: usize,
    peak: usize,
    numerics: Numerics,
}

impl Strips {
    /// The computation `f` of a map like `input`, taking at most `bytes` at once if it can be done
    /// in so few.
    pub(super) fn new<E: From<Error>>(
        input: &Tensor,
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
        constants: &Constants,
        bytes: usize,
    ) -> Result<Self, E> {
        let traced = trace(std::slice::from_ref(input), f)?;
        let mut graph = PlanGraph::new(traced, false);
        fuse::apply(&mut graph)?;
        fold::apply(&mut graph, constants)?;
        Ok(Self::fitting(RowGraph::new(graph)?, bytes))
    }

    /// The quickest way that fits into `bytes`, or else the one that takes least.
    fn fitting(graph: RowGraph, bytes: usize) -> Self {
        let mut keeping = Keeping::all(&graph, false);
        loop {
            let stages = keeping.stages(&graph);
            let less = match keeping.compact {
                false => Some(Keeping::all(&graph, true)),
                true => keeping.with_less(&graph, &stages),
            };
            let heights = if less.is_some() { &HEIGHTS[..LOW] } else { &HEIGHTS[..] };
            let peak = |&height: &usize| peak_bytes(&graph, &keeping, &stages, height);
            let may_fit = less.is_none() || keeping.most_bytes(&graph, &stages) <= bytes / 9 * 8;
            let mut ways = heights.iter().filter(|_| may_fit).map(|height| (*height, peak(height)));
            let fitting = ways.find(|&(_, peak)| peak <= bytes);
            let (height, peak) = match (fitting, less) {
                (Some(way), _) => way,
                (None, Some(less)) => {
                    keeping = less;
                    continue;
                }
                (None, None) => (HEIGHTS[HEIGHTS.len() - 1], peak(&HEIGHTS[HEIGHTS.len() - 1])),
            };
            let numerics = Numerics::current();
            return Self { graph, keeping, stages, height, peak, numerics };
        }
    }

    /// At most this many bytes are taken at once for the tensors of the computation, input and
    /// result included, as long as whoever gets strips of the result drops them.
    pub fn peak_bytes(&self) -> usize {
        self.peak
    }

    /// The work, in that of the computation in one piece: from 1 to 4, as maps that are not
    /// kept are made again.
    pub fn work(&self) -> f64 {
        work(&self.graph, &self.stages) / self.graph.work()
    }

    /// Computes. `read` gives rows of the input, more than once, as `[1, C, rows, W]` on the device
    /// of the planned input; `write` gets rows of the result, each once, from the top to the
    /// bottom, with the number of the first; `progress` gets the finished part of the work, up to
    /// 1.
    ///
    /// # Errors
    /// Those of `read` and `write`; [`Error::Shape`] if rows do not fit; [`Error::Memory`].
    pub fn run<E: From<Error>>(
        &self,
        mut read: impl FnMut(Range<usize>) -> Result<Tensor, E>,
        mut write: impl FnMut(usize, Tensor) -> Result<(), E>,
        progress: &dyn Fn(f64),
    ) -> Result<(), E> {
        let graph = &self.graph;
        let cost = |action: &Action| match action {
            Action::Make { node, rows, .. } => {
                let node = &graph.nodes[*node];
                node.cost * rows.len() as f64 / graph.height(node.outputs[0]) as f64
            }
            _ => 0.0,
        };
        let all = self.stages.iter().flat_map(|stage| &stage.steps);
        let all = all.filter_map(|step| match step {
            StageStep::Run(n) if graph.maps[graph.nodes[*n].outputs[0]] => {
                Some(graph.nodes[*n].cost)
            }
            _ => None,
        });
        let all: f64 = all.sum::<f64>().max(1.0);
        let (mut done, mut reported) = (0.0, 0.0);
        // Free buffers of other sizes would come on top.
        let _bound = memory::Bound::new(self.peak);
        self.numerics.scope(|| {
            let mut state = StripState::new(graph, &self.keeping);
            for (at, stage) in self.stages.iter().enumerate() {
                state.begin(at)?;
                for action in actions(graph, stage, self.height) {
                    state.act(&action, &mut read, &mut write)?;
                    done += cost(&action) / all;
                    if done - reported >= 0.01 {
                        reported = done;
                        progress(done.min(1.0));
                    }
                }
                // The next stage has maps of other sizes.
                memory::trim();
            }
            progress(1.0);
            Ok(())
        })
    }
}

/// The most bytes that the stages take at once.
fn peak_bytes(graph: &RowGraph, keeping: &Keeping, stages: &[Stage], height: usize) -> usize {
    let mut ledger = Ledger::new(graph, keeping);
    for stage in stages {
        actions(graph, stage, height).iter().for_each(|action| ledger.note(action));
    }
    ledger.peak()
}

#[cfg(test)]
mod tests;
