//! NCCL, NVIDIA's library for collective operations over the GPUs of one machine or many, with one
//! process for each.
//!
//! Building the program does not need it: `libnccl.so.2` is loaded when it is first needed
//! (`sys.rs` declares its functions), and a missing one is an error that names the library to
//! install.
//!
//! The work of a communicator is queued on a stream of its own, in the order of the calls, which
//! must be the same on all ranks. It begins when the GPU has finished its earlier work, and runs in
//! parallel with its later work, until [`PendingMeans::wait`] makes that wait. Memory goes back to
//! the pool only then, so it is not used for anything else while it is read or written here. Forks
//! and joins are events, so a recording contains all of it.
//!
//! If a rank is lost, the GPUs of the others wait forever. The process that started the ranks must
//! then end those that wait for their GPUs.

mod sys;

use super::Gpu;
use super::driver::{self, OwnedStream};
use super::event::StreamEvent;
use crate::{DType, Error, Result};
use std::ffi::{OsStr, OsString, c_int};
use std::sync::{Mutex, OnceLock, PoisonError};
use sys::{AVG, FLOAT32, FLOAT64, Handle, NcclLibrary, UniqueId};

/// The environment variable that names NCCL's library.
const VARIABLE: &str = "ENGINE_NCCL";

/// One rank on one GPU.
pub(crate) struct NcclCommunicator {
    gpu: &'static Gpu,
    library: &'static NcclLibrary,
    /// Used by one thread at a time.
    handle: Mutex<Handle>,
    stream: OwnedStream,
    size: usize,
}

// SAFETY: the handles may be used from any thread in which the GPU's context is current, by one at
// a time, which `queue` ensures.
unsafe impl Send for NcclCommunicator {}
// SAFETY: as above.
unsafe impl Sync for NcclCommunicator {}

/// Checks that `gpu` can be connected to others, and returns its UUID.
pub(crate) fn prepare(gpu: &Gpu) -> Result<[u8; 16]> {
    library()?;
    Ok(driver::probe(gpu.index()).map_err(|error| Error::cuda("device", error))?.uuid)
}

/// The unique id, which rank 0 makes and gives to all others.
pub(crate) fn unique_id() -> Result<Vec<u8>> {
    let (library, mut id) = (library()?, UniqueId([0; 128]));
    // SAFETY: the identity is written there.
    check(library, "ncclGetUniqueId", unsafe { (library.ncclGetUniqueId)(&mut id) })?;
    Ok(id.0.to_vec())
}

impl NcclCommunicator {
    /// Rank number `rank` of `size`, on `gpu`, whose context is current. Returns when all have
    /// come.
    pub(crate) fn join(
        gpu: &'static Gpu,
        unique_id: &[u8],
        rank: usize,
        size: usize,
    ) -> Result<Self> {
        let library = library()?;
        let id = unique_id
            .try_into()
            .map(UniqueId)
            .map_err(|_| Error::cuda("nccl", "that is not a unique id of NCCL"))?;
        let number = |n: usize| {
            c_int::try_from(n).map_err(|_| Error::cuda("nccl", format!("{n} ranks are too many")))
        };
        let (ranks, rank) = (number(size)?, number(rank)?);
        let stream = OwnedStream::new().map_err(|why| Error::cuda("cuStreamCreate", why))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the new handle is written there; the GPU's context is current in this thread.
        check(library, "ncclCommInitRank", unsafe {
            (library.ncclCommInitRank)(&mut handle, ranks, id, rank)
        })?;
        Ok(Self { gpu, library, handle: Mutex::new(handle), stream, size })
    }

    /// The number of ranks.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The GPU.
    pub(crate) fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    /// Starts to take the means over the ranks of dense tensors of f32 or f64. Their memory must
    /// not be given to anyone else until the [`PendingMeans`] has been waited for.
    pub(crate) fn all_reduce_means(&self, transfers: &[Transfer]) -> Result<PendingMeans> {
        let end = self.queue(|handle, stream| {
            let all = transfers.iter().filter(|transfer| transfer.count > 0);
            // Many as one: it takes about as long as one of their size.
            // SAFETY: it takes nothing.
            check(self.library, "ncclGroupStart", unsafe { (self.library.ncclGroupStart)() })?;
            let begun = all.into_iter().try_for_each(|&Transfer { from, to, count, dtype }| {
                let kind = kind(dtype)?;
                // SAFETY: both are dense, of that many numbers, and held until the stream is
                // through with them: see `PendingMeans`.
                let code = unsafe {
                    (self.library.ncclAllReduce)(from, to, count, kind, AVG, handle, stream)
                };
                check(self.library, "ncclAllReduce", code)
            });
            // SAFETY: it takes nothing; there is a group to be ended.
            let ended =
                check(self.library, "ncclGroupEnd", unsafe { (self.library.ncclGroupEnd)() });
            begun.and(ended)
        })?;
        Ok(PendingMeans { gpu: self.gpu, end: Some(end) })
    }

