//! Communication between the GPUs of several processes, one for each process, by NCCL.

use crate::cuda::Gpu;
use crate::cuda::nccl::{self, NcclCommunicator, PendingMeans};
use crate::{Device, Error, Result, Tensor};

/// One rank's connection to the others, on its GPU. All ranks make the same calls in the same
/// order, with tensors of the same shapes. Only [`Communicator::join`] waits for the other ranks;
/// later calls return at once, and the GPU waits as it executes them.
///
/// Errors are [`Error::Cuda`]. A lost rank is not an error: the GPU waits for it.
///
/// ```no_run
/// use engine::{Communicator, DType, Device, Tensor};
/// # let send_to_all = |id: Vec<u8>| id;
/// # let (rank, size) = (0, 1);
/// let device = Device::Cuda(0);
/// Communicator::prepare(device)?;
/// let id = send_to_all(Communicator::unique_id()?); // from rank 0, by other means
/// let ranks = Communicator::join(device, &id, rank, size)?;
/// let gradient = Tensor::full(&[3], rank as f64, DType::F32)?.to_device(ranks.device())?;
/// let pending = ranks.start_means(&[gradient.clone()])?;
/// let all = ranks.gather(&gradient)?; // [size, 3], computed meanwhile
/// let means = pending.finish()?;
/// # Ok::<_, engine::Error>(())
/// ```
pub struct Communicator(NcclCommunicator);

/// Means over the ranks, in progress; see [`Communicator::start_means`].
pub struct AllReduce {
    pending: PendingMeans,
    /// The tensors that are read, and those that are written.
    of: Vec<Tensor>,
    means: Vec<Tensor>,
}

impl Communicator {
    /// Checks that `device` is a GPU that can be connected to others, and returns its UUID. No two
    /// ranks may have the same GPU.
    pub fn prepare(device: Device) -> Result<[u8; 16]> {
        nccl::prepare(gpu(device)?)
    }

    /// The unique id of NCCL, which rank 0 makes and gives to all others.
    pub fn unique_id() -> Result<Vec<u8>> {
        nccl::unique_id()
    }

    /// Joins as rank number `rank` of `size`, on `device`. Returns when all ranks have joined.
    pub fn join(device: Device, unique_id: &[u8], rank: usize, size: usize) -> Result<Self> {
        NcclCommunicator::join(gpu(device)?, unique_id, rank, size).map(Self)
    }

    /// The GPU.
    pub fn device(&self) -> Device {
        Device::Cuda(self.0.gpu().index())
    }

    /// Starts to take the mean over the ranks of each of `tensors`, of f32 or f64, in parallel with
    /// later computations. The means are the same bits on all ranks.
    pub fn start_means(&self, tensors: &[Tensor]) -> Result<AllReduce> {
        let (mut of, mut means, mut transfers) = (Vec::new(), Vec::new(), Vec::new());
        for tensor in tensors {
            let tensor = self.here(tensor)?;
            let mean = Tensor::new_on_gpu(self.0.gpu(), tensor.shape(), tensor.dtype())?;
            transfers.push(transfer(&tensor, &mean)?);
            of.push(tensor);
            means.push(mean);
        }
        Ok(AllReduce { pending: self.0.all_reduce_means(&transfers)?, of, means })
    }

    /// `tensor`, of f32 or f64, of every rank, in the order of the ranks: `[ranks, …]`.
    pub fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        let mine = self.here(&tensor.reshape(&[tensor.numel()])?)?;
        let shape = [self.0.size(), mine.numel()];
        let all = Tensor::new_on_gpu(self.0.gpu(), &shape, mine.dtype())?;
        self.0.all_gather(transfer(&mine, &all)?)?;
        let shape: Vec<usize> =
            std::iter::once(self.0.size()).chain(tensor.shape().iter().copied()).collect();
        all.reshape(&shape)
    }

    /// `tensor` as NCCL can read it.
    fn here(&self, tensor: &Tensor) -> Result<Tensor> {
        let device = self.device();
        if tensor.device() != device {
            let message = format!("a tensor is not on {device}, which ranks share");
            return Err(Error::cuda("nccl", message));
        }
        tensor.detach().contiguous()
    }
}

impl AllReduce {
    /// The means, in the order of the tensors. Later computations wait for them. See
    /// [`Communicator`] for an example.
    pub fn finish(mut self) -> Result<Vec<Tensor>> {
        self.pending.wait()?;
        Ok(std::mem::take(&mut self.means))
    }
}

impl Drop for AllReduce {
    fn drop(&mut self) {
        if self.pending.wait().is_err() {
            // Without a wait the memory must not be used again.
            std::mem::take(&mut self.of)
                .into_iter()
                .chain(std::mem::take(&mut self.means))
                .for_each(std::mem::forget);
        }
    }
}

/// The arguments for NCCL of `from` and `to`, both dense.
fn transfer(from: &Tensor, to: &Tensor) -> Result<nccl::Transfer> {
    Ok(nccl::Transfer {
        from: from.address()?,
        to: to.address()?,
        count: from.numel(),
        dtype: from.dtype(),
    })
}

fn gpu(device: Device) -> Result<&'static Gpu> {
    device.gpu()?.ok_or_else(|| Error::cuda("nccl", "it connects GPUs"))
}

#[cfg(test)]
mod tests;
