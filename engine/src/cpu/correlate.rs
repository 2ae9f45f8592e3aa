//! The direct convolution: forward, input gradient, transposed, and the gradient of the weights.
//!
//! All of them are one loop nest, a *correlation*: an output pixel is a sum over taps, and a tap is an offset into the
//! input together with a matrix from input to output channels. A [`Plan`] says which taps there are.
//!
//! * conv2d with stride s: pixel (r, c) reads (s·r + k·dilation − padding, …), one tap for each kernel element.
//! * Its input gradient, which is also the transposed convolution: output pixels fall into s×s phases by their
//!   remainder mod s. Within a phase, the kernel elements that reach it are the same for every pixel, so each phase is a
//!   stride-1 correlation with a part of the taps, written to every s-th pixel.
//!
//! A thread takes a band of output rows and copies the input rows that it reads into a strip with a border of zeros, which
//! stays in its L2 cache; from there no loop needs to know of borders. The inner loop computes a tile of
//! [`PIXELS`] pixels × two registers of output channels, all accumulators in registers: per input channel it loads two
//! registers of weights, and each pixel's value once. Sums run over taps and channels in a fixed order.

use crate::simd::{LaneKernel, Lanes, vectorize_lanes};
use crate::{Buffer, Float};
use rayon::prelude::*;

/// Output pixels of a tile: 6 × 2 accumulators, 2 weights and a value fill the 16 registers of AVX2.
const PIXELS: usize = 6;

/// About how many bytes of input a strip holds: half of a usual L2 cache.
const STRIP_BYTES: usize = 512 * 1024;

/// The partial sums of a weight gradient: enough to keep as many threads busy, and constant, so that the
/// order of additions is too.
const PARTIALS: usize = 16;

/// A channels-last map in memory: `[n, h, w, c]`.
#[derive(Clone, Copy)]
pub(crate) struct Map<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
}

/// Where output pixels of one phase read, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    /// The first output pixel (row, column); others follow at [`Plan::out_step`].
    pub(crate) origin: (usize, usize),
    /// Offsets (row, column) into the input.
    pub(crate) taps: Vec<(isize, isize)>,
    /// The kernel element of each tap, counted row-major.
    pub(crate) elements: Vec<usize>,
}

/// A correlation: see the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Input pixels from one output pixel of a phase to the next.
    pub(crate) in_step: usize,
    /// Output pixels from one output pixel of a phase to the next.
    pub(crate) out_step: usize,
    pub(crate) phases: Vec<Phase>,
}

/// Kernel size and settings of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) kernel: (usize, usize),
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
}

impl Plan {
    /// The plan of a convolution's forward pass.
    pub(crate) fn forward(g: Geometry) -> Self {
        let offset = |k: usize| (k * g.dilation) as isize - g.padding as isize;
        let elements: Vec<usize> = (0..g.kernel.0 * g.kernel.1).collect();
        let taps = elements.iter().map(|e| (offset(e / g.kernel.1), offset(e % g.kernel.1))).collect();
        Self { in_step: g.stride, out_step: 1, phases: vec![Phase { origin: (0, 0), taps, elements }] }
    }

    /// The plan of its adjoint: from the output's map to the input's.
    pub(crate) fn adjoint(g: Geometry) -> Self {
        // Input pixel p gets from output pixel q through kernel element k if p = q·stride + k·dilation − padding.
        let reach = |p: usize, k: usize| {
            let distance = (p + g.padding) as isize - (k * g.dilation) as isize;
            (distance.rem_euclid(g.stride as isize) == 0).then(|| distance.div_euclid(g.stride as isize))
        };
        let phase = |row: usize, column: usize| {
            let (mut taps, mut elements) = (Vec::new(), Vec::new());
            for (ky, kx) in (0..g.kernel.0).flat_map(|ky| (0..g.kernel.1).map(move |kx| (ky, kx))) {
                if let (Some(dy), Some(dx)) = (reach(row, ky), reach(column, kx)) {
                    taps.push((dy, dx));
                    elements.push(ky * g.kernel.1 + kx);
                }
            }
            Phase { origin: (row, column), taps, elements }
        };
        let phases = (0..g.stride * g.stride).map(|i| phase(i / g.stride, i % g.stride)).collect();
        Self { in_step: 1, out_step: g.stride, phases }
    }

