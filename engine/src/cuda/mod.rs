//! NVIDIA GPUs: the base of the CUDA side of operations.
//!
//! Reading order: `launch.rs` starts a kernel, `memory.rs` keeps the device's memory and moves
//! bytes, `pointwise.rs` shows both at work, and every operation has a `cuda.rs` beside its CPU
//! kernel. `graph.rs` records launches once to play them again.
//!
//! Work goes to one stream, in order, and nothing waits for it until a value is read; a
//! second stream copies from and to main memory meanwhile. That order is what makes it safe to drop
//! a tensor whose kernels have not run yet: its memory can only be given to work that comes later.
//!
//! The driver is found when the program runs, and cuDNN (`cudnn/`) and NCCL (`nccl/`), too. Without
//! one of them the caller gets an error that names the package to install. `driver/` is the
//! boundary to all three, and all that a build without the feature `cuda` replaces.
#![allow(unsafe_code)]

pub(crate) mod driver;
mod event;
mod graph;
mod launch;
mod memory;
pub(crate) mod nccl;
mod pointwise;
mod reduction;
mod region;

pub(crate) use graph::CapturedGraph;
pub(crate) use launch::{Argument, Launch, THREADS};
pub(crate) use memory::Block;
pub(crate) use pointwise::{copy, pointwise};
pub(crate) use reduction::{Part, ReductionLaunch, width};
pub(crate) use region::copy_region;

use crate::{Error, Layout, Result};
use driver::{OwnedStream, PrimaryContext, Probe};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The most GPUs of one machine that can be used; no machine has more.
pub(crate) const MOST: usize = 64;

/// A GPU with its context, streams, memory and kernels. One is made for each device that is used,
/// and kept to the program's end.
pub(crate) struct Gpu {
    index: usize,
    context: PrimaryContext,
    /// The stream that all work is queued on.
    compute: OwnedStream,
    /// The stream that copies from and to main memory.
    copies: OwnedStream,
    memory: memory::Memory,
    kernels: launch::Kernels,
    recorder: graph::Recorder,
}

// SAFETY: the driver's handles may be used from any thread as long as the context is current there,
// which `bind` ensures; our own state is behind locks.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// GPU number `index`, started at the first call; its context is made current in this thread.
    pub(crate) fn get(index: usize) -> Result<&'static Self> {
        static GPUS: [OnceLock<&'static Gpu>; MOST] = [const { OnceLock::new() }; MOST];
        static STARTING: Mutex<()> = Mutex::new(());
        driver::built_in()?;
        let slot = GPUS
            .get(index)
            .ok_or_else(|| Error::cuda("device", format!("there is no GPU number {index}")))?;
        if slot.get().is_none() {
            let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.get().is_none() {
                let _ = slot.set(Box::leak(Box::new(Self::start(index)?)));
            }
        }
        let gpu = slot.get().copied().expect("it was started above");
        gpu.bind()?;
        Ok(gpu)
    }

    fn start(index: usize) -> Result<Self> {
        let start =
            |error: String| Error::cuda("device", format!("cuda:{index} cannot be used: {error}"));
        let count = driver::devices().map_err(start)?;
        if index >= count {
            return Err(start(format!(
                "this machine has {count} GPU{}",
                if count == 1 { "" } else { "s" }
            )));
        }
        let probe = driver::probe(index).map_err(start)?;
        if let Some(why) = unusable(&probe) {
            return Err(start(why));
        }
        let context = PrimaryContext::new(index).map_err(start)?;
        let compute = OwnedStream::new().map_err(start)?;
        let copies = OwnedStream::new().map_err(start)?;
        Ok(Self {
            index,
            context,
            compute,
            copies,
            memory: memory::Memory::default(),
            kernels: launch::Kernels::default(),
            recorder: graph::Recorder::default(),
        })
    }

    /// Makes this GPU's context current in the calling thread.
    pub(crate) fn bind(&self) -> Result<()> {
        self.context.bind()
    }

    /// Which one of the machine's GPUs this is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The stream that work is queued on, as the driver's handle; that of the recording which this
    /// thread makes, if it makes one.
    pub(crate) fn stream(&self) -> driver::Stream {
        self.recorder.stream().unwrap_or_else(|| self.compute.raw())
    }

    /// Notes that a kernel is about to be pointed to this memory: a recording must keep it.
    pub(crate) fn note_use(&self, block: &Block) {
        self.recorder.note(block);
    }

    /// Waits until everything that was queued is done, and reports what went wrong meanwhile.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as this GPU.
        driver::check("cuStreamSynchronize", unsafe { driver::cuStreamSynchronize(self.stream()) })
    }
}

/// Why a GPU is not supported, if it is not.
pub(crate) fn unusable(probe: &Probe) -> Option<String> {
    let (major, minor) = probe.capability;
    (major < 7).then(|| {
        format!("{} has compute capability {major}.{minor}, and 7.0 (Volta) is needed", probe.name)
    })
}

/// The driver's description of each GPU of this machine, or why there is none; an error if there is
/// no driver, or an old one.
pub(crate) fn probe_all() -> Result<Vec<Result<Probe, String>>> {
    driver::built_in()?;
    let count = driver::devices().map_err(|error| Error::cuda("device", error))?;
    Ok((0..count.min(MOST)).map(driver::probe).collect())
}

/// A tensor as kernels see it.
#[derive(Clone, Copy)]
pub(crate) struct DeviceView<'a> {
    /// The address of the first element, the layout's offset included.
    pub(crate) address: u64,
    pub(crate) layout: &'a Layout,
    pub(crate) dtype: crate::DType,
}

/// The number of elements of a tensor of `shape` as kernels count them.
pub(crate) fn count(op: &'static str, shape: &[usize]) -> Result<u32> {
    u32::try_from(shape.iter().product::<usize>())
        .map_err(|_| Error::cuda(op, format!("shape {shape:?} is too large for a GPU kernel")))
}

/// The type that kernels compute in for elements of `dtype`.
pub(crate) fn computed_in(dtype: crate::DType) -> crate::DType {
    if dtype == crate::DType::F64 { crate::DType::F64 } else { crate::DType::F32 }
}

/// Whether kernels for elements of `dtype` have forms for speed alone, as `FORMS` in `common.cuh`.
pub(crate) fn has_forms(dtype: crate::DType) -> bool {
    dtype != crate::DType::F64
}

#[cfg(test)]
pub(crate) mod tests;
