//! The GPUs of several processes, a process with each: NCCL carries what they add up, from GPU to
//! GPU.

use crate::cuda::nccl;
use crate::{Device, Error, Result, Tensor};

/// One rank's connection to the others, on its GPU. All ranks make the same calls in the same
/// order, with tensors of the same shapes; the GPU waits for the others in what it was given, the
/// calls for nobody.
///
/// Errors are [`Error::Cuda`]. That another rank is gone is none: the GPU waits.
pub struct Communicator(nccl::Communicator);

/// Means over the ranks that are on their way; see [`Communicator::start_means`].
pub struct Means(nccl::Means);

impl Communicator {
    /// Makes sure that `device` is a GPU that can be connected to others; what it is known by among
    /// all GPUs. No two ranks may have the same.
    pub fn prepare(device: Device) -> Result<[u8; 16]> {
        nccl::prepare(index(device)?)
    }

    /// What rank 0 makes for all ranks to find each other by.
    pub fn invitation() -> Result<Vec<u8>> {
        nccl::invitation()
    }

    /// Rank number `rank` of `size`, on `device`. Returns when all have come.
    pub fn join(device: Device, invitation: &[u8], rank: usize, size: usize) -> Result<Self> {
        nccl::Communicator::join(index(device)?, invitation, rank, size).map(Self)
    }

    /// The GPU.
    pub fn device(&self) -> Device {
        Device::Cuda(self.0.index())
    }

    /// Starts to take the mean over the ranks of each of `tensors`, of f32 or f64, which goes on
    /// beside what is computed meanwhile. The means are the same bits on all ranks.
    pub fn start_means(&self, tensors: &[Tensor]) -> Result<Means> {
        self.0.start_means(tensors).map(Means)
    }

    /// `tensor`, of f32 or f64, of every rank, in the order of the ranks: `[ranks, …]`.
    pub fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        self.0.gather(tensor)
    }
}

impl Means {
    /// The means, in the order of the tensors. What is computed from now on comes after them.
    pub fn finish(self) -> Result<Vec<Tensor>> {
        self.0.finish()
    }
}

fn index(device: Device) -> Result<usize> {
    match device {
        Device::Cuda(index) => Ok(index),
        Device::Cpu => Err(Error::cuda("nccl", "it connects GPUs")),
    }
}
