//! Linear interpolation along an axis: where an output lies among the inputs, following PyTorch's
//! `interpolate`.

use std::array::IntoIter;
use std::iter::Take;

/// How outputs are aligned with inputs along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Alignment {
    /// The centers of the corner pixels coincide.
    Corners,
    /// The areas coincide, outputs being `step` inputs apart (`None`: by the two lengths).
    Areas { step: Option<f64> },
}

impl Alignment {
    pub(crate) fn new(align_corners: bool) -> Self {
        if align_corners { Self::Corners } else { Self::Areas { step: None } }
    }

    /// The coordinate of output `o` of `to` on an axis of `from` inputs, in input pixels; at least
    /// 0, perhaps beyond the last input.
    pub(crate) fn coordinate(self, o: usize, from: usize, to: usize) -> f64 {
        match self {
            _ if from == to => o as f64,
            Self::Corners if to == 1 => 0.0,
            Self::Corners => o as f64 * ((from - 1) as f64 / (to - 1) as f64),
            Self::Areas { step } => {
                ((o as f64 + 0.5) * step.unwrap_or(from as f64 / to as f64) - 0.5).max(0.0)
            }
        }
    }
}

/// The first of the one or two of `count` inputs around a coordinate, and their weights.
pub(crate) fn neighbors(coordinate: f64, count: usize) -> (usize, Take<IntoIter<f64, 2>>) {
    let first = (coordinate as usize).min(count - 1);
    let second = coordinate - first as f64;
    // On an input, or beyond the last: PyTorch weighs a neighbor by 0 here, which this leaves out.
    match second == 0.0 || first + 1 == count {
        true => (first, [1.0, 0.0].into_iter().take(1)),
        false => (first, [1.0 - second, second].into_iter().take(2)),
    }
}
