//! The part of a map that a thread works on, cut into tiles: with zeros around the image and up to whole blocks of channels.

use super::OUT;
use crate::cpu::convolution::Map;
use crate::{Buffer, Float};

/// About how many bytes of input a strip should take: a quarter of a usual L2 cache.
const STRIP_BYTES: usize = 256 * 1024;
/// About how many bytes a block of transformed tiles should take.
const BLOCK_BYTES: usize = 256 * 1024;

/// How an image of so many tiles is cut up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Tiles along the image's axes.
    pub(super) tiles: (usize, usize),
    /// Tiles along a strip's axes.
    pub(super) strip: (usize, usize),
}

impl Cut {
    /// For `n` images of `h`×`w` outputs, made of `channels` channels.
    pub(super) fn new<T: Float>(n: usize, h: usize, w: usize, channels: usize) -> Self {
        let tiles = (h.div_ceil(OUT), w.div_ceil(OUT));
        let pixel = channels.next_multiple_of(T::BLOCK) * size_of::<T>();
        let wide = tiles.1.div_ceil(tiles.1.div_ceil(16).max(1)).max(1);
        // Few bands would leave threads without work; the number asked for is constant, so that the cut is too.
        let most = (n * tiles.0).div_ceil(16).clamp(1, 8);
        let fits = |high: &usize| (OUT * high + 2) * (OUT * wide + 2) * pixel <= STRIP_BYTES;
        let high = (1..=most).rev().find(fits).unwrap_or(1);
        Self { tiles, strip: (high, wide) }
    }

    /// Tiles of a block, a multiple of the `rows` that are multiplied at a time.
    pub(super) fn block<T: Float>(&self, channels: usize, rows: usize) -> usize {
        let tiles = BLOCK_BYTES / (super::PLANES * channels * size_of::<T>());
        (tiles / rows).clamp(1, self.strip.0 * self.strip.1.div_ceil(rows)) * rows
    }

    /// The strips' bands of rows.
    pub(super) fn bands(&self) -> usize {
        self.tiles.0.div_ceil(self.strip.0)
    }

    /// The strips of a band: the first tile and the end, in rows and in columns.
    pub(super) fn strips(self, band: usize) -> impl Iterator<Item = [(usize, usize); 2]> {
        let rows = (band * self.strip.0, ((band + 1) * self.strip.0).min(self.tiles.0));
        let step = self.strip.1;
        (0..self.tiles.1).step_by(step).map(move |column| [rows, (column, (column + step).min(self.tiles.1))])
    }
}

/// A rectangle of a map, `[height, width, c]`, where `c` is a multiple of a block.
pub(super) struct Strip {
    memory: Buffer,
    pub(super) width: usize,
    pub(super) c: usize,
}

impl Strip {
    /// The rectangle of image `n` that starts at `origin` (row, column), with `read` applied to what it holds of the image;
    /// elsewhere it is zero.
    pub(super) fn new<T: Float>(
        x: Map<'_, T>,
        n: usize,
        origin: (isize, isize),
        (height, width): (usize, usize),
        read: Option<fn(&mut [T])>,
    ) -> Self {
        let c = x.c.next_multiple_of(T::BLOCK);
        let mut memory = Buffer::new::<T>(height * width * c);
        let image = &x.data[n * x.h * x.w * x.c..][..x.h * x.w * x.c];
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
                inside.copy_from_slice(pixels);
                if let Some(read) = read {
                    read(inside);
                }
                continue;
            }
            for (to, from) in inside.chunks_exact_mut(c).zip(pixels.chunks_exact(x.c)) {
                to[..x.c].copy_from_slice(from);
                to[x.c..].fill(T::zero());
                if let Some(read) = read {
                    read(&mut to[..x.c]);
                }
            }
        }
        Self { memory, width, c }
    }

    #[inline(always)]
    pub(super) fn data<T: Float>(&self) -> &[T] {
        self.memory.as_slice()
    }
}
