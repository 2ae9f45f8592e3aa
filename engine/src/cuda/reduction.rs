//! How reductions are distributed over threads: the host's side of `lanes.cuh`.
//!
//! An output's elements are reduced by a number of threads, its lanes, and cut into pieces where
//! there are too few outputs to keep a GPU busy. Both follow from shapes and strides alone, so the
//! order of additions is the same on every GPU.

use super::launch::THREADS;
use super::{Launch, has_forms};
use crate::loop_nest::LoopNest;
use crate::{DType, Error, Layout, Result};
use kernels::{Folding, Kernel};

/// The same as in `lanes.cuh`.
const RANK: usize = 8;

/// Reads of a thread that are worth a piece.
const READS: u32 = 8;

/// Blocks that keep any GPU busy.
const BLOCKS: u32 = 512;

/// How many of `count` neighboring elements the threads of a block take side by side: a power of
/// two, up to 32, that leaves few threads idle; at least `least`, so that reads are long enough,
/// unless there are fewer.
pub(crate) fn width(count: u32, least: u32) -> u32 {
    let most = count.max(1).next_power_of_two().min(32);
    let widths = std::iter::successors(Some(most), |width| Some(width / 2))
        .take_while(|width| *width >= least.min(most));
    widths.min_by_key(|width| count.next_multiple_of(*width)).unwrap_or(most)
}

/// A loop nest over strided memory, innermost dimension first.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
pub(crate) struct Part {
    pub(crate) count: u32,
    rank: u32,
    sizes: [u32; RANK],
    strides: [u32; RANK],
}

impl Part {
    /// The elements of `layout` in the memory order of `order`, which has its shape. The offset is
    /// the caller's to add.
    pub(crate) fn new(op: &'static str, order: &Layout, layout: &Layout) -> Result<Self> {
        let rows = LoopNest::new(order, [layout]);
        let (sizes, strides) = (rows.sizes(), rows.strides());
        let last: usize = sizes
            .iter()
            .zip(strides)
            .map(|(&size, &[stride])| size.saturating_sub(1) * stride)
            .sum();
        let count: usize = sizes.iter().product();
        if sizes.len() > RANK || count > i32::MAX as usize || last > u32::MAX as usize {
            let message = format!(
                "shape {:?} with strides {:?} is too large for a GPU kernel",
                layout.shape(),
                layout.strides()
            );
            return Err(Error::cuda(op, message));
        }
        let mut part = Self {
            count: count as u32,
            rank: sizes.len() as u32,
            sizes: [1; RANK],
            strides: [0; RANK],
        };
        for (d, (&size, &[stride])) in sizes.iter().zip(strides).rev().enumerate() {
            (part.sizes[d], part.strides[d]) = (size as u32, stride as u32);
        }
        Ok(part)
    }

    /// `count` elements, `stride` apart.
    pub(crate) fn line(count: u32, stride: u32) -> Self {
        let (mut sizes, mut strides) = ([1; RANK], [0; RANK]);
        (sizes[0], strides[0]) = (count, stride);
        Self { count, rank: 1, sizes, strides }
    }

    /// The distance of neighbors in memory; the largest number for repeated elements, whose order
    /// does not matter.
    fn step(&self) -> u32 {
        if self.strides[0] == 0 { u32::MAX } else { self.strides[0] }
    }

    /// This part in packs of neighboring elements, if it begins and ends with whole packs.
    fn packed(&self, pack: u32) -> Option<Self> {
        if self.strides[0] != 1 || !self.sizes[0].is_multiple_of(pack) || !self.is_aligned(1, pack)
        {
            return None;
        }
        let mut packed = *self;
        (packed.count, packed.sizes[0], packed.strides[0]) =
            (self.count / pack, self.sizes[0] / pack, pack);
        Some(packed)
    }

    /// Whether steps along the dimensions from `first` on lead from pack to pack.
    fn is_aligned(&self, first: usize, pack: u32) -> bool {
        let rank = self.rank as usize;
        (first..rank).all(|d| self.sizes[d] == 1 || self.strides[d].is_multiple_of(pack))
    }
}

/// The kernels' parameter: the dimensions that are kept and those that are reduced.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
pub(crate) struct Reduction {
    pub(crate) kept: Part,
    pub(crate) reduced: Part,
    lanes: u32,
    rows: u32,
    piece: u32,
}