    /// Gathers `count` numbers of every rank, in the order of the ranks. Work queued later waits
    /// for them.
    pub(crate) fn all_gather(&self, transfer: Transfer) -> Result<()> {
        let Transfer { from, to, count, dtype } = transfer;
        if count == 0 {
            return Ok(());
        }
        let kind = kind(dtype)?;
        let end = self.queue(|handle, stream| {
            // SAFETY: the first is dense, the second, too, and as long for each rank; both are
            // held by the caller until the next line has made the compute stream wait.
            let code =
                unsafe { (self.library.ncclAllGather)(from, to, count, kind, handle, stream) };
            check(self.library, "ncclAllGather", code)
        })?;
        end.hold_back(self.gpu.stream())
    }

    /// Queues `work` on the communicator's stream, after the work queued on the GPU so far. Returns
    /// its end, which the GPU must wait for before anything that `work` uses is dropped.
    fn queue(
        &self,
        work: impl FnOnce(Handle, super::driver::Stream) -> Result<()>,
    ) -> Result<StreamEvent> {
        self.gpu.bind()?;
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = self.stream.raw();
        StreamEvent::at_the_end_of(self.gpu.stream())?.hold_back(stream)?;
        let worked = work(*handle, stream);
        let end = StreamEvent::at_the_end_of(stream)?;
        if worked.is_err() {
            // A part of it may be in progress.
            end.hold_back(self.gpu.stream())?;
        }
        worked.map(|()| end)
    }
}

/// Does not wait: all ranks have finished their calls before the first of them drops this, or one
/// is lost.
impl Drop for NcclCommunicator {
    fn drop(&mut self) {
        let handle = *self.handle.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the handle is ours and not used again.
        let _ = self.gpu.bind().map(|()| unsafe { (self.library.ncclCommAbort)(handle) });
    }
}

/// Dense memory of a GPU that is read, and that which is written; `count` numbers of `dtype`.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) count: usize,
    pub(crate) dtype: DType,
}

/// Work of a communicator that is under way.
pub(crate) struct PendingMeans {
    gpu: &'static Gpu,
    /// The completion event; `None` once awaited.
    end: Option<StreamEvent>,
}

impl PendingMeans {
    /// Makes later work on the GPU's stream wait for this work.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let Some(end) = &self.end else { return Ok(()) };
        self.gpu.bind()?;
        end.hold_back(self.gpu.stream())?;
        self.end = None;
        Ok(())
    }
}

fn kind(dtype: DType) -> Result<c_int> {
    match dtype {
        DType::F32 => Ok(FLOAT32),
        DType::F64 => Ok(FLOAT64),
        other => Err(Error::dtype("nccl", "f32 or f64", other)),
    }
}

/// The library, which the first call opens.
fn library() -> Result<&'static NcclLibrary> {
    static OPENED: OnceLock<Result<&'static NcclLibrary>> = OnceLock::new();
    driver::built_in()?;
    OPENED
        .get_or_init(|| {
            open(std::env::var_os(VARIABLE)).map(|library| &*Box::leak(Box::new(library)))
        })
        .clone()
}

/// Opens the library that `setting`, of the environment, names, or the usual one; or names the
/// library to do.
fn open(setting: Option<OsString>) -> Result<NcclLibrary> {
    let missing = |why: String| {
        let message = format!(
            "NCCL 2.10 or later is needed by several processes that train on GPUs: {why}. Install \
             it, for example with `pip install nvidia-nccl-cu12`, and put the folder of \
             libnccl.so.2 (site-packages/nvidia/nccl/lib) on LD_LIBRARY_PATH, or name the file \
             in {VARIABLE}"
        );
        Error::cuda("nccl", message)
    };
    let named = setting.filter(|file| !file.is_empty());
    let library = NcclLibrary::open(named.as_deref().unwrap_or(OsStr::new("libnccl.so.2")))
        .map_err(missing)?;
    library.version().and_then(supported).map_err(missing)?;
    Ok(library)
}

/// Whether this version of the library will do, or why not: means came with 2.10.
fn supported((major, minor, patch): (c_int, c_int, c_int)) -> Result<(), String> {
    match (major, minor) {
        (2, 10..) => Ok(()),
        _ => Err(format!("version {major}.{minor}.{patch} was found")),
    }
}

fn check(library: &NcclLibrary, call: &str, code: c_int) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::cuda("nccl", format!("{call}: {}", library.describe(code)))),
    }
}

#[cfg(test)]
mod tests;
