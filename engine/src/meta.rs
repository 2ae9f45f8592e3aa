//! Shape and dtype of a tensor, without its elements.

use crate::{DType, Error, Result};
use std::fmt;

/// Shape and dtype: all that an operation needs of its inputs to infer its output's.
///
/// ```
/// use engine::{DType, Meta};
/// let meta = Meta { shape: vec![1, 3, 4, 5], dtype: DType::F32 };
/// assert_eq!((meta.numel(), meta.bytes()), (60, 240));
/// assert_eq!((meta.dim("crop", 2)?, meta.dims4("crop")?), (4, [1, 3, 4, 5]));
/// assert_eq!(meta.to_string(), "[1, 3, 4, 5] f32");
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Logical sizes.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub dtype: DType,
}

impl Meta {
    /// Number of elements; the largest number there is if the shape has more.
    pub fn numel(&self) -> usize {
        self.shape.iter().fold(1, |n: usize, &size| n.saturating_mul(size))
    }

    /// Bytes of a dense tensor of this kind; the largest number there is if there are more.
    pub fn bytes(&self) -> usize {
        self.numel().saturating_mul(self.dtype.size())
    }

    /// The size of dimension `d`.
    ///
    /// # Errors
    /// If there is no such dimension; `op` is the operation that asked.
    pub fn dim(&self, op: &'static str, d: usize) -> Result<usize> {
        let refuse =
            || Error::shape(op, format!("there is no dimension {d} in shape {:?}", self.shape));
        self.shape.get(d).copied().ok_or_else(refuse)
    }

    /// The four sizes of a `[N, C, H, W]` tensor.
    pub fn dims4(&self, op: &'static str) -> Result<[usize; 4]> {
        let refuse =
            |_| Error::shape(op, format!("expected [N, C, H, W], got shape {:?}", self.shape));
        self.shape.as_slice().try_into().map_err(refuse)
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.shape, self.dtype)
    }
}