/// How a reduction is launched: the kernels' parameter, which form of the kernel, and over how many
/// pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReductionLaunch {
    pub(crate) reduction: Reduction,
    form: Form,
    /// Pieces that the reduced elements of an output are cut into.
    pub(crate) pieces: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Element by element.
    Single,
    /// Packs of reduced elements.
    Rows,
    /// Packs of outputs.
    Columns,
}

impl ReductionLaunch {
    /// For elements of `dtype`, or packs of them if `addresses` allow it. An output is one piece
    /// unless `cut`.
    pub(crate) fn new(
        kept: Part,
        reduced: Part,
        dtype: DType,
        addresses: &[u64],
        cut: bool,
    ) -> Self {
        let pack = (16 / dtype.size()) as u32;
        let by_rows = kept.count == 1 || reduced.count > 1 && reduced.step() < kept.step();
        let (inner, outer) = if by_rows { (reduced, kept) } else { (kept, reduced) };
        let aligned = has_forms(dtype)
            && addresses.iter().all(|address| address.is_multiple_of(16))
            && outer.is_aligned(0, pack);
        let (inner, form) = match inner.packed(pack).filter(|_| aligned) {
            Some(packed) if by_rows => (packed, Form::Rows),
            Some(packed) => (packed, Form::Columns),
            None => (inner, Form::Single),
        };
        let (kept, reduced) = if by_rows { (outer, inner) } else { (inner, outer) };
        let beside = width(kept.count, if form == Form::Columns { 4 } else { 16 });
        Self::distribute(kept, reduced, by_rows, form, beside, cut)
    }

    /// For elements one by one, never packs.
    pub(crate) fn single(kept: Part, reduced: Part, cut: bool) -> Self {
        let by_rows = kept.count == 1 || reduced.count > 1 && reduced.step() < kept.step();
        Self::distribute(kept, reduced, by_rows, Form::Single, width(kept.count, 16), cut)
    }

    /// For the partial results of `count` outputs, which lie piece after piece.
    pub(crate) fn of_pieces(count: u32, pieces: u32) -> Self {
        Self::distribute(
            Part::line(count, 1),
            Part::line(pieces, count),
            false,
            Form::Single,
            8,
            false,
        )
    }

    fn distribute(
        kept: Part,
        reduced: Part,
        by_rows: bool,
        form: Form,
        beside: u32,
        cut: bool,
    ) -> Self {
        let most = reduced.count.max(1).next_power_of_two().min(THREADS);
        let lanes = match by_rows {
            // A few reads to a lane, but whole warps.
            true => (reduced.count / 4).max(1).next_power_of_two().clamp(most.min(32), most),
            false => most.min(THREADS / beside),
        };
        let blocks = kept.count.div_ceil(THREADS / lanes).max(1);
        let worth = reduced.count.div_ceil(lanes * READS).max(1);
        let pieces = if cut { worth.min((BLOCKS / blocks).max(1)) } else { 1 };
        let piece = reduced.count.div_ceil(pieces).next_multiple_of(lanes).max(1);
        let pieces = reduced.count.div_ceil(piece).max(1);
        Self {
            reduction: Reduction { kept, reduced, lanes, rows: by_rows.into(), piece },
            form,
            pieces,
        }
    }

    /// The launch of the form of `kernel` that it takes.
    pub(crate) fn launch(&self, kernel: Folding, dtype: DType) -> Launch {
        self.launch_single(
            match self.form {
                Form::Single => kernel.single,
                Form::Rows => kernel.rows,
                Form::Columns => kernel.columns,
            },
            dtype,
        )
    }

    /// The launch of a kernel without forms.
    pub(crate) fn launch_single(&self, kernel: Kernel, dtype: DType) -> Launch {
        let Reduction { kept, lanes, .. } = self.reduction;
        let blocks = kept.count.div_ceil(THREADS / lanes) as usize;
        Launch::blocks(kernel, dtype, [blocks, self.pieces as usize, 1])
    }

    /// The name of the form, for tests.
    #[cfg(test)]
    pub(crate) fn form(&self) -> &'static str {
        match self.form {
            Form::Single => "single",
            Form::Rows => "rows",
            Form::Columns => "columns",
        }
    }
}
