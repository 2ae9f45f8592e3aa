//! The dynamic filter on a GPU: see `dynamic_filter.cu`.

use super::border::Border;
use crate::cuda::{Gpu, Launch, has_forms};
use crate::{Error, Result, Tensor};
use kernels::Kernel;
use kernels::dynamic_filter::*;

const OP: &str = "dynamic_filter";

/// The filter and its adjoint: a kernel for 3×3 taps and channels in fours, and one for any.
const FORWARD: [Kernel; 2] = [DYNAMIC_FILTER_3, DYNAMIC_FILTER_ANY];
const TURNED: [Kernel; 2] = [DYNAMIC_FILTER_TURNED_3, DYNAMIC_FILTER_TURNED_ANY];

/// Threads of a block, and channels of a thread, as in `dynamic_filter.cu`.
const BLOCK: usize = 128;
const LANES: usize = 4;

/// Most rows of a thread's strip. A longer one loads fewer rows twice; a shorter one leaves more
/// threads.
const ROWS: usize = 16;

/// Numbers of threads, and of blocks that sum, that keep a large GPU busy. These are constants, so
/// that the order of additions is as well.
const THREADS: usize = 1 << 17;
const BLOCKS: usize = 512;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Map {
    images: u32,
    channels: u32,
    height: i32,
    width: i32,
    groups: u32,
    k: i32,
    reflect: u32,
    rows: i32,
}

impl Map {
    /// The map `x`, read by taps of shape `taps`, with strips of `rows` rows.
    fn new(x: &Tensor, taps: &[usize], padding: Border, rows: usize) -> Result<Self> {
        let [n, c, h, w] = x.dims4(OP)?;
        let (groups, k) = (taps[1], taps[2]);
        crate::cuda::count(OP, x.shape())?;
        let side = |side: usize| match i32::try_from(side) {
            Ok(side) if side < i32::MAX / 4 => Ok(side),
            _ => Err(Error::cuda(OP, format!("a side of {side} is too large for a GPU kernel"))),
        };
        Ok(Self {
            images: n as u32,
            channels: c as u32,
            height: side(h)?,
            width: side(w)?,
            groups: groups as u32,
            k: side(k)?,
            reflect: u32::from(padding == Border::Reflect),
            rows: rows as i32,
        })
    }
}

pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    taps: &Tensor,
    shift: Option<&Tensor>,
    padding: Border,
) -> Result<Tensor> {
    filter(gpu, FORWARD, x, taps, shift, padding, THREADS)
}

/// The gradients of the input, the taps and, if there was one, the shift: one pass over `dy` for
/// the first, one for the others.
pub(super) fn backward(
    gpu: &'static Gpu,
    x: Option<&Tensor>,
    taps: Option<&Tensor>,
    shape: &[usize],
    dy: &Tensor,
    padding: Border,
    need: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let turned = |taps| filter(gpu, TURNED, dy, taps, None, padding, THREADS);
    let dx = taps.map(turned).transpose()?;
    let shifted = need.get(2).copied().unwrap_or(false);
    let (d_taps, d_shift) = match x {
        Some(x) => {
            let (d_taps, d_shift) = sums(gpu, x, shape, dy, padding, shifted, BLOCKS)?;
            (Some(d_taps), d_shift)
        }
        None if shifted => (None, Some(dy.sum(&[2, 3])?)),
        None => (None, None),
    };
    let mut gradients = vec![dx, d_taps, d_shift];
    gradients.truncate(need.len());
    Ok(gradients)
}

/// The filter, by one of two kernels. The height of strips is chosen so that about `threads`
/// threads have one, which changes nothing but speed.
fn filter(
    gpu: &'static Gpu,
    [kernel, any]: [Kernel; 2],
    x: &Tensor,
    taps: &Tensor,
    shift: Option<&Tensor>,
    padding: Border,
    threads: usize,
) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(OP)?;
    let (x, taps) = (x.contiguous()?, taps.contiguous()?);
    let shift = shift.map(Tensor::contiguous).transpose()?;
    let y = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
    let addresses = [
        y.address()?,
        x.address()?,
        taps.address()?,
        shift.as_ref().map_or(Ok(0), Tensor::address)?,
    ];
    let rows = (y.numel() / LANES / threads).clamp(1, ROWS);
    let map = Map::new(&x, taps.shape(), padding, rows)?;
    let (kernel, threads) = match in_fours(&x, &addresses[..3], map.k) {
        true => (kernel, n * h.div_ceil(rows) * w * (c / LANES)),
        false => (any, y.numel()),
    };
    let grid = [threads.div_ceil(BLOCK), 1, 1];
    Launch { kernel, dtype: x.dtype(), grid, block: [BLOCK as u32, 1, 1], shared: 0 }
        .run(gpu, &[&addresses[0], &addresses[1], &addresses[2], &addresses[3], &map])?;
    Ok(y)
}

