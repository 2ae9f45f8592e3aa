//! The memory of a GPU: blocks come from a pool and go back to it, and bytes are copied from and to
//! main memory.
//!
//! Asking the driver for memory takes it a long time, and giving it back makes it wait for the GPU.
//! So a dropped block is kept, by size class, for the next request; the order of the stream ensures
//! that the last use is over before the next begins.
//!
//! Main memory is reached through pinned buffers, which the GPU reads and writes while the CPU
//! works on. An upload runs on the stream for copies, beside the kernels. Its block must not be one
//! that a queued kernel still uses: uploads have blocks of their own, and each waits for the event
//! that was recorded when its block was dropped.
//!
//! In debug builds every block has exactly the size asked for, is new, and starts full of NaN: a
//! kernel that forgets an element or reaches past its memory is found by its tests (with the
//! emulator, whose memory is checked).

use super::event::StreamEvent;
use super::{Gpu, driver};
use crate::memory::Stats;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether blocks are exact, new and full of NaN.
const CHECKED: bool = cfg!(debug_assertions);

/// Blocks begin at multiples of this and are as long: kernels move 16 bytes at once.
const UNIT: usize = 16;

/// A run of device memory, shared by its clones, that returns to its pool with the last of them.
#[derive(Clone)]
pub(crate) struct Block(Arc<Allocation>);

struct Allocation {
    gpu: &'static Gpu,
    address: u64,
    /// The size it was made with.
    class: usize,
    pool: Arc<Pool>,
    /// Whether it is a block for uploads.
    upload: bool,
}

impl Block {
    pub(crate) fn gpu(&self) -> &'static Gpu {
        self.0.gpu
    }

    pub(crate) fn address(&self) -> u64 {
        self.0.address
    }

    /// Whether both are the same memory.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether this has no clone.
    pub(crate) fn is_exclusive(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The pool that it goes back to.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.gpu.memory.live.fetch_sub(self.class, Relaxed);
        // An upload would come in beside the kernels that use this block now: it must wait for
        // them. Without the event it could not, so then the block is not used again.
        let event = match self.upload {
            false => None,
            true => match self.gpu.event() {
                Ok(event) => Some(event),
                Err(_) => return,
            },
        };
        if CHECKED && !self.pool.of_recording {
            // SAFETY: the block was allocated in `new_block` and is no longer used; the driver
            // waits for queued work.
            let _ = self.gpu.bind().map(|()| unsafe { driver::cuMemFree_v2(self.address) });
            return;
        }
        let free = Free { address: self.address, event };
        self.pool.lock(self.upload).entry(self.class).or_default().push(free);
        self.gpu.memory.cached.fetch_add(self.class, Relaxed);
    }
}

/// A free block.
struct Free {
    address: u64,
    /// The end of its last use, for uploads, which run on another stream.
    event: Option<StreamEvent>,
}

/// Free blocks by size class: those of kernels and those of uploads.
#[derive(Default)]
pub(super) struct Pool {
    kernels: Mutex<BTreeMap<usize, Vec<Free>>>,
    uploads: Mutex<BTreeMap<usize, Vec<Free>>>,
    /// Whether this is the memory of a recording, which is written at the same addresses each time
    /// it is played.
    of_recording: bool,
}

impl Pool {
    /// A pool for blocks that are allocated while recording.
    pub(super) fn of_recording() -> Self {
        let mut pool = Self::default();
        pool.of_recording = true;
        pool
    }

    fn lock(&self, upload: bool) -> MutexGuard<'_, BTreeMap<usize, Vec<Free>>> {
        let kept = if upload { &self.uploads } else { &self.kernels };
        kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for kept in [&mut self.kernels, &mut self.uploads] {
            let kept = std::mem::take(kept.get_mut().unwrap_or_else(PoisonError::into_inner));
            for free in kept.into_values().flatten() {
                // SAFETY: nothing holds a free block; the driver waits for queued work.
                unsafe { driver::cuMemFree_v2(free.address) };
            }
        }
    }
}

/// Pinned main memory.
struct Pinned {
    pointer: *mut c_void,
    bytes: usize,
}

// SAFETY: plain memory, used by the holder of this value.
unsafe impl Send for Pinned {}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: it came from `cuMemAllocHost_v2`, and its owner drops it only after all copies.
        unsafe { driver::cuMemFreeHost(self.pointer) };
    }
}

