//! The errors of the library and the program. Each names the file or setting, and the cause.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the library or of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write `path`.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },

    /// `path` is not a usable image file, or an image cannot be written there.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// Two images of the pair `name` cannot be compared.
    #[error("{name}: {source}")]
    Score {
        /// The pair.
        name: String,
        /// The reason.
        source: crate::metrics::Error,
    },

    /// Scores cannot be computed.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::Error),

    /// The network or its numbers: shapes, weight files.
    #[error(transparent)]
    Model(#[from] nn::Error),

    /// A setting has a value that cannot be used.
    #[error("{reason}")]
    Config {
        /// The setting, its value, and what would be accepted.
        reason: String,
    },

    /// Training diverged: its loss or gradients are not finite.
    #[error(
        "loss or gradient was not finite in {FAILURES} consecutive steps, up to step {step}; \
         restored the checkpoint at step {back}. Try a lower optimiser.learning_rate, a longer \
         optimiser.warmup or a smaller optimiser.clip; `irnext doctor` finds damaged images",
        FAILURES = crate::train::FAILURES
    )]
    Diverged {
        /// The last of those steps.
        step: u64,
        /// The step of the last checkpoint.
        back: u64,
    },

    /// A signal ended the program. Its work was saved first.
    #[error("stopped by signal {0}")]
    Signal(i32),

    /// Another process of the group failed.
    #[error("rank {rank}: {reason}")]
    Rank {
        /// Its rank, from 0.
        rank: usize,
        /// Its message.
        reason: String,
    },

    /// A folder of training or test images cannot be used.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        Self::Model(error.into())
    }
}

impl Error {
    /// Whether the computation was interrupted on request.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Model(nn::Error::Engine(engine::Error::Interrupted { .. })))
    }

    /// Adds the file's name to an error of the operating system:
    /// `read(path).map_err(Error::io(path))`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// An [`Error::Image`] about `path`.
    pub fn image(path: &Path, reason: impl Into<String>) -> Self {
        Self::Image { path: path.to_owned(), reason: reason.into() }
    }

    /// An [`Error::Data`] about the folder `path`.
    pub fn data(path: &Path, reason: impl Into<String>) -> Self {
        Self::Data { path: path.to_owned(), reason: reason.into() }
    }
}
