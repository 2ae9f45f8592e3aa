//! The part of a map that a thread works on, cut into tiles.

use super::OUT;
use crate::cpu::convolution::{Map, Read, copy};
use crate::{Buffer, Float, Result};

/// The sizes of the pieces that an image is cut into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes {
    /// About how many bytes of input a strip should take.
    pub(super) strip: usize,
    /// About how many bytes a block of transformed tiles should take.
    pub(super) block: usize,
}

/// How an image is cut into strips of tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    bytes: Bytes,
    /// Tiles along the image's axes.
    pub(super) tiles: (usize, usize),
    /// Tiles along a strip's axes.
    pub(super) strip: (usize, usize),
}

impl Cut {
    /// For `n` images of `h`×`w` outputs, made of `channels` channels.
    pub(super) fn new<T: Float>(
        n: usize,
        h: usize,
        w: usize,
        channels: usize,
        bytes: Bytes,
    ) -> Self {
        let tiles = (h.div_ceil(OUT), w.div_ceil(OUT));
        let pixel = channels.next_multiple_of(T::BLOCK) * size_of::<T>();
        let wide = tiles.1.div_ceil(tiles.1.div_ceil(16).max(1)).max(1);
        // Few bands would leave threads without work; the number asked for is constant, so that the
        // cut is too.
        let most = (n * tiles.0).div_ceil(16).clamp(1, 8);
        let fits = |high: &usize| (OUT * high + 2) * (OUT * wide + 2) * pixel <= bytes.strip;
        let high = (1..=most).rev().find(fits).unwrap_or(1);
        Self { bytes, tiles, strip: (high, wide) }
    }

    /// Tiles of a block, a multiple of the `rows` that are multiplied at a time.
    pub(super) fn block<T: Float>(&self, channels: usize, rows: usize) -> usize {
        let most = (self.bytes.block / (super::PLANES * channels * size_of::<T>())).max(rows)
            / rows
            * rows;
        // A strip in blocks of one size: a small one at the end would read all weights for a few
        // tiles.
        let all = self.strip.0 * self.strip.1;
        all.div_ceil(all.div_ceil(most)).next_multiple_of(rows)
    }

    /// The strips' bands of rows.
    pub(super) fn bands(&self) -> usize {
        self.tiles.0.div_ceil(self.strip.0)
    }

    /// The strips of a band: the first tile and the end, in rows and in columns.
    pub(super) fn strips(self, band: usize) -> impl Iterator<Item = [(usize, usize); 2]> {
        let rows = (band * self.strip.0, ((band + 1) * self.strip.0).min(self.tiles.0));
        let step = self.strip.1;
        (0..self.tiles.1)
            .step_by(step)
            .map(move |column| [rows, (column, (column + step).min(self.tiles.1))])
    }
}

/// A rectangle of a map, cut into overlapping tiles.
///
/// It is the map itself where that can be read as it lies; else a copy, with zeros around the
/// image, `read` applied, and the channels filled up with zeros.
pub(super) struct Strip<'a, T> {
    memory: Memory<'a, T>,
    /// Rows and columns in memory.
    size: (usize, usize),
    /// The rectangle's start in it: (row, column).
    origin: (isize, isize),
    /// Channels, a multiple of a block.
    pub(super) c: usize,
}

enum Memory<'a, T> {
    Image(&'a [T]),
    Copy(Buffer),
}

impl<'a, T: Float> Strip<'a, T> {
    /// The rectangle of image `n` of `size` (height, width) that starts at `origin` (row, column),
    /// with `read` applied to its part of the image; elsewhere it is zero.
    pub(super) fn new(
        x: Map<'a, T>,
        n: usize,
        origin: (isize, isize),
        size: (usize, usize),
        read: Option<Read<T>>,
    ) -> Result<Self> {
        let c = x.c.next_multiple_of(T::BLOCK);
        let image = &x.data[n * x.h * x.w * x.c..][..x.h * x.w * x.c];
        if read.is_none() && c == x.c {
            return Ok(Self { memory: Memory::Image(image), size: (x.h, x.w), origin, c });
        }
        let (height, width) = size;
        let mut memory = Buffer::new::<T>(height * width * c)?;
        // The columns of the image that fall into the strip.
        let from = origin.1.clamp(0, x.w as isize) as usize;
        let to = (origin.1 + width as isize).clamp(from as isize, x.w as isize) as usize;
        let start = (from as isize - origin.1).clamp(0, width as isize) as usize;
        for (i, row) in memory.as_mut_slice::<T>().chunks_exact_mut(width * c).enumerate() {
            let y = origin.0 + i as isize;
            if y < 0 || y >= x.h as isize || from == to {
                row.fill(T::zero());
                continue;
            }
            let (before, rest) = row.split_at_mut(start * c);
            let (inside, after) = rest.split_at_mut((to - from) * c);
            before.fill(T::zero());
            after.fill(T::zero());
            let pixels = &image[(y as usize * x.w + from) * x.c..][..(to - from) * x.c];
            if c == x.c {
                copy(inside, pixels, read);
                continue;
            }
            for (to, from) in inside.chunks_exact_mut(c).zip(pixels.chunks_exact(x.c)) {
                copy(&mut to[..x.c], from, read);
                to[x.c..].fill(T::zero());
            }
        }
        Ok(Self { memory: Memory::Copy(memory), size, origin: (0, 0), c })
    }

    /// The tile of `side`×`side` pixels from (`row`, `column`) of the rectangle on, and how far
    /// apart its rows are. One that reaches beyond the image is put together in `edge`.
    #[inline(always)]
    pub(super) fn tile<'s>(
        &'s self,
        side: usize,
        row: usize,
        column: usize,
        edge: &'s mut [T],
    ) -> (&'s [T], usize) {
        let (top, left) = (self.origin.0 + row as isize, self.origin.1 + column as isize);
        let inside = |from: isize, size: usize| from >= 0 && from as usize + side <= size;
        if inside(top, self.size.0) && inside(left, self.size.1) {
            return (
                &self.data()[(top as usize * self.size.1 + left as usize) * self.c..],
                self.size.1 * self.c,
            );
        }
        self.fill(edge, side, top, left);
        (edge, side * self.c)
    }

    /// Writes a tile that lies partly outside, with zeros there.
    fn fill(&self, tile: &mut [T], side: usize, top: isize, left: isize) {
        let (height, width) = self.size;
        let from = left.clamp(0, width as isize) as usize;
        let to = (left + side as isize).clamp(from as isize, width as isize) as usize;
        let before = (from as isize - left).clamp(0, side as isize) as usize;
        for (i, pixels) in tile.chunks_exact_mut(side * self.c).take(side).enumerate() {
            pixels.fill(T::zero());
            let row = top + i as isize;
            if row >= 0 && row < height as isize {
                let image =
                    &self.data()[(row as usize * width + from) * self.c..][..(to - from) * self.c];
                pixels[before * self.c..][..image.len()].copy_from_slice(image);
            }
        }
    }

    #[inline(always)]
    fn data(&self) -> &[T] {
        match &self.memory {
            Memory::Image(image) => image,
            Memory::Copy(copy) => copy.as_slice(),
        }
    }
}
