//! Carrying out the stages of a computation in strips.

use super::graph::{NodeKind, RowGraph, RowNode, Statistic};
use super::schedule::Action;
use super::stages::Keeping;
use crate::ops::instance_norm::moments;
use crate::rows::{RowsRead, StripPlace};
use crate::trace::ValueId;
use crate::{DType, Error, Meta, Padding, Result, Tensor};
use std::collections::VecDeque;
use std::ops::Range;

/// The tensors of a computation that is under way.
pub(super) struct StripState<'a> {
    graph: &'a RowGraph,
    keeping: &'a Keeping,
    /// The values that are there as a whole: constants, statistics and what follows from them.
    whole: Vec<Option<Tensor>>,
    /// The rows of maps that are there, from a first one on.
    rows: Vec<Option<(usize, Tensor)>>,
    /// The rows of maps that are kept, in pieces, each with its first row.
    kept: Vec<VecDeque<(usize, Tensor)>>,
    sums: Vec<Option<PartialSums>>,
}

/// A statistic of the rows so far.
struct PartialSums {
    /// The pixels of a channel.
    count: f64,
    /// Of each channel, the sum, or the mean.
    first: Vec<f64>,
    /// Of each channel, the squared deviations from the mean.
    squares: Vec<f64>,
}

impl<'a> StripState<'a> {
    pub(super) fn new(graph: &'a RowGraph, keeping: &'a Keeping) -> Self {
        let count = graph.metas.len();
        Self {
            graph,
            keeping,
            whole: graph.constants.clone(),
            rows: vec![None; count],
            kept: vec![VecDeque::new(); count],
            sums: graph.nodes.iter().map(|_| None).collect(),
        }
    }

    /// Computes the values that are made at once before stage `at`.
    pub(super) fn begin(&mut self, at: usize) -> Result<()> {
        for (n, node) in self.graph.nodes.iter().enumerate() {
            if node.outputs.iter().any(|&id| self.graph.stages[id] != at) {
                continue;
            }
            let made = match node.kind {
                NodeKind::AtOnce => {
                    let inputs = node.inputs.iter().map(|&id| self.whole(id));
                    let metas: Vec<Meta> =
                        node.outputs.iter().map(|&id| self.graph.metas[id].clone()).collect();
                    node.op.compute(inputs.collect::<Result<_>>()?, &metas)?
                }
                NodeKind::Statistic(statistic) => self.statistic(n, node, statistic)?,
                NodeKind::InStrips(_) => continue,
            };
            for (&id, tensor) in node.outputs.iter().zip(made) {
                self.whole[id] = Some(tensor);
            }
        }
        Ok(())
    }

    /// Carries out an action. `read` gives rows of the input and `write` takes those of the result.
    pub(super) fn act<E: From<Error>>(
        &mut self,
        action: &Action,
        read: &mut dyn FnMut(Range<usize>) -> Result<Tensor, E>,
        write: &mut dyn FnMut(usize, Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        match action {
            Action::Load { map, rows, .. } if *map == self.graph.input => {
                let tensor = read(rows.clone())?;
                let mut expected = self.graph.metas[*map].clone();
                expected.shape[2] = rows.len();
                if tensor.meta() != expected || tensor.device() != self.graph.device {
                    let message = format!("expected {expected}, got {}", tensor.meta());
                    return Err(Error::shape("strips", message).into());
                }
                self.extend(*map, rows.start, tensor)?;
            }
            Action::Load { map, rows, release } => {
                let tensor = self.load(*map, rows)?;
                self.extend(*map, rows.start, tensor)?;
                while let Some((first, piece)) = self.kept[*map].front()
                    && *release
                    && first + piece.shape()[2] <= rows.end
                {
                    self.kept[*map].pop_front();
                }
            }
            Action::Make { node, rows, reads } => self.make(*node, rows, reads)?,
            Action::Count { node, rows } => {
                let x = self.part(self.graph.nodes[*node].inputs[0], rows)?;
                self.count(*node, &x)?;
            }
            Action::Keep { map, rows } => {
                let part = self.part(*map, rows)?;
                let dtype = self.keeping.dtype(&self.graph.metas[*map]);
                let kept = match part.dtype() == dtype {
                    true => part.copy()?,
                    false => part.to_dtype(dtype)?,
                };
                self.kept[*map].push_back((rows.start, kept));
            }
            Action::Emit { rows } => write(rows.start, self.part(self.graph.output, rows)?)?,
            Action::Forget { map, first } => {
                self.rows[*map] = match self.rows[*map].take() {
                    Some((start, tensor)) if *first < start + tensor.shape()[2] => {
                        let left = start + tensor.shape()[2] - first;
                        // A copy, as a view would hold the memory of all rows.
                        Some((*first, tensor.narrow(2, first - start, left)?.copy()?))
                    }
                    _ => None,
                };
            }
        }
        Ok(())
    }

    fn make(&mut self, n: usize, rows: &Range<usize>, reads: &[Option<RowsRead>]) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes[n];
        let map = node.outputs[0];
        let reads_of_maps = || reads.iter().flatten();
        let skip = reads_of_maps().map(|read| read.skip).max().unwrap_or(0);
        let made = reads_of_maps().map(|read| read.made).max().unwrap_or(rows.len());
        let input = |(&id, read): (&ValueId, &Option<RowsRead>)| match read {
            // A residual of rows of which some are made in vain: any numbers will do for those.
            Some(read) if read.made < made => {
                let bottom = made.saturating_sub(skip + read.made);
                let around = Padding { top: skip, bottom, ..Padding::default() };
                self.part(id, &read.rows)?.pad_zeros(around)
            }
            Some(read) => self.part(id, &read.rows),
            None => self.whole(id),
        };
        let inputs: Vec<Tensor> =
            node.inputs.iter().zip(reads).map(input).collect::<Result<_>>()?;
        let place = || {
            let place = |(&id, read): (&ValueId, &Option<RowsRead>)| match read {
                Some(read) => (read.rows.start, graph.height(id)),
                None => (0, 1),
            };
            let inputs = node.inputs.iter().zip(reads).map(place).collect();
            StripPlace::new(rows.start, graph.height(map), inputs)
        };
        let in_strip = node.op.in_strip(&place());
        let op = in_strip.as_ref().unwrap_or(&node.op);
        let metas: Vec<Meta> = inputs.iter().map(Tensor::meta).collect();
        let made = op.compute(inputs, &op.infer(&metas)?)?.swap_remove(0);
        let made = match made.shape()[2] == rows.len() {
            true => made,
            false => made.narrow(2, skip, rows.len())?,
        };
        self.extend(map, rows.start, made)
    }

