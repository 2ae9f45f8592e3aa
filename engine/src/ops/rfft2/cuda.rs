//! The transform and its adjoint on a GPU: plans for the kernels in `fourier.cu`, and the two
//! passes. Halves are cast to f32 before and from it after.

use crate::cuda::{Argument, Block, Gpu, Launch, computed_in};
use crate::{DType, Error, Meta, Result, Tensor};
use kernels::Kernel;
use kernels::fourier::{
    FOURIER_ADJOINT_COLUMNS, FOURIER_ADJOINT_ROWS, FOURIER_COLUMNS, FOURIER_ROWS,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The same as in `fourier.cu`.
const STAGES: usize = 24;

/// Shared memory that every supported GPU gives a block that asks for it, less what kernels have of
/// their own.
const SHARED: usize = (64 << 10) - 256;

/// Blocks that share the workspace for lines too long for shared memory, and the lines that each
/// works on at once. (In tests there are few, so that small maps make each work several times.)
const LONG: (usize, usize) = (if cfg!(test) { 3 } else { 128 }, 2);

/// How lines of a length are transformed: `Plan` in `fourier.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct FftPlan {
    roots: u64,
    workspace: u64,
    length: u32,
    stages: u32,
    shift: u32,
    pitch: u32,
    radices: [u32; STAGES],
}

/// The sizes of the maps, as in `fourier.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
pub(in crate::ops) struct Maps {
    channels: u32,
    height: u32,
    width: u32,
}

/// A pass over maps along one of their sides: the plan, and the grid that executes it.
pub(in crate::ops) struct FourierPass {
    plan: FftPlan,
    maps: Maps,
    /// The number of lines.
    lines: u32,
    grid: usize,
    threads: u32,
    shared: usize,
    /// Holds the memory that the plan points to, until the kernel is queued.
    _workspace: Option<Block>,
}

impl FourierPass {
    /// Along the rows of maps of `shape`, two at a time.
    pub(in crate::ops) fn rows(
        gpu: &'static Gpu,
        op: &'static str,
        shape: [usize; 4],
        dtype: DType,
    ) -> Result<Self> {
        let [n, c, h, w] = shape;
        Self::new(gpu, op, shape, dtype, w, n * c * h.div_ceil(2))
    }

    /// Along the columns of the spectra of maps of `shape`.
    pub(in crate::ops) fn columns(
        gpu: &'static Gpu,
        op: &'static str,
        shape: [usize; 4],
        dtype: DType,
    ) -> Result<Self> {
        let [n, c, h, w] = shape;
        Self::new(gpu, op, shape, dtype, h, n * c * (w / 2 + 1))
    }

    fn new(
        gpu: &'static Gpu,
        op: &'static str,
        shape: [usize; 4],
        dtype: DType,
        length: usize,
        lines: usize,
    ) -> Result<Self> {
        let number = |n: usize| i32::try_from(n).map(|n| n as u32);
        let [_, c, h, w] = shape;
        let numbers = (number(c), number(h), number(w), number(length * 3), number(lines));
        let (Ok(channels), Ok(height), Ok(width), Ok(_), Ok(lines)) = numbers else {
            return Err(Error::cuda(op, format!("shape {shape:?} is too large for a GPU kernel")));
        };
        let complex = 2 * dtype.size();
        // Twice, since a stage does not work in place; lines are `pitch` apart.
        let bytes = |lines: usize| 2 * length * pitch(lines) * complex;
        let fits = [8, 4, 2, 1].into_iter().find(|&lines| bytes(lines) <= SHARED);
        let at_once = fits.unwrap_or(LONG.1);
        let groups = (lines as usize).div_ceil(at_once);
        let grid = if fits.is_some() { groups } else { groups.min(LONG.0) };
        let workspace = match fits {
            Some(_) => None,
            None => Some(gpu.allocate(grid * bytes(at_once))?),
        };
        let factors = radices(length);
        let mut radices = [1; STAGES];
        radices[..factors.len()].copy_from_slice(&factors);
        let plan = FftPlan {
            roots: gpu.constant(&roots(length, dtype))?,
            workspace: workspace.as_ref().map_or(0, Block::address),
            length: length as u32,
            stages: factors.len() as u32,
            shift: at_once.ilog2(),
            pitch: pitch(at_once) as u32,
            radices,
        };
        // A thread for each butterfly of four, in whole warps; so is the number of lines a divisor
        // of that of threads.
        let threads = (length * at_once / 4)
            .next_multiple_of(32)
            .clamp(64, if fits.is_some() { 256 } else { 512 });
        let shared = fits.map_or(0, bytes);
        let maps = Maps { channels, height, width };
        Ok(Self { plan, maps, lines, grid, threads: threads as u32, shared, _workspace: workspace })
    }

