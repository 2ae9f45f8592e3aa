//! The settings of a convolution and its direction.

/// Settings of a convolution, alike for both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// Input pixels from one kernel element to the next.
    pub dilation: usize,
    /// Independent parts that the channels are split into.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    /// Stride 1, no padding, no dilation, one group.
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

/// Whether a map with the weight's input channels becomes one with its output channels, or the
/// other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    InToOut,
    OutToIn,
}

impl Direction {
    /// The direction of the gradient.
    pub(crate) fn reversed(self) -> Self {
        match self {
            Self::InToOut => Self::OutToIn,
            Self::OutToIn => Self::InToOut,
        }
    }
}
