//! The lines of an image, in parallel.

use super::PIECE;
use rayon::prelude::*;

/// Calls `f(i, line, scratch)` for every run of `len` elements of `out`, spread over threads: with
/// `len` = W·C, line `n·H + h` of a channels-last map. `scratch` makes a value that a thread may
/// use from line to line; it never carries a value from one to the next.
pub(crate) fn for_each_line<T: Send, S>(
    out: &mut [T],
    len: usize,
    scratch: impl Fn() -> S + Sync + Send,
    f: impl Fn(usize, &mut [T], &mut S) + Sync + Send,
) {
    if out.is_empty() {
        return;
    }
    let lines = out.par_chunks_mut(len).with_min_len((PIECE / len).max(1));
    lines.enumerate().for_each_init(scratch, |scratch, (i, line)| f(i, line, scratch));
}