/// A GPU's pools and counters.
#[derive(Default)]
pub(super) struct Memory {
    pool: Arc<Pool>,
    /// Pinned buffers that no copy uses.
    pinned: Mutex<Vec<Pinned>>,
    /// Pinned buffers that are read until the event.
    in_flight: Mutex<Vec<(Pinned, StreamEvent)>>,
    /// Tables that kernels read, by their contents.
    constants: Mutex<HashMap<Box<[u8]>, Block>>,
    live: AtomicUsize,
    peak: AtomicUsize,
    cached: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes are rounded up to a sixteenth of a power of two, as those of the CPU's pool.
fn size_class(bytes: usize) -> usize {
    let units = bytes.div_ceil(UNIT).max(1);
    if CHECKED {
        return units * UNIT;
    }
    let units = units.next_multiple_of(512 / UNIT);
    units.next_multiple_of((units.next_power_of_two() / 32).max(1)) * UNIT
}

impl Gpu {
    /// The counters now.
    pub(crate) fn stats(&self) -> Stats {
        let memory = &self.memory;
        Stats {
            live: memory.live.load(Relaxed),
            peak: memory.peak.load(Relaxed),
            cached: memory.cached.load(Relaxed),
            hits: memory.hits.load(Relaxed),
            misses: memory.misses.load(Relaxed),
        }
    }

    /// Resets the peak to the bytes that are in use now.
    pub(crate) fn reset_peak(&self) {
        self.memory.peak.store(self.memory.live.load(Relaxed), Relaxed);
    }

    /// Gives every free block back to the driver.
    pub(crate) fn trim(&self) -> Result<()> {
        self.synchronize()?;
        let pool = &self.memory.pool;
        for upload in [false, true] {
            for (class, kept) in std::mem::take(&mut *pool.lock(upload)) {
                for free in kept {
                    self.memory.cached.fetch_sub(class, Relaxed);
                    // SAFETY: nothing holds a free block, and nothing that was queued uses it any
                    // more.
                    driver::check("cuMemFree", unsafe { driver::cuMemFree_v2(free.address) })?;
                }
            }
        }
        Ok(())
    }

    /// A block of `bytes` bytes, for kernels. Its contents are unspecified.
    pub(crate) fn allocate(&'static self, bytes: usize) -> Result<Block> {
        let (block, _) = self.block(bytes, false)?;
        if CHECKED {
            self.fill(&block, block.0.class, 0xFF)?;
        }
        Ok(block)
    }

    /// A block, and the event that its last use ends with if it is one for uploads.
    fn block(&'static self, bytes: usize, upload: bool) -> Result<(Block, Option<StreamEvent>)> {
        let memory = &self.memory;
        let pool = self.recorder.pool().unwrap_or_else(|| memory.pool.clone());
        if upload && pool.of_recording {
            return Err(Error::cuda("graph", "a recorded computation cannot read main memory"));
        }
        let class = size_class(bytes);
        let kept = {
            let mut kept = pool.lock(upload);
            let found = kept.range_mut(class..=2 * class).find(|(_, kept)| !kept.is_empty());
            found.and_then(|(&class, kept)| Some((class, kept.pop()?)))
        };
        let (class, Free { address, event }) = match kept {
            Some((class, free)) => {
                memory.cached.fetch_sub(class, Relaxed);
                memory.hits.fetch_add(1, Relaxed);
                (class, free)
            }
            None => (class, Free { address: self.new_block(class)?, event: None }),
        };
        let live = memory.live.fetch_add(class, Relaxed) + class;
        memory.peak.fetch_max(live, Relaxed);
        Ok((Block(Arc::new(Allocation { gpu: self, address, class, pool, upload })), event))
    }

    fn new_block(&self, class: usize) -> Result<u64> {
        self.memory.misses.fetch_add(1, Relaxed);
        self.bind()?;
        let mut address = 0;
        // SAFETY: the driver writes the address of the new memory.
        let mut allocate = || unsafe { driver::cuMemAlloc_v2(&mut address, class) };
        let mut code = allocate();
        // A recording gave the free blocks back before it began, and to wait would end it.
        if code == driver::OUT_OF_MEMORY && self.recorder.pool().is_none() {
            self.trim()?;
            code = allocate();
        }
        if code == driver::OUT_OF_MEMORY {
            let mib = |bytes: usize| bytes as f64 / 1048576.0;
            let (mut free, mut total) = (0, 0);
            // SAFETY: the driver writes two numbers.
            driver::check("cuMemGetInfo", unsafe {
                driver::cuMemGetInfo_v2(&mut free, &mut total)
            })?;
            let message = format!(
                "{:.0} MiB more were requested, with {:.0} in use by this program \
                 and {:.0} of {:.0} free",
                mib(class),
                mib(self.memory.live.load(Relaxed)),
                mib(free),
                mib(total)
            );
            return Err(Error::DeviceMemory { message });
        }
        driver::check("cuMemAlloc", code)?;
        Ok(address)
    }

    /// Sets the first bytes of `block` to `value`.
    pub(crate) fn fill(&self, block: &Block, bytes: usize, value: u8) -> Result<()> {
        assert!(
            bytes <= block.0.class,
            "a block of {} bytes is filled with {bytes}",
            block.0.class
        );
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the range is inside the block, which was just checked and is alive while the
        // stream's order protects it.
        let code = unsafe { driver::cuMemsetD8Async(block.address(), value, bytes, self.stream()) };
        driver::check("cuMemsetD8Async", code)
    }

