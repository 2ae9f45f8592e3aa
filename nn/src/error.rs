//! The errors of the layer library.

use std::path::PathBuf;

/// An error of the layer library or the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation refused its inputs.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = crate::shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file's contents are not valid.
    #[error("{origin}: {reason}")]
    Format {
        /// The file, or another source of the bytes.
        origin: String,
        /// The reason.
        reason: String,
    },
    /// The weights do not fit the model: names are missing, unexpected or of another shape.
    #[error("{origin} does not fit the model: {details}")]
    Mismatch {
        /// The file, or another source of the weights.
        origin: String,
        /// The names.
        details: String,
    },
    /// A setting has a value that cannot be used.
    #[error("{0}")]
    Setting(String),
}

/// A result whose error is the layer library's.
pub type Result<T, E = Error> = std::result::Result<T, E>;
