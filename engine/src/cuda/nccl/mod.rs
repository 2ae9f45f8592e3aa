//! NCCL, NVIDIA's library that adds up over GPUs what each of them has: of one machine or of many,
//! a process with each.
//!
//! Nothing of it is needed to build the program: `libnccl.so.2` is looked for when it is first
//! needed (`sys.rs` declares what is in it), and a missing one is an error that says what to
//! install.
//!
//! What a communicator does is queued on a stream of its own, in the order in which it was asked
//! for, which must be the same on all ranks. It begins when the GPU has computed what it was given
//! before, and goes on beside what is given to it afterwards, until [`Means::finish`] makes that
//! wait. Memory goes back to the pool only then, so nobody else gets it while it is read or written
//! here. Forks and joins are events, so a recording takes all of it.
//!
//! A rank that is gone leaves the others' GPUs waiting for good. Who waits for the GPU then is
//! ended by whoever looks after the ranks.

mod sys;

use super::event::Event;
use super::{Gpu, failed};
use crate::{DType, Error, Result, Tensor};
use cust::stream::{Stream, StreamFlags};
use std::ffi::{OsStr, OsString, c_int};
use std::sync::{Mutex, OnceLock, PoisonError};
use sys::{AVG, FLOAT32, FLOAT64, Handle, Id, Library};

/// The environment variable that names NCCL's library.
const VARIABLE: &str = "IRNEXT_NCCL";

/// One rank on one GPU.
pub(crate) struct Communicator {
    gpu: &'static Gpu,
    library: &'static Library,
    /// Used by one thread at a time.
    handle: Mutex<Handle>,
    stream: Stream,
    size: usize,
}

// SAFETY: the handles may be used from any thread in which the GPU's context is current, by one at
// a time, which `queue` sees to.
unsafe impl Send for Communicator {}
// SAFETY: as above.
unsafe impl Sync for Communicator {}

/// Makes sure that GPU number `index` can be connected to others; what it is known by in the whole
/// world.
pub(crate) fn prepare(index: usize) -> Result<[u8; 16]> {
    let gpu = Gpu::get(index)?;
    library()?;
    Ok(cuda_driver::probe(gpu.index())
        .map_err(|error| Error::cuda("device", error.to_string()))?
        .uuid)
}

/// What rank 0 makes for all to find each other by.
pub(crate) fn invitation() -> Result<Vec<u8>> {
    let (library, mut id) = (library()?, Id([0; 128]));
    // SAFETY: the identity is written there.
    check(library, "ncclGetUniqueId", unsafe { (library.ncclGetUniqueId)(&mut id) })?;
    Ok(id.0.to_vec())
}

