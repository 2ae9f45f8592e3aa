//! Memory for tensors: buffers come from a pool and go back to it.
//!
//! A training step allocates the same few hundred megabytes again and again. Asking the system each
//! time costs a page fault per 4 KiB (seconds per step), so a dropped buffer is kept by size class
//! and reused, first for its own class, and for smaller classes before the system is asked.
//! The pool also counts: live and peak bytes are numbers that a program can print. Where memory is
//! short, a [`Bound`] keeps the pool from holding more than the work takes.
//!
//! A reused buffer holds its old contents. The code that takes one writes all of it; in debug
//! builds it is filled with the bit pattern of NaN first, so that a kernel that forgets an element
//! is found by its tests.

use crate::{Element, Error, Result};
use memmap2::MmapMut;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// 64 bytes, aligned to 64: a cache line, and the widest SIMD register.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A run of memory of the CPU, aligned to 64 bytes, that returns to the pool when dropped.
///
/// ```
/// let mut buffer = engine::Buffer::new::<f32>(3)?;
/// buffer.as_mut_slice().copy_from_slice(&[1.0f32, 2.0, 3.0]);
/// assert_eq!(buffer.as_slice::<f32>(), [1.0, 2.0, 3.0]);
/// # Ok::<_, engine::Error>(())
/// ```
pub struct Buffer {
    memory: Block,
    bytes: usize,
}

/// Memory of the system.
enum Block {
    Heap(Vec<Line>),
    /// Pages of their own, which the system has back as soon as they are dropped. An allocator
    /// would keep blocks of up to some tens of megabytes, and in pieces that fit nothing else.
    Pages(MmapMut),
}

/// The bytes that the system must have left beside a new block. Memory is an error of the operation
/// that needs it only here; elsewhere in a program, the smallest string for which there is
/// no memory ends it.
const SPARE: usize = 32 << 20;

/// A block of this many lines or more has pages of its own: from a mebibyte on.
const OWN_PAGES: usize = 1 << 14;

impl Block {
    /// `class` lines.
    fn new(class: usize) -> Option<Self> {
        let block = match class >= OWN_PAGES {
            true => Self::Pages(MmapMut::map_anon(class * 64).ok()?),
            false => Self::Heap(filled(Line([0; 64]), class).ok()?),
        };
        // No page of these is touched, so that they cost two calls of the system.
        MmapMut::map_anon(SPARE).is_ok().then_some(block)
    }

    fn lines(&self) -> &[Line] {
        match self {
            Self::Heap(lines) => lines,
            Self::Pages(bytes) => bytemuck::cast_slice(bytes),
        }
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        match self {
            Self::Heap(lines) => lines,
            Self::Pages(bytes) => bytemuck::cast_slice_mut(bytes),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Heap(lines) => lines.len() * 64,
            Self::Pages(bytes) => bytes.len(),
        }
    }
}

impl Buffer {
    /// Memory for `len` elements of type `T`. Its contents are unspecified: write every element
    /// before reading one.
    ///
    /// # Errors
    /// [`Error::Memory`] if allocation fails.
    pub fn new<T: Element>(len: usize) -> Result<Self> {
        let bytes = len.saturating_mul(size_of::<T>());
        if bytes > isize::MAX as usize {
            return Err(Error::Memory { op: None, bytes });
        }
        let class = size_class(bytes.div_ceil(64));
        let mut memory = match POOL.take(class) {
            Some(memory) => memory,
            None => {
                POOL.make_space(class * 64);
                Block::new(class).ok_or(Error::Memory { op: None, bytes })?
            }
        };
        if cfg!(debug_assertions) {
            memory.lines_mut().fill(Line([0xFF; 64]));
        }
        POOL.count(memory.bytes());
        Ok(Self { memory, bytes })
    }

