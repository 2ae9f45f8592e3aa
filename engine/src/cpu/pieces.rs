//! The pieces of an output, in parallel.

use rayon::prelude::*;

/// Calls `f(i, piece)` for every run of `len` elements of `out`, spread over threads; the last run
/// may be shorter.
///
/// A reference to `f`, so that the code that hands pieces to threads is compiled once for each
/// type of element and not once for each caller: it is some 5 kB, and there are hundreds of
/// callers.
pub(crate) fn for_each_piece<T: Send>(
    out: &mut [T],
    len: usize,
    f: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    out.par_chunks_mut(len.max(1)).enumerate().for_each(|(i, piece)| f(i, piece));
}

/// Calls `f(i, line, scratch)` for every run of `len` elements of `out`, spread over threads: with
/// `len` = W·C, line `n·H + h` of a channels-last map. `scratch` makes a value that may be used
/// from line to line; it never carries a value from one to the next.
pub(crate) fn for_each_line<T: Send, S>(
    out: &mut [T],
    len: usize,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(usize, &mut [T], &mut S) + Sync,
) {
    if out.is_empty() {
        return;
    }
    let lines = (super::PIECE / len).max(1);
    for_each_piece(out, len.saturating_mul(lines), &|piece, out| {
        let mut scratch = scratch();
        for (i, line) in out.chunks_mut(len).enumerate() {
            f(piece * lines + i, line, &mut scratch);
        }
    });
}
