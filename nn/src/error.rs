//! What can go wrong in the layer library.

use std::path::PathBuf;

/// An error of the layer library; the engine's pass through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation refused its inputs.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file's contents are not what they should be.
    #[error("{origin}: {reason}")]
    Format {
        /// The file, or what else the bytes came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights that do not fit the model: the names that are missing, unexpected or of another
    /// shape.
    #[error("{origin} does not fit the model: {details}")]
    Mismatch {
        /// The file, or what else the weights came from.
        origin: String,
        /// The names.
        details: String,
    },
    /// A setting that makes no sense.
    #[error("{0}")]
    Setting(String),
}

/// A result whose error is the layer library's.
pub type Result<T, E = Error> = std::result::Result<T, E>;
