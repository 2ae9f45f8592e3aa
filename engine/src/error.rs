//! The one error type of the engine. Every message names the operation that failed, or the process.

use crate::DType;

/// What can go wrong in the engine. Nothing a caller passes in panics; it comes back as one of
/// these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit together, or a setting that does not fit a shape.
    #[error("{op}: {message}")]
    Shape {
        /// The operation that refused.
        op: &'static str,
        /// What was given and what was expected.
        message: String,
    },
    /// The system has no room for what was to be allocated.
    #[error("out of memory: cannot allocate {bytes} bytes")]
    Memory {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// A dtype the operation does not compute in, or operands of different dtypes.
    #[error("{op}: expected dtype {expected}, got {got}")]
    DType {
        /// The operation that refused.
        op: &'static str,
        /// What the operation takes.
        expected: String,
        /// What it was given.
        got: DType,
    },
    /// A check that two computations agree found that they do not.
    #[error("{op}: {message}")]
    Disagreement {
        /// The check.
        op: &'static str,
        /// What differs, where and by how much.
        message: String,
    },
    /// The tape was used after `backward` consumed it, or tensors of two tapes were mixed.
    #[error("{op}: {message}")]
    Tape {
        /// The operation that refused.
        op: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A computation that is only traced was asked for values; see
    /// [`planned`](crate::planned).
    #[error("{op}: a traced tensor has a shape and no values")]
    Traced {
        /// The operation that needs values.
        op: &'static str,
    },
    /// Somebody asked for the computation to be given up; see
    /// [`interruptible`](crate::interruptible).
    #[error("{op}: interrupted")]
    Interrupted {
        /// The operation that did not start.
        op: &'static str,
    },
    /// What several processes compute together cannot go on, as one of them is gone or computes
    /// something else.
    #[error("{message}")]
    Ranks {
        /// Which one, and why.
        message: String,
    },
    /// A GPU, its driver or a library for it is missing, is of no use or failed; or tensors of two
    /// devices were mixed.
    #[error("{op}: {message}")]
    Cuda {
        /// The operation or the call that failed.
        op: &'static str,
        /// What is wrong, and what can be done.
        message: String,
    },
}

impl Error {
    /// A [`Error::Shape`] for `op`.
    pub fn shape(op: &'static str, message: impl Into<String>) -> Self {
        Self::Shape { op, message: message.into() }
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

/// A result whose error is the engine's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
