//! The collective operations that an operation over a batch needs if several processes share the
//! batch, each of which has a part of it.

use crate::{Result, Tensor};

/// The processes, called ranks, that compute the same on the parts of one batch.
pub trait Collectives: Send + Sync {
    /// The `numbers` of every rank, in the order of the ranks. Waits for the others, all of which
    /// must call this in the same order, and with as many numbers.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) if one of them is gone.
    fn gather(&self, numbers: &[f64]) -> Result<Vec<Vec<f64>>>;

    /// The `numbers`, f64 on a GPU, of every rank, in the order of the ranks, on that GPU:
    /// `[ranks, …]`. The GPU waits for the others, all of which must call this in the same order,
    /// and with as many numbers.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) if the ranks' GPUs are not connected.
    fn gather_on_gpu(&self, numbers: &Tensor) -> Result<Tensor>;
}
