//! The lines of an image, in parallel.

use super::PIECE;
use crate::Result;
use rayon::prelude::*;

/// Calls `f(i, line, scratch)` for every run of `len` elements of `out`, spread over threads: with
/// `len` = W·C, line `n·H + h` of a channels-last map. `scratch` makes a value that a thread may
/// use from line to line, or the error that ends all; it never carries a value from one to the
/// next.
pub(crate) fn for_each_line<T: Send, S>(
    out: &mut [T],
    len: usize,
    scratch: impl Fn() -> Result<S> + Sync + Send,
    f: impl Fn(usize, &mut [T], &mut S) + Sync + Send,
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let lines = out.par_chunks_mut(len).with_min_len((PIECE / len).max(1));
    lines.enumerate().try_for_each_init(scratch, |scratch, (i, line)| {
        let scratch = scratch.as_mut().map_err(|error| error.clone())?;
        f(i, line, scratch);
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
}
