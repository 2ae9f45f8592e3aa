//! Shape, strides and offset: how a tensor's logical indices map onto its storage.
//!
//! Four-dimensional tensors are logically `[N, C, H, W]` and physically channels-last: the strides
//! of a fresh one are `[H·W·C, 1, W·C, C]`. Every other rank is row-major. A view changes the
//! layout and shares the storage.

use crate::{Error, Result};

/// How logical indices map onto a storage: element `i` lies at `offset + Σ i[d]·strides[d]`.
///
/// ```
/// use engine::Layout;
/// let layout = Layout::new("example", &[1, 3, 4, 5])?; // channels-last
/// assert_eq!((layout.shape(), layout.rank()), (&[1, 3, 4, 5][..], 4));
/// assert_eq!((layout.strides(), layout.offset()), (&[60, 1, 15, 3][..], 0));
/// assert_eq!(layout.physical_order(), [0, 2, 3, 1]);
/// assert!(layout.is_dense() && layout.is_contiguous() && !layout.is_row_major());
/// let other = Layout::row_major("example", &[1, 3, 4, 5])?;
/// assert_eq!((other.strides(), other.numel()), (&[60, 20, 5, 1][..], 60));
/// assert!(!layout.same_strides(&other));
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Layout {
    /// The layout of a fresh tensor: channels-last for four dimensions, row-major otherwise.
    ///
    /// # Errors
    /// [`Error::Shape`] of `op` if `shape` has too many elements.
    pub fn new(op: &'static str, shape: &[usize]) -> Result<Self> {
        check_shape(op, shape)?;
        Ok(Self::of(shape))
    }

    /// Row-major: the last dimension is contiguous.
    ///
    /// # Errors
    /// Same errors as [`Layout::new`].
    pub fn row_major(op: &'static str, shape: &[usize]) -> Result<Self> {
        check_shape(op, shape)?;
        Ok(Self::row_major_of(shape))
    }

    /// Like [`Layout::new`], but for a shape that has passed [`check_shape`]: a layout's, or that
    /// of an output, which [`apply`](crate::ops::apply) has checked.
    pub(crate) fn of(shape: &[usize]) -> Self {
        match shape.len() {
            4 => Self::in_order(shape, &[0, 2, 3, 1]),
            _ => Self::row_major_of(shape),
        }
    }

    /// Like [`Layout::row_major`], but for a shape that has passed [`check_shape`].
    pub(crate) fn row_major_of(shape: &[usize]) -> Self {
        let order: Vec<usize> = (0..shape.len()).collect();
        Self::in_order(shape, &order)
    }

    /// Dense, with dimensions laid out in `order`, outermost first.
    fn in_order(shape: &[usize], order: &[usize]) -> Self {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for &d in order.iter().rev() {
            strides[d] = stride;
            stride *= shape[d];
        }
        Self { shape: shape.to_vec(), strides, offset: 0 }
    }

    /// A layout with the given parts; the caller vouches that it stays inside its storage.
    pub(crate) fn from_parts(shape: Vec<usize>, strides: Vec<usize>, offset: usize) -> Self {
        Self { shape, strides, offset }
    }

    /// Logical sizes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements between neighbors, per dimension; 0 where a dimension is broadcast.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Where the first element lies.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of logical elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Dimensions from the outermost to the innermost in memory (by stride; ties keep logical
    /// order).
    pub fn physical_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(self.strides[d]));
        order
    }

    /// Whether the elements fill one run of memory without gaps or overlap, in whatever order of
    /// dimensions.
    pub fn is_dense(&self) -> bool {
        let mut dims: Vec<(usize, usize)> = self.long_dims().collect();
        dims.sort_unstable();
        let mut expected = 1;
        dims.into_iter().all(|(stride, size)| {
            let fits = stride == expected;
            expected *= size;
            fits
        })
    }

    /// Whether memory order is the order of a fresh tensor of this shape ([`Layout::new`]).
    pub fn is_contiguous(&self) -> bool {
        self.same_strides(&Self::of(&self.shape))
    }

    /// Whether memory order is row-major.
    pub fn is_row_major(&self) -> bool {
        self.same_strides(&Self::row_major_of(&self.shape))
    }

    /// Whether both order memory alike; the stride of a dimension of size 1 does not matter.
    pub fn same_strides(&self, other: &Self) -> bool {
        self.shape == other.shape && self.long_dims().eq(other.long_dims())
    }

    fn long_dims(&self) -> impl Iterator<Item = (usize, usize)> {
        let empty = self.numel() == 0;
        self.strides
            .iter()
            .copied()
            .zip(self.shape.iter().copied())
            .filter(move |&(_, size)| size != 1 && !empty)
    }

    /// The same elements with dimensions in the order `dims`.
    pub(crate) fn permute(&self, dims: &[usize]) -> Self {
        Self {
            shape: dims.iter().map(|&d| self.shape[d]).collect(),
            strides: dims.iter().map(|&d| self.strides[d]).collect(),
            offset: self.offset,
        }
    }

    /// Every `step`-th of the elements `start..start + step·(len − 1) + 1` of dimension `dim`.
    pub(crate) fn slice(&self, dim: usize, start: usize, len: usize, step: usize) -> Self {
        let mut layout = self.clone();
        layout.shape[dim] = len;
        // An empty slice stays where it is: its start may lie behind the end of the memory.
        if layout.numel() > 0 {
            layout.offset += start * self.strides[dim];
        }
        // With a single element no step is taken, so it may be of any size.
        if len > 1 {
            layout.strides[dim] *= step;
        }
        layout
    }

    /// This layout seen as `shape`: missing leading dimensions and dimensions of size 1 repeat
    /// (stride 0).
    pub(crate) fn broadcast_to(&self, op: &'static str, shape: &[usize]) -> Result<Self> {
        let refuse =
            || Error::shape(op, format!("{:?} cannot be broadcast to {shape:?}", self.shape));
        let missing = shape.len().checked_sub(self.rank()).ok_or_else(refuse)?;
        check_shape(op, shape)?;
        let mut strides = vec![0; shape.len()];
        for (d, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            if size == shape[missing + d] {
                strides[missing + d] = stride;
            } else if size != 1 {
                return Err(refuse());
            }
        }
        Ok(Self { shape: shape.to_vec(), strides, offset: self.offset })
    }

    /// The same elements, in logical row-major order, under another shape that has passed
    /// [`check_shape`], if no copy is needed for it.
    pub(crate) fn reshape(&self, shape: &[usize]) -> Option<Self> {
        if self.numel() == 0 {
            return Some(Self { offset: self.offset, ..Self::row_major_of(shape) });
        }
        // Runs of old dimensions that one stride covers, as (size, stride), innermost last.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (&size, &stride) in self.shape.iter().zip(&self.strides).filter(|&(&size, _)| size != 1)
        {
            match runs.last_mut() {
                Some((run, last)) if *last == stride * size => {
                    (*run, *last) = (*run * size, stride)
                }
                _ => runs.push((size, stride)),
            }
        }
        let mut strides = vec![0; shape.len()];
        let (mut run, mut left, mut stride) = (runs.len(), 1, 1);
        for d in (0..shape.len()).rev() {
            if shape[d] == 1 {
                strides[d] = stride;
                continue;
            }
            if left == 1 {
                run = run.checked_sub(1)?;
                (left, stride) = runs[run];
            }
            if left % shape[d] != 0 {
                return None;
            }
            strides[d] = stride;
            stride *= shape[d];
            left /= shape[d];
        }
        Some(Self { shape: shape.to_vec(), strides, offset: self.offset })
    }
}