    /// The number of blocks.
    pub(in crate::ops) fn blocks(&self) -> usize {
        self.grid
    }

    /// Launches `kernel` over these lines. Its parameters are `addresses`, those of the pass, then
    /// `after`.
    pub(in crate::ops) fn launch<const N: usize>(
        &self,
        gpu: &Gpu,
        kernel: Kernel,
        dtype: DType,
        addresses: [u64; N],
        after: &[&dyn Argument],
    ) -> Result<()> {
        let (grid, block) = ([self.grid, 1, 1], [self.threads, 1, 1]);
        let launch = Launch { kernel, dtype, grid, block, shared: self.shared };
        let before = addresses.iter().map(|address| address as &dyn Argument);
        let lines: [&dyn Argument; 3] = [&self.plan, &self.maps, &self.lines];
        let arguments: Vec<&dyn Argument> =
            before.chain(lines).chain(after.iter().copied()).collect();
        launch.run(gpu, &arguments)
    }
}

/// From one element of a line to the next, where `lines` lines lie side by side.
fn pitch(lines: usize) -> usize {
    lines | 1
}

/// The radices of the stages for a length: its factors, fours first, then primes.
fn radices(mut length: usize) -> Vec<u32> {
    let mut factors = Vec::new();
    let mut factor = 4;
    while length > 1 {
        if length.is_multiple_of(factor) {
            factors.push(factor as u32);
            length /= factor;
        } else {
            factor = match factor {
                4 => 2,
                2 => 3,
                odd if odd * odd <= length => odd + 2,
                _ => length,
            };
        }
    }
    factors
}

/// exp(−2πi k/n) for k < n as numbers of `dtype`, made once.
fn roots(n: usize, dtype: DType) -> Arc<[u8]> {
    type Tables = HashMap<(usize, DType), Arc<[u8]>>;
    static TABLES: Mutex<Option<Tables>> = Mutex::new(None);
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let table = tables.get_or_insert_default().entry((n, dtype)).or_insert_with(|| {
        let numbers = (0..n).flat_map(|k| root(k, n));
        match dtype {
            DType::F64 => bytemuck::cast_slice(&numbers.collect::<Vec<f64>>()).into(),
            _ => bytemuck::cast_slice(&numbers.map(|x| x as f32).collect::<Vec<f32>>()).into(),
        }
    });
    table.clone()
}

/// exp(−2πi k/n), k < n.
fn root(k: usize, n: usize) -> [f64; 2] {
    [cosine(4 * k, n), cosine((4 * k + n) % (4 * n), n)]
}

/// The cosine of a/n quarter turns, a < 4n, from the first eighth of a turn: so the roots mirror
/// each other exactly.
fn cosine(a: usize, n: usize) -> f64 {
    let angle = |a: usize| std::f64::consts::FRAC_PI_2 * a as f64 / n as f64;
    match a {
        a if 2 * a <= n => angle(a).cos(),
        a if a <= n => angle(n - a).sin(),
        a if a <= 2 * n => -cosine(2 * n - a, n),
        a => cosine(4 * n - a, n),
    }
}

