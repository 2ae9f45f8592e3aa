//! The one error type of the engine. Every message names the operation that failed, or the process.

use crate::DType;

/// The errors of the engine. No argument of a caller panics; a wrong one returns an error.
///
/// ```
/// use engine::{DType, Error, Tensor};
/// let (a, b) = (Tensor::zeros(&[2], DType::F32)?, Tensor::zeros(&[3], DType::F32)?);
/// let error = a.add(&b).unwrap_err();
/// assert_eq!(error.to_string(), "add: shapes [2] and [3] do not broadcast together");
/// assert!(matches!(error, Error::Shape { op: "add", .. }));
/// assert!(matches!(a.add(&b.to_dtype(DType::F64)?), Err(Error::DType { op: "add", .. })));
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit together, or a setting that does not fit a shape.
    #[error("{op}: {message}")]
    Shape {
        /// The operation that refused.
        op: &'static str,
        /// The shapes that were given and expected.
        message: String,
    },
    /// The system could not allocate memory.
    #[error("{}out of memory: cannot allocate {bytes} bytes", prefix(.op))]
    Memory {
        /// The operation that needed it, where one is known.
        op: Option<&'static str>,
        /// The requested number of bytes.
        bytes: usize,
    },
    /// A dtype the operation does not compute in, or operands of different dtypes.
    #[error("{op}: expected dtype {expected}, got {got}")]
    DType {
        /// The operation that refused.
        op: &'static str,
        /// The dtype that the operation takes.
        expected: String,
        /// The dtype that it was given.
        got: DType,
    },
    /// A check that two computations agree found that they do not.
    #[error("{op}: {message}")]
    Disagreement {
        /// The check, or the operation whose parts contradict each other.
        op: &'static str,
        /// The difference: of gradients, for example, where it is and how large.
        message: String,
    },
    /// The tape was used after `backward` consumed it, or tensors of two tapes were mixed.
    #[error("{op}: {message}")]
    Tape {
        /// The operation that refused.
        op: &'static str,
        /// The reason.
        message: String,
    },
    /// The values of a traced computation were requested; see [`planned`](crate::planned).
    #[error("{op}: a traced tensor has a shape and no values")]
    Traced {
        /// The operation that needs values.
        op: &'static str,
    },
    /// The computation was interrupted on request; see [`interruptible`](crate::interruptible).
    #[error("{op}: interrupted")]
    Interrupted {
        /// The operation that did not start.
        op: &'static str,
    },
    /// A computation of several processes cannot continue, as one of them is gone or computes
    /// something else.
    #[error("{message}")]
    Ranks {
        /// Which one, and why.
        message: String,
    },
    /// A GPU has not enough memory left.
    #[error("out of memory: {message}")]
    DeviceMemory {
        /// How much was requested, is in use and is free.
        message: String,
    },
    /// A GPU, its driver or a library for it is missing, unusable or failed; or tensors of two
    /// devices were mixed.
    #[error("{op}: {message}")]
    Cuda {
        /// The operation or the call that failed.
        op: &'static str,
        /// The reason, and advice.
        message: String,
    },
}

/// For operations that are defined elsewhere.
///
/// ```
/// use engine::{DType, Error};
/// let refused = Error::shape("crop", "a side of 5 does not fit [3, 4]");
/// assert_eq!(refused.to_string(), "crop: a side of 5 does not fit [3, 4]");
/// let refused = Error::dtype("crop", DType::F32, DType::U8);
/// assert_eq!(refused.to_string(), "crop: expected dtype f32, got u8");
/// for of in [Error::tape, Error::cuda, Error::disagreement] {
///     assert_eq!(of("crop", "the reason").to_string(), "crop: the reason");
/// }
/// assert_eq!(Error::ranks("rank 3 is gone").to_string(), "rank 3 is gone");
/// ```
impl Error {
    /// Whether memory ran out, the system's or a GPU's. What takes less may still fit.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let vast = Tensor::zeros(&[1 << 30, 1 << 28], DType::F32).unwrap_err();
    /// assert!(vast.is_out_of_memory());
    /// ```
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Memory { .. } | Self::DeviceMemory { .. })
    }

    /// A [`Error::Shape`] for `op`.
    pub fn shape(op: &'static str, message: impl Into<String>) -> Self {
        Self::Shape { op, message: message.into() }
    }

    /// This error as one of the operation `name`, if memory ran out in it. An operation inside it,
    /// such as a copy into another layout, is not what the user called.
    pub(crate) fn in_op(self, name: &'static str) -> Self {
        match self {
            Self::Memory { bytes, .. } => Self::Memory { op: Some(name), bytes },
            other => other,
        }
    }

    /// This error as one of `op`, the operation that the user called, where it computes with
    /// others.
    ///
    /// ```
    /// use engine::{Error, Result, Tensor};
    /// fn total(x: &Tensor) -> Result<Tensor> {
    ///     x.sum(&[0]).map_err(|error| error.of("total"))
    /// }
    /// let error = total(&Tensor::from_slice(&[1u8, 2], &[2])?).unwrap_err();
    /// assert!(error.to_string().starts_with("total: expected dtype"));
    /// # Ok::<_, Error>(())
    /// ```
    #[must_use]
    pub fn of(mut self, name: &'static str) -> Self {
        match &mut self {
            Self::Shape { op, .. }
            | Self::DType { op, .. }
            | Self::Disagreement { op, .. }
            | Self::Tape { op, .. }
            | Self::Traced { op }
            | Self::Interrupted { op }
            | Self::Cuda { op, .. } => *op = name,
            Self::Memory { op, .. } => *op = Some(name),
            Self::Ranks { .. } | Self::DeviceMemory { .. } => {}
        }
        self
    }

    /// A [`Error::DType`] for `op`.
    pub fn dtype(op: &'static str, expected: impl ToString, got: DType) -> Self {
        Self::DType { op, expected: expected.to_string(), got }
    }

    /// A [`Error::Disagreement`] found by `op`.
    pub fn disagreement(op: &'static str, message: impl Into<String>) -> Self {
        Self::Disagreement { op, message: message.into() }
    }

    /// A [`Error::Cuda`] for `op`.
    pub fn cuda(op: &'static str, message: impl Into<String>) -> Self {
        Self::Cuda { op, message: message.into() }
    }

    /// A [`Error::Ranks`].
    pub fn ranks(message: impl Into<String>) -> Self {
        Self::Ranks { message: message.into() }
    }

    /// A [`Error::Tape`] for `op`.
    pub fn tape(op: &'static str, message: impl Into<String>) -> Self {
        Self::Tape { op, message: message.into() }
    }
}

/// A count of something whose plural ends in s, for messages.
///
/// ```
/// assert_eq!([0, 1, 2].map(|n| engine::counted(n, "input")), ["0 inputs", "1 input", "2 inputs"]);
/// ```
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn prefix(op: &Option<&'static str>) -> String {
    op.map_or_else(String::new, |op| format!("{op}: "))
}

/// A result whose error is the engine's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