/// The most elements that a shape may have: as many as fit into a slice in the widest dtype, so
/// that no cast makes a shape too large.
const MAX_ELEMENTS: usize = isize::MAX as usize / size_of::<f64>();

/// The gate that every shape passes, on its way into a constructor or out of an operation's shape
/// rule. Behind it the number of elements, the number of bytes and the strides can be computed
/// without checks. A dimension of size 0 counts as 1, since the strides must fit as well.
///
/// # Errors
/// [`Error::Shape`] of `op` if `shape` has too many elements.
pub(crate) fn check_shape(op: &'static str, shape: &[usize]) -> Result<()> {
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size.max(1)));
    match count {
        Some(count) if count <= MAX_ELEMENTS => Ok(()),
        _ => Err(Error::shape(op, format!("shape {shape:?} has too many elements"))),
    }
}

/// The number of elements of `shape`, if it can be counted.
pub(crate) fn checked_numel(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))
}

/// The shape that both operands of `op` broadcast to: sizes are equal or one of them is 1, from the
/// right. It is the shape rule of an operation on two tensors, element by element.
///
/// ```
/// assert_eq!(engine::broadcast_shape("logaddexp", &[3, 1], &[2, 1, 4])?, [2, 3, 4]);
/// assert!(engine::broadcast_shape("logaddexp", &[3], &[4]).is_err());
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if they do not broadcast together.
pub fn broadcast_shape(op: &'static str, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size =
        |shape: &[usize], d: usize| (d + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|d| match (size(a, d), size(b, d)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(Error::shape(op, format!("shapes {a:?} and {b:?} do not broadcast together"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_dimensions_are_channels_last() {
        let layout = Layout::of(&[2, 3, 4, 5]);
        assert_eq!(layout.strides(), [60, 1, 15, 3]);
        assert!(layout.is_dense() && layout.is_contiguous() && !layout.is_row_major());
        // With one channel both orders are the same memory.
        assert!(Layout::of(&[2, 1, 4, 5]).is_row_major());
    }

    #[test]
    fn reshape_shares_storage_only_where_it_can() {
        let layout = Layout::row_major_of(&[2, 3, 4]);
        assert_eq!(layout.reshape(&[6, 4]).unwrap().strides(), [4, 1]);
        assert_eq!(layout.reshape(&[2, 1, 12]).unwrap().strides(), [12, 12, 1]);
        assert!(layout.permute(&[1, 0, 2]).reshape(&[6, 4]).is_none());
        // Channels-last [N, C, 1, 1] is [N, C] without a copy.
        assert_eq!(Layout::of(&[2, 3, 1, 1]).reshape(&[2, 3]).unwrap().strides(), [3, 1]);
    }

    #[test]
    fn broadcasting_repeats_with_stride_zero() {
        let layout = Layout::row_major_of(&[3, 1]).broadcast_to("t", &[2, 3, 4]).unwrap();
        assert_eq!(layout.strides(), [0, 1, 0]);
        assert!(Layout::row_major_of(&[2]).broadcast_to("t", &[3]).is_err());
        assert_eq!(broadcast_shape("t", &[3, 1], &[2, 1, 4]).unwrap(), [2, 3, 4]);
        assert!(broadcast_shape("t", &[3], &[4]).is_err());
    }

    #[test]
    fn gaps_and_overlaps_are_not_dense() {
        let layout = Layout::row_major_of(&[4, 6]);
        assert!(layout.permute(&[1, 0]).is_dense());
        assert!(!layout.slice(1, 0, 5, 1).is_dense());
        assert!(!Layout::row_major_of(&[1, 6]).broadcast_to("t", &[4, 6]).unwrap().is_dense());
    }

    #[test]
    fn shapes_that_cannot_be_are_refused_by_name() {
        assert_eq!(Layout::new("t", &[2, 3, 4, 5]).unwrap(), Layout::of(&[2, 3, 4, 5]));
        assert_eq!(Layout::row_major("t", &[]).unwrap().numel(), 1);
        assert_eq!(Layout::new("t", &[0, 7]).unwrap().numel(), 0);
        Layout::new("t", &[MAX_ELEMENTS]).unwrap();
        let absurd: [&[usize]; 5] = [
            &[MAX_ELEMENTS + 1],
            &[1 << 40, 1 << 40],
            &[usize::MAX, 2],
            &[usize::MAX, 1, usize::MAX, 2],
            &[0, usize::MAX, usize::MAX],
        ];
        for shape in absurd {
            for refused in [Layout::new("t", shape), Layout::row_major("t", shape)] {
                let message = refused.unwrap_err().to_string();
                assert!(message.starts_with(&format!("t: shape {shape:?}")), "{message}");
            }
            assert!(Layout::of(&[1]).broadcast_to("t", shape).is_err());
        }
    }

    #[test]
    fn the_step_of_one_element_may_be_anything() {
        let layout = Layout::row_major_of(&[4, 6]).slice(0, 3, 1, usize::MAX);
        assert_eq!((layout.shape(), layout.offset()), ([1, 6].as_slice(), 18));
    }
}
