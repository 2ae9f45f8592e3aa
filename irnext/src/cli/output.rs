//! What commands write: lines on standard output, and files that are not replaced unasked.

use crate::error::{Error, Result};
use std::path::Path;

/// Refuses to replace what is at `path`, unless that was asked for.
pub(super) fn keep(path: &Path, overwrite: bool) -> Result<()> {
    match path.exists() && !overwrite {
        true => Err(Error::data(path, "is there already; --overwrite replaces it")),
        false => Ok(()),
    }
}

/// Prints a line to standard output. Unlike `println!` it does not mind if nobody reads on:
/// `irnext eval … | head` ends quietly, and a training run outlives its terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
pub(super) use say;
