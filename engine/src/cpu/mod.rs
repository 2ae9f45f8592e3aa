//! What the operations' CPU kernels share: walking strided memory in parallel.
//!
//! The rule that makes results the same for any number of threads: work is cut into pieces whose
//! borders depend on the shapes alone, every output element is computed by one piece, and sums over
//! pieces are added in a fixed order.

mod channel_sums;
pub(crate) mod convolution;
pub(crate) mod gelu;
mod lines;
mod walk;

pub(crate) use channel_sums::channel_sums;
pub(crate) use lines::for_each_line;
pub(crate) use walk::{copy, for_each_row, write_region};

/// Elements of output that make a piece worth handing to another thread.
pub(crate) const PIECE: usize = 16 * 1024;
