//! The part of the input that a thread works on, with a border of zeros.

use super::Stencil;
use crate::cpu::convolution::{Map, Read, copy};
use crate::{Buffer, Float, Result};

/// About how many bytes of input a strip holds: half of a usual L2 cache.
const STRIP_BYTES: usize = 512 * 1024;

/// Rows of the grid of output pixels that a strip serves.
pub(super) fn band_rows<T>(stencil: &Stencil, x: Map<'_, T>, grid: (usize, usize)) -> usize {
    let ((_, left), (_, right)) = stencil.reach();
    let width = grid.1.saturating_sub(1) * stencil.in_step + (right - left) as usize + 1;
    let row_bytes = [x.c, size_of::<T>(), stencil.in_step]
        .iter()
        .fold(width, |bytes, &factor| bytes.saturating_mul(factor))
        .max(1);
    // Bands of at least four rows, so that the rows two neighboring strips share stay few.
    (STRIP_BYTES / row_bytes).clamp(4, 64).min(grid.0.max(1))
}

/// The rows of the input that a band of output pixels reads, with zeros around the image.
pub(super) struct Strip<'a, T: Float> {
    memory: Memory<'a, T>,
    /// Elements from one row to the next.
    row: usize,
    /// Channels of a pixel.
    pub(super) c: usize,
    /// The input row and column at the strip's start.
    top: isize,
    left: isize,
    /// Grid rows of the band.
    pub(super) rows: (usize, usize),
}

enum Memory<'a, T> {
    /// The image itself: nothing that the band reads lies outside.
    Image(&'a [T]),
    Copy(Buffer),
}

impl<'a, T: Float> Strip<'a, T> {
    /// The part of image `n` that the grid's `rows` and all its `columns` read, with `read`
    /// applied. Out of memory is an error here, as a large padding makes a large strip.
    pub(super) fn new(
        stencil: &Stencil,
        x: Map<'a, T>,
        n: usize,
        rows: (usize, usize),
        columns: usize,
        read: Option<Read<T>>,
    ) -> Result<Self> {
        let ((up, left), (down, right)) = stencil.reach();
        let top = (rows.0 * stencil.in_step) as isize + up;
        let bottom = (rows.1.max(1) - 1) as isize * stencil.in_step as isize + down;
        let last = columns.saturating_sub(1) as isize * stencil.in_step as isize + right;
        let image = &x.data[n * x.h * x.w * x.c..][..x.h * x.w * x.c];
        if read.is_none() && top >= 0 && left >= 0 && bottom < x.h as isize && last < x.w as isize {
            let row = x.w * x.c;
            return Ok(Self { memory: Memory::Image(image), row, c: x.c, top: 0, left: 0, rows });
        }
        let (height, width) = ((bottom - top + 1) as usize, (last - left + 1) as usize);
        let row = width.saturating_mul(x.c);
        let mut memory = Buffer::new::<T>(height.saturating_mul(row))?;
        // The columns of the image that fall into the strip.
        let from = left.max(0).min(x.w as isize) as usize;
        let to = (last + 1).clamp(from as isize, x.w as isize) as usize;
        for (i, out) in memory.as_mut_slice::<T>().chunks_mut(row.max(1)).enumerate() {
            let y = top + i as isize;
            if y < 0 || y >= x.h as isize || from == to {
                out.fill(T::zero());
                continue;
            }
            let start = (from as isize - left) as usize * x.c;
            let len = (to - from) * x.c;
            out[..start].fill(T::zero());
            copy(
                &mut out[start..start + len],
                &image[(y as usize * x.w + from) * x.c..][..len],
                read,
            );
            out[start + len..].fill(T::zero());
        }
        Ok(Self { memory: Memory::Copy(memory), row, c: x.c, top, left, rows })
    }

    #[inline(always)]
    pub(super) fn data(&self) -> &[T] {
        match &self.memory {
            Memory::Image(image) => image,
            Memory::Copy(copy) => copy.as_slice(),
        }
    }

    /// Where the tap of grid pixel (row, 0) lies, for a row of the whole grid.
    #[inline(always)]
    pub(super) fn at(&self, stencil: &Stencil, row: usize, tap: (isize, isize)) -> usize {
        let y = (row * stencil.in_step) as isize + tap.0 - self.top;
        let x = tap.1 - self.left;
        y as usize * self.row + x as usize * self.c
    }
}