    /// The smallest and largest offsets of all taps: ((row, column), (row, column)).
    fn reach(&self) -> ((isize, isize), (isize, isize)) {
        let taps = || self.phases.iter().flat_map(|phase| &phase.taps);
        let least = |f: fn(&(isize, isize)) -> isize| taps().map(f).min().unwrap_or(0);
        let most = |f: fn(&(isize, isize)) -> isize| taps().map(f).max().unwrap_or(0);
        ((least(|t| t.0), least(|t| t.1)), (most(|t| t.0), most(|t| t.1)))
    }

    /// Output pixels of `phase` along an axis of `size` pixels.
    fn count(&self, origin: usize, size: usize) -> usize {
        size.saturating_sub(origin).div_ceil(self.out_step)
    }
}

/// Weights in the order in which the inner loop reads them: `[phase][group][block][tap][c_in][lanes]`,
/// a block being two registers of output channels, the last one filled up with zeros.
pub(crate) struct Packed<T> {
    phases: Vec<Vec<T>>,
    groups: usize,
    c_in: usize,
    c_out: usize,
}

/// Output channels of a block.
fn block<T: Float>() -> usize {
    2 * <T::Portable as Lanes>::N
}

impl<T: Float> Packed<T> {
    /// Packs `weight(group, kernel element, c_in, c_out)`; channel counts are those of one group.
    pub(crate) fn new(
        plan: &Plan,
        groups: usize,
        c_in: usize,
        c_out: usize,
        weight: impl Fn(usize, usize, usize, usize) -> T,
    ) -> Self {
        let lanes = block::<T>();
        let blocks = c_out.div_ceil(lanes);
        let pack = |phase: &Phase| {
            let mut packed = Vec::with_capacity(groups * blocks * phase.taps.len() * c_in * lanes);
            for (g, b) in (0..groups).flat_map(|g| (0..blocks).map(move |b| (g, b))) {
                for (&element, i) in phase.elements.iter().flat_map(|e| (0..c_in).map(move |i| (e, i))) {
                    packed.extend(
                        (b * lanes..(b + 1) * lanes)
                            .map(|o| if o < c_out { weight(g, element, i, o) } else { T::zero() }),
                    );
                }
            }
            packed
        };
        Self { phases: plan.phases.iter().map(pack).collect(), groups, c_in, c_out }
    }
}

/// Correlates `x` into `out`, the memory of an `[n, out_h, out_w, groups·c_out]` map, starting from `bias`.
pub(crate) fn correlate<T: Float>(
    plan: &Plan,
    x: Map<'_, T>,
    weights: &Packed<T>,
    bias: Option<&[T]>,
    out: &mut [T],
    (out_h, out_w): (usize, usize),
) {
    let c_out = weights.groups * weights.c_out;
    if out.is_empty() {
        return;
    }
    let grid = (out_h.div_ceil(plan.out_step), out_w.div_ceil(plan.out_step));
    let band = band_rows::<T>(plan, x, grid);
    let row_len = out_w * c_out;
    let image = out_h * row_len;
    out.par_chunks_mut(image).enumerate().for_each(|(n, out)| {
        out.par_chunks_mut(band * plan.out_step * row_len).enumerate().for_each(|(i, out)| {
            let rows = (i * band, ((i + 1) * band).min(grid.0));
            let strip = Strip::new(plan, x, n, rows, grid.1);
            vectorize_lanes(Band { plan, strip: &strip, weights, bias, out, out_w, c_out });
        });
    });
}

/// Rows of the grid of output pixels that a strip serves.
fn band_rows<T>(plan: &Plan, x: Map<'_, T>, grid: (usize, usize)) -> usize {
    let ((_, left), (_, right)) = plan.reach();
    let width = grid.1.saturating_sub(1) * plan.in_step + (right - left) as usize + 1;
    let row_bytes = (width * x.c * size_of::<T>() * plan.in_step).max(1);
    // Bands of at least four rows, so that the rows two neighbouring strips share stay few.
    (STRIP_BYTES / row_bytes).clamp(4, 64).min(grid.0.max(1))
}

/// The rows of the input that a band of output pixels reads, with zeros around the image.
struct Strip<'a, T: Float> {
    memory: Memory<'a, T>,
    /// Elements from one row to the next.
    row: usize,
    /// Channels of a pixel.
    c: usize,
    /// The input row and column at the strip's start.
    top: isize,
    left: isize,
    /// Grid rows of the band.
    rows: (usize, usize),
}

enum Memory<'a, T> {
    /// The image itself: nothing that the band reads lies outside.
    Image(&'a [T]),
    Copy(Buffer),
}

