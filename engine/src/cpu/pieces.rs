//! The pieces of an output, in parallel.

use crate::Result;
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

/// Like [`for_each_piece`], up to the first error.
pub(crate) fn try_for_each_piece<T: Send>(
    out: &mut [T],
    len: usize,
    f: &(dyn Fn(usize, &mut [T]) -> Result<()> + Sync),
) -> Result<()> {
    out.par_chunks_mut(len.max(1)).enumerate().try_for_each(|(i, piece)| f(i, piece))
}

/// Calls `f(i, line, scratch)` for every run of `len` elements of `out`, spread over threads: with
/// `len` = W·C, line `n·H + h` of a channels-last map. `scratch` makes a buffer that may be used
/// from line to line, or the error that ends all; no line reads there what another one wrote.
pub(crate) fn for_each_line<T: Send, S>(
    out: &mut [T],
    len: usize,
    scratch: impl Fn() -> Result<S> + Sync,
    f: impl Fn(usize, &mut [T], &mut S) + Sync,
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let lines = (super::PIECE / len).max(1);
    try_for_each_piece(out, len.saturating_mul(lines), &|piece, out| {
        let mut scratch = scratch()?;
        for (i, line) in out.chunks_mut(len).enumerate() {
            f(piece * lines + i, line, &mut scratch);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn scratch_memory_that_cannot_be_had_is_an_error() {
        let mut out = [0u8; 12];
        let error = Error::Memory { op: None, bytes: 1 << 60 };
        let refused = for_each_line(&mut out, 4, || Err::<(), _>(error.clone()), |_, _, ()| {});
        assert_eq!(refused, Err(error));
        for_each_line(&mut out, 4, || Ok(()), |i, line, ()| line.fill(i as u8)).unwrap();
        assert_eq!(out, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn lines_are_counted_through_all_pieces() {
        // Many lines to a piece, and several pieces; one line longer than a piece; a short rest.
        for (len, total) in [(7, 3 * crate::cpu::PIECE + 3), (crate::cpu::PIECE + 1, 70_000)] {
            let mut out = vec![u32::MAX; total];
            for_each_line(&mut out, len, || Ok(()), |i, line, ()| line.fill(i as u32)).unwrap();
            assert!(out.iter().enumerate().all(|(at, &line)| line as usize == at / len), "{len}");
            // The error of any piece ends it.
            let error = Error::Memory { op: None, bytes: 1 };
            let calls = std::sync::atomic::AtomicUsize::new(0);
            let last = || match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0..3 => Ok(()),
                _ => Err(error.clone()),
            };
            assert_eq!(for_each_line(&mut out, len, last, |_, _, ()| {}), Err(error));
        }
    }
}