    /// Joins rows of a map to those that are there.
    fn extend(&mut self, map: ValueId, first: usize, rows: Tensor) -> Result<()> {
        self.rows[map] = Some(match self.rows[map].take() {
            Some((start, there)) => (start, Tensor::concat(&[&there, &rows], 2)?),
            None => (first, rows),
        });
        Ok(())
    }

    /// Rows of a map that are there.
    fn part(&self, map: ValueId, rows: &Range<usize>) -> Result<Tensor> {
        let (first, tensor) = self.rows[map].as_ref().ok_or_else(missing)?;
        match (*first, tensor.shape()[2]) == (rows.start, rows.len()) {
            true => Ok(tensor.clone()),
            false => {
                let start = rows.start.checked_sub(*first).ok_or_else(missing)?;
                tensor.narrow(2, start, rows.len())
            }
        }
    }

    /// Rows of a map that is kept, in its own dtype.
    fn load(&self, map: ValueId, rows: &Range<usize>) -> Result<Tensor> {
        let mut parts = Vec::new();
        for (first, piece) in &self.kept[map] {
            let start = rows.start.max(*first);
            let end = rows.end.min(first + piece.shape()[2]);
            if start < end {
                parts.push(piece.narrow(2, start - first, end - start)?);
            }
        }
        let joined = match &parts[..] {
            [part] => part.clone(),
            _ => Tensor::concat(&parts.iter().collect::<Vec<_>>(), 2)?,
        };
        joined.to_dtype(self.graph.metas[map].dtype)
    }

    fn whole(&self, id: ValueId) -> Result<Tensor> {
        self.whole[id].clone().ok_or_else(missing)
    }

    /// Takes rows into a statistic.
    fn count(&mut self, n: usize, x: &Tensor) -> Result<()> {
        let NodeKind::Statistic(statistic) = self.graph.nodes[n].kind else { return Ok(()) };
        let count = (x.shape()[2] * x.shape()[3]) as f64;
        let part = match statistic {
            Statistic::Sum(_) => {
                // In half precision the sum may be larger than the largest number.
                let half = matches!(x.dtype(), DType::F16 | DType::BF16);
                let x = if half { x.to_dtype(DType::F32)? } else { x.clone() };
                let first = x.sum(&[0, 2, 3])?.to_f64_vec()?;
                PartialSums { count, first, squares: Vec::new() }
            }
            Statistic::Moments => {
                let [first, var] = moments(x)?;
                let squares = var.iter().map(|var| var * count).collect();
                PartialSums { count, first, squares }
            }
        };
        self.sums[n] = Some(match self.sums[n].take() {
            None => part,
            Some(sums) => sums.with(&part, statistic),
        });
        Ok(())
    }

    /// The values of a statistic that has taken all rows in.
    fn statistic(&mut self, n: usize, node: &RowNode, kind: Statistic) -> Result<Vec<Tensor>> {
        let PartialSums { count, first, squares } = self.sums[n].take().ok_or_else(missing)?;
        let numbers = match kind {
            Statistic::Sum(scale) => vec![first.iter().map(|sum| sum * scale).collect()],
            Statistic::Moments => {
                vec![first, squares.iter().map(|square| square / count).collect::<Vec<f64>>()]
            }
        };
        let constant = |(&id, numbers): (&ValueId, Vec<f64>)| {
            let Meta { shape, dtype } = &self.graph.metas[id];
            Tensor::constant_on(self.graph.device, *dtype, &numbers, shape)
        };
        node.outputs.iter().zip(numbers).map(constant).collect()
    }
}

impl PartialSums {
    /// The statistic of both parts. For moments by the formula of Chan, Golub and LeVeque (1979).
    fn with(self, other: &Self, kind: Statistic) -> Self {
        let count = self.count + other.count;
        let both = self.first.iter().zip(&other.first);
        match kind {
            Statistic::Sum(_) => {
                let first = both.map(|(a, b)| a + b).collect();
                Self { count, first, squares: Vec::new() }
            }
            Statistic::Moments => {
                let weight = self.count * other.count / count;
                let squares = self.squares.iter().zip(&other.squares).zip(both.clone());
                Self {
                    count,
                    squares: squares
                        .map(|((p, q), (a, b))| p + q + (b - a).powi(2) * weight)
                        .collect(),
                    first: both.map(|(a, b)| a + (b - a) * (other.count / count)).collect(),
                }
            }
        }
    }
}

fn missing() -> Error {
    Error::tape("strips", "a value was needed before it was computed")
}
