//! Writing lines to standard output, and protecting existing files.

use crate::error::{Error, Result};
use std::path::Path;

/// Fails if `path` exists and `overwrite` is false.
pub(super) fn check_overwrite(path: &Path, overwrite: bool) -> Result<()> {
    match path.exists() && !overwrite {
        true => Err(Error::data(path, "already exists; --overwrite replaces it")),
        false => Ok(()),
    }
}

/// Prints a line to standard output. Unlike `println!` it ignores a closed pipe:
/// `irnext eval … | head` ends quietly, and a training run outlives its terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
pub(super) use say;