impl<'a, T: Float> Strip<'a, T> {
    fn new(plan: &Plan, x: Map<'a, T>, n: usize, rows: (usize, usize), columns: usize) -> Self {
        let ((up, left), (down, right)) = plan.reach();
        let top = (rows.0 * plan.in_step) as isize + up;
        let bottom = (rows.1.max(1) - 1) as isize * plan.in_step as isize + down;
        let last = columns.saturating_sub(1) as isize * plan.in_step as isize + right;
        let image = &x.data[n * x.h * x.w * x.c..][..x.h * x.w * x.c];
        if top >= 0 && left >= 0 && bottom < x.h as isize && last < x.w as isize {
            let row = x.w * x.c;
            return Self { memory: Memory::Image(image), row, c: x.c, top: 0, left: 0, rows };
        }
        let (height, width) = ((bottom - top + 1) as usize, (last - left + 1) as usize);
        let row = width * x.c;
        let mut copy = Buffer::new::<T>(height * row);
        // The columns of the image that fall into the strip.
        let from = left.max(0).min(x.w as isize) as usize;
        let to = (last + 1).clamp(from as isize, x.w as isize) as usize;
        for (i, out) in copy.as_mut_slice::<T>().chunks_mut(row.max(1)).enumerate() {
            let y = top + i as isize;
            if y < 0 || y >= x.h as isize || from == to {
                out.fill(T::zero());
                continue;
            }
            let start = (from as isize - left) as usize * x.c;
            let len = (to - from) * x.c;
            out[..start].fill(T::zero());
            out[start..start + len].copy_from_slice(&image[(y as usize * x.w + from) * x.c..][..len]);
            out[start + len..].fill(T::zero());
        }
        Self { memory: Memory::Copy(copy), row, c: x.c, top, left, rows }
    }

    #[inline(always)]
    fn data(&self) -> &[T] {
        match &self.memory {
            Memory::Image(image) => image,
            Memory::Copy(copy) => copy.as_slice(),
        }
    }

    /// Where the tap of grid pixel (row, 0) lies, for a row of the whole grid.
    #[inline(always)]
    fn at(&self, plan: &Plan, row: usize, tap: (isize, isize)) -> usize {
        let y = (row * plan.in_step) as isize + tap.0 - self.top;
        let x = tap.1 - self.left;
        y as usize * self.row + x as usize * self.c
    }
}

/// A band of the output.
struct Band<'a, T: Float> {
    plan: &'a Plan,
    strip: &'a Strip<'a, T>,
    weights: &'a Packed<T>,
    bias: Option<&'a [T]>,
    out: &'a mut [T],
    out_w: usize,
    c_out: usize,
}

impl<T: Float> LaneKernel<T> for Band<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>>(self) {
        let Self { plan, strip, weights, bias, out, out_w, c_out } = self;
        let lanes = 2 * L::N;
        let out_rows = out.len() / (out_w * c_out);
        let pixel = plan.in_step * strip.c;
        let mut taps: Vec<usize> = Vec::new();
        for (phase, packed) in plan.phases.iter().zip(&weights.phases) {
            let rows = plan.count(phase.origin.0, out_rows);
            let columns = plan.count(phase.origin.1, out_w);
            let block_len = phase.taps.len() * weights.c_in * lanes;
            for group in 0..weights.groups {
                for block in 0..weights.c_out.div_ceil(lanes) {
                    let index = group * weights.c_out.div_ceil(lanes) + block;
                    let w = &packed[index * block_len..][..block_len];
                    let width = lanes.min(weights.c_out - block * lanes);
                    let channel = group * weights.c_out + block * lanes;
                    let start = starting_values::<L>(bias, channel, width);
                    for row in 0..rows {
                        taps.clear();
                        taps.extend(
                            phase
                                .taps
                                .iter()
                                .map(|&tap| strip.at(plan, strip.rows.0 + row, tap) + group * weights.c_in),
                        );
                        let out_row = (phase.origin.0 + row * plan.out_step) * out_w;
                        let mut store = |column: usize, tile: &[[L; 2]]| {
                            for (i, value) in tile.iter().enumerate() {
                                let x = phase.origin.1 + (column + i) * plan.out_step;
                                put(*value, &mut out[(out_row + x) * c_out + channel..][..width]);
                            }
                        };
                        let tile = Tile { data: strip.data(), taps: &taps, pixel, w, c_in: weights.c_in, start };
                        let mut column = 0;
                        while column + PIXELS <= columns {
                            store(column, &tile.compute::<PIXELS>(column));
                            column += PIXELS;
                        }
                        if column < columns && columns >= PIXELS {
                            // The last tile overlaps the one before: the same sums, written again.
                            store(columns - PIXELS, &tile.compute::<PIXELS>(columns - PIXELS));
                        } else {
                            (column..columns).for_each(|column| store(column, &tile.compute::<1>(column)));
                        }
                    }
                }
            }
        }
    }
}

