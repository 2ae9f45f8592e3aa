//! The errors of the library and the program. Each names the file or setting, and the cause.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the library or of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write `path`.
    #[error("{}: {}", nn::shown(path), Error::words(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },

    /// `path` is not a usable image file, or an image cannot be written there.
    #[error("{}: {reason}", nn::shown(path))]
    Image {
        /// The image file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// `path` is an image file whose end is missing, or that is damaged, perhaps because it is
    /// still being written.
    #[error("{}: {reason}", nn::shown(path))]
    Unfinished {
        /// The image file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// Two images of the pair `name` cannot be compared.
    #[error("{}: {source}", nn::shown(name))]
    Score {
        /// The pair.
        name: String,
        /// The reason.
        source: ScoreError,
    },

    /// Scores cannot be computed.
    #[error(transparent)]
    Metrics(#[from] ScoreError),

    /// The network or its numbers: shapes, weight files.
    #[error(transparent)]
    Model(#[from] nn::Error),

    /// The network's output has values that are not finite. No image is made of it.
    #[error(
        "the network's output is not finite: {count} of its values are NaN or infinite. Its \
         weights are damaged or do not suit this photo, or --precision is too low"
    )]
    NotFinite {
        /// How many values.
        count: usize,
    },

    /// A photograph cannot be restored within a limit on memory.
    #[error(
        "a photo of {}×{} pixels takes at least {} to restore, and --memory allows {}{}",
        .size.0, .size.1, at_least(*.least), at_most(*.limit), at_auto_scale(*.copied)
    )]
    Memory {
        /// The photo's width and height.
        size: (usize, usize),
        /// The bytes that it takes in the smallest pieces.
        least: u64,
        /// The bytes that it may take.
        limit: u64,
        /// The bytes that it takes at [`Scale::Auto`](crate::restore::Scale), if those are fewer.
        copied: Option<u64>,
    },

    /// The system has no memory for a photograph.
    #[error(
        "a photo of {}×{} pixels takes at least {} beside the program and the network, and the \
         system has no more memory; close other programs, or raise the limit of `ulimit -v`",
        .size.0, .size.1, at_least(*.least)
    )]
    SystemMemory {
        /// The photo's width and height.
        size: (usize, usize),
        /// The bytes that it takes beside the program and the network, which sees a small copy.
        least: u64,
    },

    /// A setting has a value that cannot be used.
    #[error("{reason}")]
    Config {
        /// The setting, its value, and the accepted values.
        reason: String,
    },

    /// Training diverged: its loss or gradients are not finite.
    #[error(
        "loss or gradient was not finite in {failures} consecutive steps, up to step {step}; \
         restored the checkpoint at step {back}. Try a lower optimizer.learning_rate, a longer \
         optimizer.warmup or a smaller optimizer.clip; `irnext doctor` finds damaged images"
    )]
    Diverged {
        /// How many steps in a row failed.
        failures: u64,
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
    #[error("{}: {reason}", nn::shown(path))]
    Data {
        /// The folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// A number of bytes for people to read, rounded up, so that `--memory` with it suffices.
fn at_least(bytes: u64) -> String {
    match bytes {
        ..0x4000_0000 => format!("{} MB", bytes.div_ceil(1 << 20)),
        _ => tenths_of_gib(bytes.saturating_mul(10).div_ceil(1 << 30)),
    }
}

/// A number of bytes for people to read, rounded down.
fn at_most(bytes: u64) -> String {
    match bytes {
        ..0x4000_0000 => format!("{} MB", bytes >> 20),
        _ => tenths_of_gib(bytes.saturating_mul(10) >> 30),
    }
}

fn tenths_of_gib(tenths: u64) -> String {
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// The advice to leave the scale to the program, if that takes these bytes.
fn at_auto_scale(bytes: Option<u64>) -> String {
    bytes.map_or(String::new(), |bytes| format!("; with --scale auto, {} do", at_least(bytes)))
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why two images have no score. It does not name their files; the caller does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// The images differ in size; width and height of each.
    #[error(
        "an image of {}x{} pixels cannot be scored against one of {}x{}",
        .0.0, .0.1, .1.0, .1.1
    )]
    Sizes((usize, usize), (usize, usize)),

    /// The images have no pixels.
    #[error("an empty image has no score")]
    Empty,

    /// The images are smaller than the window that structural similarity is computed in.
    #[error("SSIM needs at least {window}x{window} pixels, but the image has {width}x{height}")]
    SmallerThanWindow {
        /// The window's side.
        window: usize,
        /// Pixels in a row of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },

    /// The images are smaller than the network of LPIPS allows.
    #[error("LPIPS needs at least {least}x{least} pixels, but the image has {width}x{height}")]
    SmallerThanNetwork {
        /// The least side.
        least: usize,
        /// Pixels in a row of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },

    /// An image has features of NIQE in less than two blocks: it is too small, or too flat.
    #[error(
        "NIQE needs two blocks of 96x96 pixels that are not flat, but the image of \
         {width}x{height} has {blocks}"
    )]
    TooFewBlocks {
        /// The blocks that it has.
        blocks: usize,
        /// Pixels in a row of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },

    /// An image has a value that is NaN, where a score does not show it.
    #[error("the image has values that are not numbers")]
    NotANumber,

    /// No homography takes one image to the other.
    #[error("the images cannot be aligned: {reason}")]
    Unaligned {
        /// The reason.
        reason: &'static str,
    },

    /// The weights of LPIPS cannot be read, or are not given.
    #[error("LPIPS: {0}")]
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
    /// Whether the computation was interrupted on request.
    pub fn is_interruption(&self) -> bool {
        self.of_engine().is_some_and(|error| matches!(error, engine::Error::Interrupted { .. }))
    }

    /// Whether the system had not enough memory for an operation.
    pub(crate) fn is_out_of_system_memory(&self) -> bool {
        matches!(self.of_engine(), Some(engine::Error::Memory { .. }))
    }

    /// Whether the system or a GPU had not enough memory, so that what takes less may succeed.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.of_engine().is_some_and(engine::Error::is_out_of_memory)
    }

    /// The error of the engine, if it is one.
    fn of_engine(&self) -> Option<&engine::Error> {
        match self {
            Self::Model(nn::Error::Engine(error)) => Some(error),
            _ => None,
        }
    }

    /// Adds the file's name to an error of the operating system:
    /// `read(path).map_err(Error::io(path))`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// What an error of the operating system means, for people who do not know its numbers.
    pub(crate) fn words(error: &io::Error) -> String {
        use io::ErrorKind as Kind;
        let words = match error.kind() {
            Kind::NotFound => "there is no such file or folder",
            Kind::PermissionDenied => "permission denied",
            Kind::StorageFull | Kind::QuotaExceeded => "the disk is full",
            Kind::ReadOnlyFilesystem => "the disk is read-only",
            Kind::InvalidFilename => "the name is too long, or not allowed here",
            // The system's own words, without their number; others are for people already.
            _ => match error.raw_os_error() {
                Some(number) => {
                    let text = error.to_string().to_lowercase();
                    return text.replace(&format!(" (os error {number})"), "");
                }
                None => return error.to_string(),
            },
        };
        words.into()
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