    /// The elements as `T`, which must be the type the buffer was made for.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        &bytemuck::cast_slice(self.memory.lines())[..self.bytes / size_of::<T>()]
    }

    /// The elements as `T`, to be written.
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(self.memory.lines_mut())[..self.bytes / size_of::<T>()]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        POOL.give(std::mem::replace(&mut self.memory, Block::Heap(Vec::new())));
    }
}

/// Reserves memory for `more` elements of a table.
///
/// # Errors
/// [`Error::Memory`] if allocation fails.
pub(crate) fn reserve<T>(table: &mut Vec<T>, more: usize) -> Result<()> {
    let bytes = more.saturating_mul(size_of::<T>());
    table.try_reserve(more).map_err(|_| Error::Memory { op: None, bytes })
}

/// A table of `len` times `value`.
///
/// # Errors
/// Same errors as [`reserve`].
pub(crate) fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>> {
    let mut table = Vec::new();
    reserve(&mut table, len)?;
    table.resize(len, value);
    Ok(table)
}

/// A free buffer up to this many times as large as the request is reused before the system is
/// asked for more. So a network that works at several scales can use the buffers of the largest
/// scale, which are free at the others.
const WASTE: usize = 2;

/// Sizes are rounded up to a sixteenth of a power of two: at most that is wasted, and near sizes
/// share a class.
fn size_class(lines: usize) -> usize {
    let step = (lines.next_power_of_two() / 32).max(1);
    lines.next_multiple_of(step)
}

/// Counts of the pool's work so far; see [`stats`].
///
/// ```
/// use engine::{DType, Tensor, memory};
/// memory::reset_peak();
/// let x = Tensor::zeros(&[1024], DType::F32)?;
/// assert!(memory::stats().live >= 4096 && memory::stats().peak >= 4096);
/// drop(x);
/// assert!(memory::stats().cached >= 4096); // kept for the next tensor
/// memory::trim(); // given back to the system
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in buffers that are in use now.
    pub live: usize,
    /// The most bytes ever in use at once since the start or the last [`reset_peak`].
    pub peak: usize,
    /// Bytes held for reuse.
    pub cached: usize,
    /// Buffers that were reused.
    pub hits: u64,
    /// Buffers that had to be asked of the system.
    pub misses: u64,
}

/// The pool's counters now. See [`Stats`] for an example.
pub fn stats() -> Stats {
    Stats {
        live: POOL.live.load(Relaxed),
        peak: POOL.peak.load(Relaxed),
        cached: POOL.cached.load(Relaxed),
        hits: POOL.hits.load(Relaxed),
        misses: POOL.misses.load(Relaxed),
    }
}

/// Resets the peak to the bytes that are live now. See [`Stats`] for an example.
pub fn reset_peak() {
    POOL.peak.store(POOL.live.load(Relaxed), Relaxed);
}

/// Returns every free buffer to the system. See [`Stats`] for an example.
pub fn trim() {
    let free = std::mem::take(&mut *POOL.lock());
    POOL.cached.store(0, Relaxed);
    drop(free);
}

/// A bound on what the pool holds, as long as this is alive: rather than exceed it, the pool gives
/// free buffers back to the system before it asks for another. Buffers in use may exceed it. Where
/// several are alive at once, their sum is the bound.
///
/// ```
/// use engine::{DType, Tensor, memory};
/// let _bound = memory::Bound::new(40 << 20);
/// drop(Tensor::zeros(&[8, 1 << 20], DType::F32)?); // 32 MB, kept for the next tensor
/// let _other = Tensor::zeros(&[4, 1 << 20], DType::F32)?; // given back for this one
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Debug)]
pub struct Bound {
    bytes: usize,
}

impl Bound {
    /// A bound of `bytes`, in force from now on.
    pub fn new(bytes: usize) -> Self {
        // Not 0, which stands for no bound; and the sum of many stays below the largest number.
        let bytes = bytes.clamp(1, usize::MAX >> 16);
        POOL.bound.fetch_add(bytes, Relaxed);
        Self { bytes }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        POOL.bound.fetch_sub(self.bytes, Relaxed);
    }
}

