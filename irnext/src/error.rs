//! What can go wrong, as values: every error names the file or the setting it is about, and the
//! cause.

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
        /// What the operating system said.
        source: io::Error,
    },

    /// `path` was read, but holds no image that can be used; or an image cannot be written there.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Two images of the pair `name` cannot be compared.
    #[error("{name}: {source}")]
    Score {
        /// The pair.
        name: String,
        /// Why not.
        source: ScoreError,
    },

    /// Scores cannot be computed.
    #[error(transparent)]
    Metrics(#[from] ScoreError),

    /// The network or its numbers: shapes, weight files.
    #[error(transparent)]
    Model(#[from] nn::Error),

    /// A setting has a value that cannot be used.
    #[error("{reason}")]
    Config {
        /// The setting, its value, and what would be accepted.
        reason: String,
    },

    /// Training came to numbers that it cannot go on from.
    #[error(
        "the loss or its gradient was no finite number in {failures} steps in a row, up to step {step}; the run is back at step {back}. \
         A lower optimizer.learning_rate, a longer optimizer.warmup or a smaller optimizer.clip may help; `irnext doctor` looks for damaged images"
    )]
    Diverged {
        /// How many steps in a row failed.
        failures: u64,
        /// The last of those steps.
        step: u64,
        /// The step of the last checkpoint.
        back: u64,
    },

    /// A signal asked the program to end. What it was doing was brought to an end that nothing is
    /// lost by.
    #[error("stopped by signal {0}")]
    Signal(i32),

    /// What several processes do together has failed in another one of them.
    #[error("rank {rank}: {reason}")]
    Rank {
        /// Which one, from 0.
        rank: usize,
        /// What it says.
        reason: String,
    },

    /// A folder of training or test images cannot be used.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What is wrong with its contents.
        reason: String,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why two images have no score. It does not know their files' names: the caller does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// The images differ in size; width and height of each.
    #[error("an image of {}x{} pixels cannot be scored against one of {}x{}", .0.0, .0.1, .1.0, .1.1)]
    Sizes((usize, usize), (usize, usize)),

    /// The images have no pixels.
    #[error("an image without pixels has no score")]
    Empty,

    /// The images are smaller than the window that structural similarity is computed in.
    #[error("SSIM looks at {window}x{window} pixels at a time, and the image has {width}x{height}")]
    SmallerThanWindow {
        /// The window's side.
        window: usize,
        /// Pixels in a row of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },

    /// The images are smaller than the network of LPIPS takes.
    #[error("LPIPS looks at {least}x{least} pixels and more, and the image has {width}x{height}")]
    SmallerThanNetwork {
        /// The least side.
        least: usize,
        /// Pixels in a row of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },

    /// No homography takes one image to the other.
    #[error("the images cannot be aligned: {reason}")]
    Unaligned {
        /// What is the matter with them.
        reason: &'static str,
    },

    /// The weights of LPIPS cannot be read.
    #[error("the weights of LPIPS inside the program: {0}")]
    Weights(String),

    /// The engine refused a computation.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        Self::Model(error.into())
    }
}

impl Error {
    /// Whether somebody asked for the computation to be given up.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Model(nn::Error::Engine(engine::Error::Interrupted { .. })))
    }

    /// Puts the file's name to an error of the operating system:
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