/// The bias of the `width` channels from `channel` on, then zeros.
#[inline(always)]
fn starting_values<L: Lanes>(bias: Option<&[L::Scalar]>, channel: usize, width: usize) -> [L; 2] {
    let mut values = [<L::Scalar as num_traits::Zero>::zero(); 32];
    if let Some(bias) = bias {
        values[..width].copy_from_slice(&bias[channel..channel + width]);
    }
    [L::load(&values), L::load(&values[L::N..])]
}

/// Stores as many channels as `to` has.
#[inline(always)]
fn put<L: Lanes>(value: [L; 2], to: &mut [L::Scalar]) {
    if to.len() == 2 * L::N {
        value[0].store(to);
        value[1].store(&mut to[L::N..]);
    } else {
        let mut values = [<L::Scalar as num_traits::Zero>::zero(); 32];
        value[0].store(&mut values);
        value[1].store(&mut values[L::N..]);
        let len = to.len();
        to.copy_from_slice(&values[..len]);
    }
}

/// The inner loop: `P` neighbouring pixels × two registers of channels.
struct Tile<'a, L: Lanes> {
    data: &'a [L::Scalar],
    /// Where each tap of column 0 starts in `data`.
    taps: &'a [usize],
    /// Elements from one pixel to the next.
    pixel: usize,
    w: &'a [L::Scalar],
    c_in: usize,
    start: [L; 2],
}

impl<L: Lanes> Tile<'_, L> {
    #[inline(always)]
    fn compute<const P: usize>(&self, column: usize) -> [[L; 2]; P] {
        let mut sums = [self.start; P];
        let c_in = self.c_in;
        for (tap, w) in self.taps.iter().zip(self.w.chunks_exact((c_in * 2 * L::N).max(1))) {
            let first = tap + column * self.pixel;
            let mut values: [&[L::Scalar]; P] = [&[]; P];
            for (p, pixel) in values.iter_mut().enumerate() {
                *pixel = &self.data[first + p * self.pixel..][..c_in];
            }
            for (i, w) in w.chunks_exact(2 * L::N).enumerate() {
                let w = [L::load(w), L::load(&w[L::N..])];
                for p in 0..P {
                    let x = L::splat(values[p][i]);
                    sums[p][0] = x.mul_add(w[0], sums[p][0]);
                    sums[p][1] = x.mul_add(w[1], sums[p][1]);
                }
            }
        }
        sums
    }
}

/// The gradient of the weights of the correlation `plan` from `x` to a map like `dy`:
/// Σ over pixels of x at the tap times dy, as `[group][tap][c_in][c_out]`. `plan` must be a forward one.
pub(crate) fn weight_gradient<T: Float>(plan: &Plan, x: Map<'_, T>, dy: Map<'_, T>, groups: usize) -> Vec<T> {
    let (c_in, c_out) = (x.c / groups, dy.c / groups);
    let taps = &plan.phases[0].taps;
    let size = groups * taps.len() * c_in * c_out;
    let band = band_rows::<T>(plan, x, (dy.h, dy.w));
    let bands = dy.h.div_ceil(band.max(1));
    // Whole bands of whole images, dealt out in order to a constant number of partial sums.
    let pieces = dy.n * bands;
    let per_partial = pieces.div_ceil(PARTIALS).max(1);
    let partials: Vec<Buffer> = (0..pieces.div_ceil(per_partial))
        .into_par_iter()
        .map(|partial| {
            let mut sums = Buffer::new::<T>(size);
            let out = sums.as_mut_slice::<T>();
            out.fill(T::zero());
            for piece in partial * per_partial..((partial + 1) * per_partial).min(pieces) {
                let (n, i) = (piece / bands, piece % bands);
                let rows = (i * band, ((i + 1) * band).min(dy.h));
                let strip = Strip::new(plan, x, n, rows, dy.w);
                vectorize_lanes(GradientBand { plan, strip: &strip, dy, n, groups, c_in, c_out, out });
            }
            sums
        })
        .collect();
    let mut total = vec![T::zero(); size];
    for partial in &partials {
        total.iter_mut().zip(partial.as_slice::<T>()).for_each(|(sum, part)| *sum += *part);
    }
    total
}