impl Communicator {
    /// Rank number `rank` of `size`, on GPU number `index`. Returns when all have come.
    pub(crate) fn join(index: usize, invitation: &[u8], rank: usize, size: usize) -> Result<Self> {
        let (gpu, library) = (Gpu::get(index)?, library()?);
        let id = invitation
            .try_into()
            .map(Id)
            .map_err(|_| Error::cuda("nccl", "that is no invitation of NCCL's"))?;
        let number = |n: usize| {
            c_int::try_from(n).map_err(|_| Error::cuda("nccl", format!("{n} ranks are too many")))
        };
        let (ranks, rank) = (number(size)?, number(rank)?);
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None)
            .map_err(|e| failed("cuStreamCreate", e))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the new handle is written there; the GPU's context is current in this thread.
        check(library, "ncclCommInitRank", unsafe {
            (library.ncclCommInitRank)(&mut handle, ranks, id, rank)
        })?;
        Ok(Self { gpu, library, handle: Mutex::new(handle), stream, size })
    }

    /// The number of the GPU.
    pub(crate) fn index(&self) -> usize {
        self.gpu.index()
    }

    /// Starts to take the means over the ranks of each of `tensors`, of f32 or f64.
    pub(crate) fn start_means(&self, tensors: &[Tensor]) -> Result<Means> {
        let (mut of, mut means) = (Vec::new(), Vec::new());
        for tensor in tensors {
            of.push(self.here(tensor)?);
            means.push(Tensor::new_on_gpu(self.gpu, tensor.shape(), tensor.dtype())?);
        }
        let end = self.queue(|handle, stream| {
            let all = of.iter().zip(&means).filter(|(tensor, _)| tensor.numel() > 0);
            // Many as one: it takes about as long as one of their size.
            // SAFETY: it takes nothing.
            check(self.library, "ncclGroupStart", unsafe { (self.library.ncclGroupStart)() })?;
            let begun = all.into_iter().try_for_each(|(tensor, mean)| {
                let (from, to, kind) = (tensor.address()?, mean.address()?, kind(tensor.dtype())?);
                // SAFETY: both are dense, of that many numbers, and held until the stream is
                // through with them: see `Means`.
                let code = unsafe {
                    (self.library.ncclAllReduce)(
                        from,
                        to,
                        tensor.numel(),
                        kind,
                        AVG,
                        handle,
                        stream,
                    )
                };
                check(self.library, "ncclAllReduce", code)
            });
            // SAFETY: it takes nothing; there is a group to be ended.
            let ended =
                check(self.library, "ncclGroupEnd", unsafe { (self.library.ncclGroupEnd)() });
            begun.and(ended)
        })?;
        Ok(Means { gpu: self.gpu, of, means, end: Some(end) })
    }

    /// `tensor`, of f32 or f64, of every rank, in their order: `[ranks, …]`.
    pub(crate) fn gather(&self, tensor: &Tensor) -> Result<Tensor> {
        let mine = self.here(&tensor.reshape(&[tensor.numel()])?)?;
        let all = Tensor::new_on_gpu(self.gpu, &[self.size, mine.numel()], mine.dtype())?;
        let shape: Vec<usize> =
            std::iter::once(self.size).chain(tensor.shape().iter().copied()).collect();
        if mine.numel() > 0 {
            let (from, to, kind) = (mine.address()?, all.address()?, kind(mine.dtype())?);
            let end = self.queue(|handle, stream| {
                // SAFETY: the first is dense, the second, too, and as long for each rank; both are
                // held until the next line.
                let code = unsafe {
                    (self.library.ncclAllGather)(from, to, mine.numel(), kind, handle, stream)
                };
                check(self.library, "ncclAllGather", code)
            })?;
            end.hold_back(self.gpu.stream())?;
        }
        all.reshape(&shape)
    }

    /// `tensor` as NCCL can read it.
    fn here(&self, tensor: &Tensor) -> Result<Tensor> {
        match tensor.gpu() {
            Some(gpu) if gpu.index() == self.gpu.index() => tensor.detach().standard(),
            _ => Err(Error::cuda(
                "nccl",
                format!("a tensor is not on cuda:{}, which ranks share", self.gpu.index()),
            )),
        }
    }

    /// Gives `work` to the stream, after what the GPU has been given to compute so far. Returns its
    /// end, for which the GPU is to wait before anything that `work` uses is dropped.
    fn queue(&self, work: impl FnOnce(Handle, super::sys::Stream) -> Result<()>) -> Result<Event> {
        self.gpu.bind()?;
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = self.stream.as_inner().cast();
        Event::at_the_end_of(self.gpu.stream())?.hold_back(stream)?;
        let worked = work(*handle, stream);
        let end = Event::at_the_end_of(stream)?;
        if worked.is_err() {
            // A part of it may be under way.
            end.hold_back(self.gpu.stream())?;
        }
        worked.map(|()| end)
    }
}

/// All ranks have met for the last time before the first of them drops this, or one is gone;
/// nothing is waited for.
impl Drop for Communicator {
    fn drop(&mut self) {
        let handle = *self.handle.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the handle is ours and not used again.
        let _ = self.gpu.bind().map(|()| unsafe { (self.library.ncclCommAbort)(handle) });
    }
}

/// Means over the ranks on their way.
pub(crate) struct Means {
    gpu: &'static Gpu,
    /// What is read, and what is written.
    of: Vec<Tensor>,
    means: Vec<Tensor>,
    /// The end, until it has been waited for.
    end: Option<Event>,
}

impl Means {
    /// The means, in the order of the tensors. What the GPU is given from now on finds them there.
    pub(crate) fn finish(mut self) -> Result<Vec<Tensor>> {
        self.join()?;
        Ok(std::mem::take(&mut self.means))
    }

    fn join(&mut self) -> Result<()> {
        let Some(end) = &self.end else { return Ok(()) };
        self.gpu.bind()?;
        end.hold_back(self.gpu.stream())?;
        self.end = None;
        Ok(())
    }
}

impl Drop for Means {
    fn drop(&mut self) {
        if self.join().is_err() {
            // Without a wait nobody else may have the memory.
            std::mem::take(&mut self.of)
                .into_iter()
                .chain(std::mem::take(&mut self.means))
                .for_each(std::mem::forget);
        }
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
fn library() -> Result<&'static Library> {
    static OPENED: OnceLock<Result<&'static Library>> = OnceLock::new();
    OPENED
        .get_or_init(|| {
            open(std::env::var_os(VARIABLE)).map(|library| &*Box::leak(Box::new(library)))
        })
        .clone()
}

/// Opens the library that `setting`, of the environment, names, or the usual one; or says what to
/// do.
fn open(setting: Option<OsString>) -> Result<Library> {
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
    let library =
        Library::open(named.as_deref().unwrap_or(OsStr::new("libnccl.so.2"))).map_err(missing)?;
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

fn check(library: &Library, call: &str, code: c_int) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::cuda("nccl", format!("{call}: {}", library.describe(code)))),
    }
}

#[cfg(test)]
mod tests;
