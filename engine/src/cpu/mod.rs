//! Shared by the operations' CPU kernels: loop nests over strided memory, in parallel.
//!
//! The rule that makes results the same for any number of threads: work is cut into pieces whose
//! borders depend on the shapes alone, every output element is computed by one piece, and sums over
//! pieces are added in a fixed order.

mod channel_sums;
pub(crate) mod convolution;
pub(crate) mod gelu;
mod pieces;
mod strided;

pub(crate) use channel_sums::channel_sums;
pub(crate) use pieces::{for_each_line, for_each_piece, try_for_each_piece};
pub(crate) use strided::{copy, for_each_row, write_region};

/// Elements of output that make a piece worth handing to another thread.
pub(crate) const PIECE: usize = 16 * 1024;

/// Cuts `$len` numbers into blocks of 32, of 8 and of 1, and runs `$body` for each with its start
/// and, as a constant, its size: the sums of a block stay in registers. The sizes change nothing
/// but speed.
macro_rules! in_blocks {
    ($len:expr, |$start:ident, $B:ident| $body:block) => {{
        let (len, mut $start) = ($len, 0);
        while $start + 32 <= len {
            const $B: usize = 32;
            $body
            $start += 32;
        }
        while $start + 8 <= len {
            const $B: usize = 8;
            $body
            $start += 8;
        }
        while $start < len {
            const $B: usize = 1;
            $body
            $start += 1;
        }
    }};
}
pub(crate) use in_blocks;