/// `[N, C, H, W]` to `[N, C, H, W/2 + 1, 2]`.
pub(super) fn forward(gpu: &'static Gpu, op: &'static str, x: &Tensor) -> Result<Tensor> {
    let y = row_spectra(gpu, op, x, None)?;
    let address = y.address()?; // a column is read before it is written
    let pass = FourierPass::columns(gpu, op, x.dims4(op)?, y.dtype())?;
    pass.launch(gpu, FOURIER_COLUMNS, y.dtype(), [address, address], &[])?;
    y.to_dtype(x.dtype())
}

/// The half spectra of the rows of `x`, or of `x` less `minus`, in the type that is computed in.
pub(in crate::ops) fn row_spectra(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    minus: Option<&Tensor>,
) -> Result<Tensor> {
    let (shape @ [n, c, h, w], dtype) = (x.dims4(op)?, computed_in(x.dtype()));
    let x = x.to_dtype(dtype)?.contiguous()?;
    let minus = minus.map(|minus| minus.to_dtype(dtype)?.contiguous()).transpose()?;
    let half = Tensor::new_on_gpu(gpu, &[n, c, h, w / 2 + 1, 2], dtype)?;
    let addresses = [half.address()?, x.address()?, minus.as_ref().map_or(Ok(0), Tensor::address)?];
    FourierPass::rows(gpu, op, shape, dtype)?.launch(gpu, FOURIER_ROWS, dtype, addresses, &[])?;
    Ok(half)
}

/// The adjoint: the gradient of a half spectrum to that of the map of shape `shape` it came from.
pub(super) fn adjoint(
    gpu: &'static Gpu,
    op: &'static str,
    dy: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    let (to, dtype) = (dy.dtype(), computed_in(dy.dtype()));
    let dy = dy.to_dtype(dtype)?.row_major()?;
    let half = Tensor::new_on_gpu(gpu, dy.shape(), dtype)?;
    let addresses = [half.address()?, dy.address()?];
    let shape = Meta { shape: shape.to_vec(), dtype }.dims4(op)?;
    let pass = FourierPass::columns(gpu, op, shape, dtype)?;
    pass.launch(gpu, FOURIER_ADJOINT_COLUMNS, dtype, addresses, &[])?;
    adjoint_rows(gpu, op, &half, shape, to)
}

