//! The sizes of a padding.

/// How many rows and columns to add on each side of the last two dimensions.
///
/// ```
/// use engine::Padding;
/// let left = Padding { left: 2, ..Padding::default() };
/// assert_eq!(left, Padding { top: 0, bottom: 0, left: 2, right: 0 });
/// assert_eq!(Padding::all(1), Padding { top: 1, bottom: 1, left: 1, right: 1 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    pub fn all(size: usize) -> Self {
        Self { top: size, bottom: size, left: size, right: size }
    }
}
