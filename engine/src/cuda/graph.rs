//! CUDA graphs: the launches of a computation, recorded once and then queued as a whole each time.
//!
//! A step of training is a thousand launches of a few microseconds each, and to queue one takes the
//! CPU about as long. Played from a recording they cost it one call.
//!
//! A recording repeats addresses. So the memory that its kernels use must stay where it is: blocks
//! allocated while recording come from a pool that belongs to the recording, and every other block
//! that a kernel is pointed to is held by it.

use super::Gpu;
use super::driver::{self, OwnedStream};
use super::memory::{Block, Pool};
use crate::{Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// The captures in progress on a GPU, by thread. Other threads work on.
#[derive(Default)]
pub(super) struct Recorder {
    captures: Mutex<HashMap<ThreadId, Capture>>,
    /// The number of captures: mostly 0, which is then known without the lock.
    count: AtomicUsize,
}

/// A recording in progress.
struct Capture {
    /// The stream of this thread's work, which is recorded and not run.
    stream: OwnedStream,
    /// The pool that this thread's memory comes from.
    pool: Arc<Pool>,
    /// Other memory that its kernels are pointed to.
    held: Vec<Block>,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, HashMap<ThreadId, Capture>> {
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `f` to the calling thread's recording, if there is one.
    fn here<R>(&self, f: impl FnOnce(&mut Capture) -> R) -> Option<R> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        self.lock().get_mut(&thread::current().id()).map(f)
    }

    /// The stream to queue work on, if not the usual one.
    pub(super) fn stream(&self) -> Option<driver::Stream> {
        self.here(|recording| recording.stream.raw())
    }

    /// The pool to allocate from, if not the usual one.
    pub(super) fn pool(&self) -> Option<Arc<Pool>> {
        self.here(|recording| recording.pool.clone())
    }

    /// Notes that a kernel is pointed to this memory.
    pub(super) fn note(&self, block: &Block) {
        self.here(|recording| {
            let known = recording.held.iter().any(|held| held.is(block));
            if !Arc::ptr_eq(block.pool(), &recording.pool) && !known {
                recording.held.push(block.clone());
            }
        });
    }

    fn begin(&self) -> Result<driver::Stream> {
        let stream = OwnedStream::new().map_err(|why| Error::cuda("cuStreamCreate", why))?;
        let raw = stream.raw();
        let recording = Capture { stream, pool: Arc::new(Pool::of_recording()), held: Vec::new() };
        match self.lock().entry(thread::current().id()) {
            Entry::Occupied(_) => {
                return Err(Error::cuda("graph", "a recording was begun inside another"));
            }
            Entry::Vacant(entry) => entry.insert(recording),
        };
        self.count.fetch_add(1, Relaxed);
        Ok(raw)
    }

    fn end(&self) -> Option<Capture> {
        let recording = self.lock().remove(&thread::current().id());
        self.count.fetch_sub(usize::from(recording.is_some()), Relaxed);
        recording
    }
}

/// A recorded computation.
pub(crate) struct CapturedGraph {
    gpu: &'static Gpu,
    executable: driver::Executable,
    /// Memory that the kernels use.
    _capture: Capture,
}

// SAFETY: the driver's handle may be used from any thread in which the context is current; the rest
// is behind locks.
unsafe impl Send for CapturedGraph {}

impl CapturedGraph {
    /// Records what `f` queues, without running it, and returns its result. It must have run
    /// before, so that kernels are loaded and tables are in place, and must not read a value.
    pub(crate) fn record<R, E: From<Error>>(
        gpu: &'static Gpu,
        f: impl FnOnce() -> Result<R, E>,
    ) -> Result<(Self, R), E> {
        /// Memory may be allocated meanwhile: only calls on this stream are recorded.
        const RELAXED: i32 = 2;
        gpu.bind()?;
        // The recording allocates all its memory itself, so the free blocks of the run before it
        // would be held for nothing.
        gpu.trim()?;
        let stream = gpu.recorder.begin()?;
        // SAFETY: the stream lives as long as the recording.
        let begun = driver::check("cuStreamBeginCapture", unsafe {
            driver::cuStreamBeginCapture_v2(stream, RELAXED)
        });
        let result = begun.map_err(E::from).and_then(|()| f());
        let mut graph = std::ptr::null_mut();
        // Recording ends whatever happened in it.
        // SAFETY: the stream is alive; the driver writes the graph's handle.
        let ended = driver::check("cuStreamEndCapture", unsafe {
            driver::cuStreamEndCapture(stream, &mut graph)
        });
        let recording = gpu.recorder.end();
        let mut executable = std::ptr::null_mut();
        let made = result.and_then(|result| {
            ended?;
            // SAFETY: recording ended well, so there is a graph; the driver writes the handle of
            // the executable graph.
            let made = unsafe { driver::cuGraphInstantiateWithFlags(&mut executable, graph, 0) };
            driver::check("cuGraphInstantiate", made)?;
            Ok(result)
        });
        if !graph.is_null() {
            // SAFETY: the graph is ours and not used again.
            unsafe { driver::cuGraphDestroy(graph) };
        }
        let result = made?;
        let _capture = recording.ok_or_else(|| Error::cuda("graph", "the recording was lost"))?;
        Ok((Self { gpu, executable, _capture }, result))
    }

    /// Queues the recorded computation.
    pub(crate) fn launch(&self) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the handle is alive, and so is all memory that the kernels use.
        driver::check("cuGraphLaunch", unsafe {
            driver::cuGraphLaunch(self.executable, self.gpu.stream())
        })
    }
}

impl Drop for CapturedGraph {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again; the driver lets a run that is under way
        // finish. The memory goes back to the driver after that, as freeing it waits.
        unsafe { driver::cuGraphExecDestroy(self.executable) };
    }
}