/// The adjoint's second pass: the maps, of type `to`, from their rows' half spectra.
pub(in crate::ops) fn adjoint_rows(
    gpu: &'static Gpu,
    op: &'static str,
    half: &Tensor,
    shape: [usize; 4],
    to: DType,
) -> Result<Tensor> {
    let dtype = half.dtype();
    let y = Tensor::new_on_gpu(gpu, &shape, dtype)?;
    let addresses = [y.address()?, half.address()?];
    FourierPass::rows(gpu, op, shape, dtype)?.launch(
        gpu,
        FOURIER_ADJOINT_ROWS,
        dtype,
        addresses,
        &[],
    )?;
    y.to_dtype(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Rng, Tape};

    /// The largest difference of the transform and its adjoint on the GPU from the CPU's in f64,
    /// relative to the largest number.
    fn distance(shape: [usize; 4], dtype: DType) -> f64 {
        let mut rng = Rng::new(1);
        let x = Tensor::randn(&shape, DType::F64, &mut rng).unwrap().to_dtype(dtype).unwrap();
        let dy = Tensor::randn(
            &[shape[0], shape[1], shape[2], shape[3] / 2 + 1, 2],
            DType::F64,
            &mut rng,
        )
        .unwrap();
        let dy = dy.to_dtype(dtype).unwrap();
        let run = |x: &Tensor, dy: Tensor| {
            let tape = Tape::new();
            let leaf = tape.leaf(x);
            let y = leaf.rfft2().unwrap();
            let mut gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
            [y.detach().to_f64_vec().unwrap(), gradients.take(&leaf).unwrap().to_f64_vec().unwrap()]
        };
        let exact = run(&x.to_dtype(DType::F64).unwrap(), dy.to_dtype(DType::F64).unwrap());
        let there =
            run(&x.to_device(Device::Cuda(0)).unwrap(), dy.to_device(Device::Cuda(0)).unwrap());
        let far = exact.iter().zip(&there).map(|(exact, there)| {
            let largest = exact.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let differences = exact.iter().zip(there).map(|(a, b)| (a - b).abs() / largest);
            differences.fold(0.0, |m: f64, d| if d > m || d.is_nan() { d } else { m })
        });
        far.fold(0.0, |m: f64, d| if d > m || d.is_nan() { d } else { m })
    }

    #[test]
    fn every_kind_of_length_is_transformed_on_the_gpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        // Powers of four and of two, mixed radices, large primes, one row or column, more channels
        // than a block takes lines.
        let shapes = [
            [1, 3, 64, 128],
            [1, 1, 256, 32],
            [2, 3, 30, 45],
            [1, 2, 49, 46],
            [1, 1, 67, 101],
            [1, 5, 1, 97],
            [1, 19, 33, 1],
            [0, 3, 4, 4],
            [3, 0, 4, 4],
        ];
        for shape in shapes {
            for (dtype, tolerance) in
                [(DType::F64, 1e-14), (DType::F32, 1e-6), (DType::F16, 1e-3), (DType::BF16, 8e-3)]
            {
                let distance = distance(shape, dtype);
                assert!(distance < tolerance, "{shape:?} {dtype}: {distance:e}");
            }
        }
    }

    #[test]
    fn lines_too_long_for_shared_memory_are_transformed_too() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let shapes = [
            ([1, 1, 15, 4100], DType::F32),
            ([1, 3, 6000, 4], DType::F32),
            ([1, 1, 3, 2187], DType::F64),
        ];
        for (shape, dtype) in shapes {
            let distance = distance(shape, dtype);
            let tolerance = if dtype == DType::F64 { 1e-14 } else { 1e-6 };
            assert!(distance < tolerance, "{shape:?} {dtype}: {distance:e}");
        }
    }

    #[test]
    fn frequencies_that_are_zero_by_symmetry_are_exactly_zero() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for (h, w) in [(6, 10), (12, 14), (5, 6), (1, 2)] {
            let x = Tensor::randn(&[1, 1, h, w], DType::F32, &mut Rng::new(2))
                .unwrap()
                .to_device(Device::Cuda(0))
                .unwrap();
            let spectrum = x.rfft2().unwrap().to_f64_vec().unwrap();
            let mirrors = |n: usize| if n.is_multiple_of(2) { vec![0, n / 2] } else { vec![0] };
            for (k, l) in
                mirrors(h).into_iter().flat_map(|k| mirrors(w).into_iter().map(move |l| (k, l)))
            {
                assert_eq!(spectrum[(k * (w / 2 + 1) + l) * 2 + 1], 0.0, "{h}×{w} at {k}, {l}");
            }
        }
    }

    #[test]
    fn lengths_are_taken_apart() {
        assert_eq!(radices(1), []);
        assert_eq!(radices(512), [4, 4, 4, 4, 2]);
        assert_eq!(radices(720), [4, 4, 3, 3, 5]);
        assert_eq!(radices(736), [4, 4, 2, 23]);
        assert_eq!(radices(2 * 49 * 101), [2, 7, 7, 101]);
        assert_eq!(radices(65537), [65537]);
    }

    #[test]
    fn roots_mirror_each_other_exactly() {
        for n in [1, 2, 3, 8, 12, 30] {
            for k in 0..n {
                let (angle, [re, im]) = (std::f64::consts::TAU * k as f64 / n as f64, root(k, n));
                assert!(
                    (re - angle.cos()).abs() < 1e-15 && (im + angle.sin()).abs() < 1e-15,
                    "{k}/{n}"
                );
                let [mirrored, turned] = root((n - k) % n, n);
                assert_eq!([re, im], [mirrored, -turned], "{k}/{n}");
            }
        }
        assert_eq!(
            [0, 1, 2, 3].map(|k| root(k, 4)),
            [[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]]
        );
    }
}
