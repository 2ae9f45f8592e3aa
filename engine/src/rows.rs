//! The rows of a map that an operation needs for a row of its result: what it takes to compute the
//! result in strips of rows ([`Strips`](crate::Strips)).

use crate::interpolation::{Alignment, neighbors};
use std::ops::Range;

/// The rows of an input `[N, C, H, W]` that an operation reads to make row i of its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowRule {
    /// Row i alone.
    Same,
    /// The `count` rows from i·`stride` − `before` on, of which those beyond the border are the
    /// operation's own business.
    Window {
        /// Input rows from one row of the result to the next.
        stride: usize,
        /// Rows of the first window above the border.
        before: usize,
        /// Rows of a window.
        count: usize,
    },
    /// The rows r whose window of the result, the `count` rows from r·`stride` − `before` on,
    /// contains i. `before` + `stride` is at most `count`.
    Spread {
        /// Rows of the result from one input row to the next.
        stride: usize,
        /// Rows of the first window above the border.
        before: usize,
        /// Rows of a window.
        count: usize,
    },
    /// The one or two rows next to i, by linear interpolation.
    Between(RowScale),
}

/// How the rows of an interpolated map lie among those of its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowScale {
    pub(crate) alignment: Alignment,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl RowScale {
    /// The first row that row `i` of the result reads, and the weights of those from there on.
    pub(crate) fn neighbors(self, i: usize) -> (usize, impl ExactSizeIterator<Item = f64>) {
        let Self { alignment, from, to } = self;
        neighbors(alignment.coordinate(i, from, to), from)
    }
}

/// A strip of an operation's result, for operations whose rows depend on where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct StripPlace {
    /// The first row of the strip.
    pub(crate) start: usize,
    /// The height of the whole result.
    pub(crate) height: usize,
    /// Of each input, the first row that the operation is given, and the height of the whole.
    pub(crate) inputs: Vec<(usize, usize)>,
}

impl StripPlace {
    pub(crate) fn new(start: usize, height: usize, inputs: Vec<(usize, usize)>) -> Self {
        Self { start, height, inputs }
    }
}

/// The rows of an input for a strip of the result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowsRead {
    /// The rows. Where they end inside of the map, the operation takes that for the border.
    pub(crate) rows: Range<usize>,
    /// The rows that the operation makes of them before the strip begins, which are wrong.
    pub(crate) skip: usize,
    /// How many rows it makes in all.
    pub(crate) made: usize,
}

impl RowRule {
    /// The rows of an input of `height` rows that rows `strip` of the result are computed from.
    pub(crate) fn reads(self, strip: &Range<usize>, height: usize) -> RowsRead {
        let Range { start, end } = *strip;
        match self {
            Self::Same => RowsRead { rows: start..end, skip: 0, made: end - start },
            Self::Window { stride, before, count } => {
                let first = start.saturating_sub(before.div_ceil(stride));
                let rows =
                    first * stride..((end - 1) * stride + count).saturating_sub(before).min(height);
                let made = (rows.len() + 2 * before).saturating_sub(count) / stride + 1;
                RowsRead { rows, skip: start - first, made }
            }
            Self::Spread { stride, before, count } => {
                let first = (start + before + 1).saturating_sub(count).div_ceil(stride);
                let rows = first..((end - 1 + before) / stride + 1).min(height);
                let made = ((rows.len() - 1) * stride + count).saturating_sub(2 * before);
                RowsRead { rows, skip: start - first * stride, made }
            }
            Self::Between(scale) => {
                let (last, weights) = scale.neighbors(end - 1);
                let rows = scale.neighbors(start).0..last + weights.len();
                RowsRead { rows, skip: 0, made: end - start }
            }
        }
    }

    /// How many of the `of` rows of the result can be computed from the first `rows` of `height`.
    pub(crate) fn ready(self, rows: usize, height: usize, of: usize) -> usize {
        if rows == height {
            return of;
        }
        let ready = match self {
            Self::Same => rows,
            Self::Window { stride, before, count } => {
                (rows + before).checked_sub(count).map_or(0, |room| room / stride + 1)
            }
            Self::Spread { stride, before, .. } => (rows * stride).saturating_sub(before),
            Self::Between(scale) => {
                // Later rows read later rows, so those that can be computed come first.
                let (mut ready, mut end) = (0, of);
                while ready < end {
                    let middle = ready.midpoint(end);
                    let (first, weights) = scale.neighbors(middle);
                    match first + weights.len() <= rows {
                        true => ready = middle + 1,
                        false => end = middle,
                    }
                }
                ready
            }
        };
        ready.min(of)
    }
}