/// Whether the kernels for 3×3 taps, which load four channels at once, can do it.
fn in_fours(x: &Tensor, addresses: &[u64], k: i32) -> bool {
    let alignment = (LANES * x.dtype().size()).min(16) as u64;
    k == 3
        && has_forms(x.dtype())
        && x.shape()[1].is_multiple_of(LANES)
        && addresses.iter().all(|address| address % alignment == 0)
}

/// How blocks share the sums over a map: as `Pieces` in `dynamic_filter.cu`, and the height of
/// their strips of rows.
struct Pieces {
    lanes: usize,
    beside: usize,
    chunks: usize,
    tiles: usize,
    steps: usize,
    rows: usize,
}

impl Pieces {
    /// For `n` maps of `h` × `w` pixels, whose channels are in `groups` that one thread has: about
    /// as many `blocks`.
    fn new([n, h, w]: [usize; 3], groups: usize, blocks: usize) -> Self {
        let chunks = groups.div_ceil(32);
        let lanes = groups.div_ceil(chunks);
        let beside = BLOCK / lanes;
        let widest = w.div_ceil(beside);
        let mut rows = 8;
        while rows < h && n * chunks * h.div_ceil(rows) > 2 * blocks {
            rows *= 2;
        }
        let steps = (n * chunks * h.div_ceil(rows) * widest / blocks).clamp(1, widest);
        Self { lanes, beside, chunks, tiles: widest.div_ceil(steps), steps, rows }
    }
}