    /// A block with these bytes, which are read before this returns; kernels queued from now on
    /// find them there.
    pub(crate) fn upload(&'static self, bytes: &[u8]) -> Result<Block> {
        let (block, free_after) = self.block(bytes.len(), true)?;
        if bytes.is_empty() {
            return Ok(block);
        }
        self.bind()?;
        let copies = self.copies.raw();
        if let Some(event) = free_after {
            event.hold_back(copies)?;
        }
        let pinned = self.pinned(bytes.len())?;
        // SAFETY: the buffer is at least as long, is nobody else's, and no copy reads it: `pinned`
        // took it from those that are free.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), pinned.pointer.cast::<u8>(), bytes.len())
        };
        // SAFETY: both ranges are as long as said; the pinned one is kept until the event below.
        let code = unsafe {
            driver::cuMemcpyHtoDAsync_v2(block.address(), pinned.pointer, bytes.len(), copies)
        };
        driver::check("cuMemcpyHtoDAsync", code)?;
        let done = StreamEvent::at_the_end_of(copies)?;
        let held_back = done.hold_back(self.stream());
        lock(&self.memory.in_flight).push((pinned, done));
        held_back.map(|()| block)
    }

    /// The bytes at `address`, once everything that is queued now is done.
    pub(crate) fn download(&self, block: &Block, start: usize, bytes: usize) -> Result<Vec<u8>> {
        if bytes == 0 {
            return Ok(Vec::new()); // a view without elements may start anywhere
        }
        assert!(
            start + bytes <= block.0.class,
            "{bytes} bytes are read from {start} on, of {}",
            block.0.class
        );
        self.bind()?;
        let pinned = self.pinned(bytes)?;
        // SAFETY: the range is inside the block, the buffer is at least as long, and it is not
        // touched until the stream is done.
        let code = unsafe {
            driver::cuMemcpyDtoHAsync_v2(
                pinned.pointer,
                block.address() + start as u64,
                bytes,
                self.stream(),
            )
        };
        driver::check("cuMemcpyDtoHAsync", code)?;
        self.synchronize()?;
        // SAFETY: the copy is done, and filled this many bytes.
        let result =
            unsafe { std::slice::from_raw_parts(pinned.pointer.cast::<u8>(), bytes) }.to_vec();
        lock(&self.memory.pinned).push(pinned);
        Ok(result)
    }

    /// The address of these bytes on the GPU: a table that kernels read. It is copied there at its
    /// first use, and stays.
    pub(crate) fn constant(&'static self, bytes: &[u8]) -> Result<u64> {
        Ok(self.constant_block(bytes)?.address())
    }

    /// The same, as the block that holds them.
    pub(crate) fn constant_block(&'static self, bytes: &[u8]) -> Result<Block> {
        if let Some(block) = lock(&self.memory.constants).get(bytes) {
            return Ok(block.clone());
        }
        let block = self.upload(bytes)?;
        lock(&self.memory.constants).insert(bytes.into(), block.clone());
        Ok(block)
    }

    /// Copies the first bytes of one block to another, in the stream's order.
    pub(crate) fn copy_block(&self, to: &Block, from: &Block, bytes: usize) -> Result<()> {
        assert!(
            bytes <= from.0.class.min(to.0.class),
            "{bytes} bytes are copied from {} to {}",
            from.0.class,
            to.0.class
        );
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: both ranges are inside their blocks, which was just checked.
        let code = unsafe {
            driver::cuMemcpyDtoDAsync_v2(to.address(), from.address(), bytes, self.stream())
        };
        driver::check("cuMemcpyDtoDAsync", code)
    }

    /// A pinned buffer of at least `bytes` bytes that no copy uses.
    fn pinned(&self, bytes: usize) -> Result<Pinned> {
        let mut free = lock(&self.memory.pinned);
        let over = lock(&self.memory.in_flight)
            .extract_if(.., |(_, event)| event.is_over())
            .collect::<Vec<_>>();
        free.extend(over.into_iter().map(|(pinned, _)| pinned));
        if let Some(index) = free
            .iter()
            .position(|pinned| pinned.bytes >= bytes && pinned.bytes / 4 <= bytes.max(1 << 16))
        {
            return Ok(free.swap_remove(index));
        }
        let bytes = bytes.next_power_of_two().max(1 << 12);
        let mut pointer = std::ptr::null_mut();
        // SAFETY: the driver writes the address of the new memory.
        driver::check("cuMemAllocHost", unsafe { driver::cuMemAllocHost_v2(&mut pointer, bytes) })?;
        Ok(Pinned { pointer, bytes })
    }
}