/// What a band of `dy` adds to the gradient of the weights.
struct GradientBand<'a, T: Float> {
    plan: &'a Plan,
    strip: &'a Strip<'a, T>,
    dy: Map<'a, T>,
    n: usize,
    groups: usize,
    c_in: usize,
    c_out: usize,
    out: &'a mut [T],
}

impl<T: Float> LaneKernel<T> for GradientBand<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Scalar = T>>(self) {
        let Self { plan, strip, dy, n, groups, c_in, c_out, out } = self;
        let lanes = 2 * L::N;
        let taps = &plan.phases[0].taps;
        let pixel = plan.in_step * strip.c;
        // Rows at a time: what they hold of x and dy should stay in the L1 cache for all taps and channels.
        let together = (4096 / (dy.w * dy.c).max(1)).max(1);
        let mut padded: Vec<T> = Vec::new();
        let (first, last) = strip.rows;
        for rows in (first..last).step_by(together).map(|row| row..(row + together).min(last)) {
            for (group, block) in (0..groups).flat_map(|g| (0..c_out.div_ceil(lanes)).map(move |b| (g, b))) {
                let width = lanes.min(c_out - block * lanes);
                let channel = group * c_out + block * lanes;
                let dy_rows = &dy.data[(n * dy.h + rows.start) * dy.w * dy.c..][..rows.len() * dy.w * dy.c];
                // A full block is read in place; the last, narrower one from a copy filled up with zeros.
                let (values, stride): (&[T], usize) = if width == lanes {
                    (&dy_rows[channel..], dy.c)
                } else {
                    padded.clear();
                    for pixel in dy_rows.chunks_exact(dy.c) {
                        padded.extend_from_slice(&pixel[channel..channel + width]);
                        padded.resize(padded.len() + lanes - width, T::zero());
                    }
                    (&padded, lanes)
                };
                for (t, &tap) in taps.iter().enumerate() {
                    let mut c = 0;
                    while c < c_in {
                        let sums = &mut out[((group * taps.len() + t) * c_in + c) * c_out + block * lanes..];
                        let x = |row: usize| strip.at(plan, row, tap) + group * c_in + c;
                        let outer = Outer {
                            data: strip.data(),
                            x: &x,
                            pixel,
                            values,
                            stride,
                            rows: rows.clone(),
                            columns: dy.w,
                        };
                        c += match c_in - c {
                            6.. => outer.add::<L, 6>(sums, c_out, width),
                            4.. => outer.add::<L, 4>(sums, c_out, width),
                            2.. => outer.add::<L, 2>(sums, c_out, width),
                            _ => outer.add::<L, 1>(sums, c_out, width),
                        };
                    }
                }
            }
        }
    }
}

/// The inner loop of the weight gradient: a sum of outer products over pixels.
struct Outer<'a, T, X> {
    data: &'a [T],
    /// Where the channels of pixel (row, 0) start in `data`.
    x: &'a X,
    pixel: usize,
    values: &'a [T],
    /// Elements of `values` from one pixel to the next.
    stride: usize,
    rows: std::ops::Range<usize>,
    columns: usize,
}

impl<T: Float, X: Fn(usize) -> usize> Outer<'_, T, X> {
    /// Adds `C` input channels × one block of output channels to `sums`, whose rows are `c_out` long. Returns `C`.
    #[inline(always)]
    fn add<L: Lanes<Scalar = T>, const C: usize>(&self, sums: &mut [T], c_out: usize, width: usize) -> usize {
        let mut tile = [[L::splat(T::zero()); 2]; C];
        for (c, value) in tile.iter_mut().enumerate() {
            let mut start = [T::zero(); 32];
            start[..width].copy_from_slice(&sums[c * c_out..][..width]);
            *value = [L::load(&start), L::load(&start[L::N..])];
        }
        for (i, row) in self.rows.clone().enumerate() {
            let x = &self.data[(self.x)(row)..];
            let values = &self.values[i * self.columns * self.stride..];
            for column in 0..self.columns {
                let x: &[T; C] = x[column * self.pixel..][..C].try_into().expect("C elements");
                let dy = &values[column * self.stride..][..2 * L::N];
                let dy = [L::load(dy), L::load(&dy[L::N..])];
                for c in 0..C {
                    let x = L::splat(x[c]);
                    tile[c][0] = x.mul_add(dy[0], tile[c][0]);
                    tile[c][1] = x.mul_add(dy[1], tile[c][1]);
                }
            }
        }
        for (c, value) in tile.into_iter().enumerate() {
            put(value, &mut sums[c * c_out..][..width]);
        }
        C
    }
}