/// The gradients of taps of shape `shape` and, if needed, of the shift, by sums in about as many
/// `blocks`.
fn sums(
    gpu: &'static Gpu,
    x: &Tensor,
    shape: &[usize],
    dy: &Tensor,
    padding: Border,
    shifted: bool,
    blocks: usize,
) -> Result<(Tensor, Option<Tensor>)> {
    let [n, c, h, w] = x.dims4(OP)?;
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let (from, dy) = (x.address()?, dy.address()?);
    let in_fours = in_fours(&x, &[from, dy], shape[2] as i32);
    let pieces = Pieces::new([n, h, w], if in_fours { c / LANES } else { c }, blocks);
    let map = Map::new(&x, shape, padding, pieces.rows)?;
    // A row for each tap, and one for dy itself.
    let (count, parts) = (h.div_ceil(pieces.rows) * pieces.tiles, shape[2] * shape[2] + 1);
    let real = if x.dtype() == crate::DType::F64 { 8 } else { 4 };
    let partial = gpu.allocate(n * count * parts * c * real)?;
    let blocks = n * count * pieces.chunks;
    let (kernel, blocks) = if in_fours {
        (DYNAMIC_FILTER_PRODUCTS_3, blocks)
    } else {
        (DYNAMIC_FILTER_PRODUCTS_ANY, blocks * parts)
    };
    let launch = |kernel, blocks, threads| {
        let grid = [blocks, 1, 1];
        Launch { kernel, dtype: x.dtype(), grid, block: [threads, 1, 1], shared: 0 }
    };
    let Pieces { lanes, beside, chunks, tiles, steps, .. } = pieces;
    let sharing = [lanes, beside, chunks, tiles, steps].map(|number| number as u32);
    launch(kernel, blocks, BLOCK as u32)
        .run(gpu, &[&partial.address(), &from, &dy, &map, &sharing])?;

    let d_taps = Tensor::new_on_gpu(gpu, shape, x.dtype())?;
    let d_shift = shifted.then(|| Tensor::new_on_gpu(gpu, &[n, c], x.dtype())).transpose()?;
    let to = d_shift.as_ref().map_or(Ok(0), Tensor::address)?;
    let outputs = d_taps.numel() + d_shift.as_ref().map_or(0, Tensor::numel);
    launch(DYNAMIC_FILTER_SUMS, outputs.div_ceil(32), 256)
        .run(gpu, &[&d_taps.address()?, &to, &partial.address(), &map, &(count as u32)])?;
    Ok((d_taps, d_shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::apply;
    use crate::ops::dynamic_filter::DynamicFilter;
    use crate::ops::dynamic_filter::cpu;
    use crate::{DType, Device, Rng};

    /// Images, channels, groups and K: in fours and not, lanes in one chunk and in two, groups of
    /// one channel and of more.
    const CASES: [[usize; 4]; 7] = [
        [2, 8, 8, 3],
        [1, 24, 2, 3],
        [2, 160, 160, 3],
        [1, 5, 5, 3],
        [1, 66, 11, 3],
        [2, 4, 2, 5],
        [1, 8, 8, 1],
    ];

    fn assert_close(there: &Tensor, here: &Tensor, what: &str) {
        let tolerance = if here.dtype() == DType::F64 { 1e-12 } else { 1e-5 };
        let (there, here) = (there.to_f64_vec().unwrap(), here.to_f64_vec().unwrap());
        let scale = here.iter().fold(1.0f64, |m, x| m.max(x.abs()));
        assert_eq!(there.len(), here.len());
        let near = there.iter().zip(&here).all(|(a, b)| (a - b).abs() <= tolerance * scale);
        assert!(near, "{what}");
    }

    #[test]
    fn strips_and_pieces_of_any_size_give_the_same() {
        let Some(gpu) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(1);
        for (dtype, [n, c, groups, k]) in
            [DType::F64, DType::F32].into_iter().flat_map(|d| CASES.map(|case| (d, case)))
        {
            for (padding, [h, w]) in
                [(Border::Reflect, [19, 23]), (Border::Zero, [33, 4]), (Border::Reflect, [3, 40])]
            {
                let mut random = |shape: &[usize]| Tensor::randn(shape, dtype, &mut rng).unwrap();
                let (x, taps) = (random(&[n, c, h, w]), random(&[n, groups, k, k]));
                let (shift, dy) = (random(&[n, c]), random(&[n, c, h, w]));
                let there = |x: &Tensor| x.to_device(Device::Cuda(0)).unwrap();
                let what = format!("{dtype}, {:?}, {:?}, {padding:?}", x.shape(), taps.shape());
                let y = cpu::forward(&x, &taps, Some(&shift), padding).unwrap();
                let dx = cpu::backward_x(&taps, &dy, padding).unwrap();
                let d_taps = cpu::backward_taps(&x, taps.shape(), &dy, padding).unwrap();
                let d_shift = dy.sum_keepdim(&[2, 3]).unwrap();
                let (x, taps, shift, dy) = (there(&x), there(&taps), there(&shift), there(&dy));
                for threads in [1, x.numel() / LANES / 5, THREADS] {
                    let found =
                        filter(gpu, FORWARD, &x, &taps, Some(&shift), padding, threads).unwrap();
                    assert_close(&found, &y, &format!("y of {what}, {threads} threads"));
                    let found = filter(gpu, TURNED, &dy, &taps, None, padding, threads).unwrap();
                    assert_close(&found, &dx, &format!("dx of {what}, {threads} threads"));
                }
                for blocks in [1, 3, BLOCKS] {
                    let (taps, shift) =
                        sums(gpu, &x, taps.shape(), &dy, padding, true, blocks).unwrap();
                    assert_close(&taps, &d_taps, &format!("d_taps of {what}, {blocks} blocks"));
                    assert_close(
                        &shift.unwrap(),
                        &d_shift,
                        &format!("d_shift of {what}, {blocks} blocks"),
                    );
                }
            }
        }
    }

    #[test]
    fn empty_maps_are_no_trouble() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for shape in [[0, 4, 5, 5], [2, 4, 0, 5]] {
            let tape = crate::Tape::new();
            let leaf = |shape: &[usize]| {
                tape.leaf(
                    &Tensor::ones(shape, DType::F32).unwrap().to_device(Device::Cuda(0)).unwrap(),
                )
            };
            let (x, taps, shift) = (leaf(&shape), leaf(&[shape[0], 4, 3, 3]), leaf(&shape[..2]));
            let op = DynamicFilter { padding: Border::Zero };
            let y = apply(op, &[&x, &taps, &shift]).unwrap();
            assert_eq!(y.shape(), shape);
            let gradients = tape.backward_from(&[&y], vec![Some(x.detach())]).unwrap();
            for leaf in [&taps, &shift] {
                let gradient = gradients.get(leaf).unwrap().to_f64_vec().unwrap();
                assert_eq!(gradient, vec![0.0; leaf.numel()]);
            }
        }
    }
}