struct Pool {
    /// Free blocks by size class (in lines), each with the time it came, in blocks that came
    /// before.
    free: Mutex<BTreeMap<usize, Vec<(u64, Block)>>>,
    live: AtomicUsize,
    peak: AtomicUsize,
    cached: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    /// The blocks that came back so far.
    given: AtomicU64,
    /// The sum of the bounds in force; 0 without one.
    bound: AtomicUsize,
}

static POOL: Pool = Pool {
    free: Mutex::new(BTreeMap::new()),
    live: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
    cached: AtomicUsize::new(0),
    hits: AtomicU64::new(0),
    misses: AtomicU64::new(0),
    given: AtomicU64::new(0),
    bound: AtomicUsize::new(0),
};

impl Pool {
    /// The map is whole between statements, so a panic elsewhere while it was held does no harm.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Vec<(u64, Block)>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most bytes that it may hold, if that is limited.
    fn bound(&self) -> Option<usize> {
        Some(self.bound.load(Relaxed)).filter(|&bytes| bytes > 0)
    }

    /// The smallest free buffer that will do without wasting more than [`WASTE`] or, under a bound,
    /// an eighth.
    fn take(&self, class: usize) -> Option<Block> {
        let widest = if self.bound().is_some() { class + class / 8 } else { WASTE * class };
        let found = self.lock().range_mut(class..=widest).find_map(|(_, free)| free.pop());
        match &found {
            Some((_, block)) => {
                self.cached.fetch_sub(block.bytes(), Relaxed);
                self.hits.fetch_add(1, Relaxed);
            }
            None => {
                self.misses.fetch_add(1, Relaxed);
            }
        }
        found.map(|(_, block)| block)
    }

    /// Gives free blocks back to the system until `bytes` more are within the bound: first those
    /// that have been free for longest, as the next operations need those that were used last.
    fn make_space(&self, bytes: usize) {
        let held = || self.live.load(Relaxed).saturating_add(self.cached.load(Relaxed));
        while self.bound().is_some_and(|bound| held().saturating_add(bytes) > bound) {
            let mut free = self.lock();
            let classes = free.values_mut().filter(|blocks| !blocks.is_empty());
            let Some(blocks) = classes.min_by_key(|blocks| blocks[0].0) else { return };
            let (_, block) = blocks.remove(0);
            self.cached.fetch_sub(block.bytes(), Relaxed);
        }
    }

    fn count(&self, bytes: usize) {
        let live = self.live.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(live, Relaxed);
    }

    fn give(&self, block: Block) {
        let bytes = block.bytes();
        self.live.fetch_sub(bytes, Relaxed);
        self.cached.fetch_add(bytes, Relaxed);
        let time = self.given.fetch_add(1, Relaxed);
        self.lock().entry(bytes / 64).or_default().push((time, block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_as_long_as_asked() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut buffer = Buffer::new::<f32>(len).unwrap();
            assert_eq!(buffer.as_mut_slice::<f32>().len(), len);
            assert_eq!(buffer.as_slice::<f32>().as_ptr().align_offset(64), 0);
        }
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8, 1 << 57] {
            let error = Buffer::new::<f64>(len).err().expect("no machine has so much");
            assert_eq!(error, Error::Memory { op: None, bytes: len.saturating_mul(8) });
            assert!(error.to_string().starts_with("out of memory: "), "{error}");
        }
    }

    #[test]
    fn a_class_wastes_at_most_a_sixteenth() {
        for lines in 1..5000usize {
            let class = size_class(lines);
            assert!(class >= lines && (class - lines) * 16 <= class, "{lines} -> {class}");
        }
    }

    #[test]
    fn a_dropped_buffer_is_used_again() {
        // A size no other test uses, since the pool is shared.
        let len = 7_654_321;
        drop(Buffer::new::<u8>(len).unwrap());
        let before = stats();
        let _again = Buffer::new::<u8>(len).unwrap();
        assert!(stats().hits > before.hits);
        assert!(stats().peak >= len);
    }
}
