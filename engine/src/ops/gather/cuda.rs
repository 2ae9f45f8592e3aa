//! Choosing by indices, its adjoint, and vectors of indices on a GPU: a launch each.

use super::cpu::chosen;
use crate::cuda::{Gpu, Launch};
use crate::loop_nest::LoopNest;
use crate::{Error, Layout, Meta, Result, Tensor};

/// The same as in `gather.cu`.
const RANK: usize = 8;

/// Threads that keep any GPU busy.
const THREADS: usize = 1 << 16;

/// A loop nest over three tensors, innermost dimension first.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Loops {
    count: u32,
    rank: u32,
    sizes: [u32; RANK],
    strides: [[u32; RANK]; 3],
}

impl Loops {
    /// In the memory order of `order`, through these layouts.
    fn new(op: &'static str, order: &Layout, layouts: [&Layout; 3]) -> Result<Self> {
        let nest = LoopNest::new(order, layouts);
        let (sizes, strides) = (nest.sizes(), nest.strides());
        if sizes.len() > RANK {
            return Err(too_large(op, order.shape()));
        }
        let number = |size: usize| number(op, order.shape(), size);
        let mut loops = Self {
            count: crate::cuda::count(op, order.shape())?,
            rank: sizes.len() as u32,
            sizes: [1; RANK],
            strides: [[0; RANK]; 3],
        };
        for (d, (&size, strides)) in sizes.iter().zip(strides).rev().enumerate() {
            loops.sizes[d] = number(size)?;
            for (k, &stride) in strides.iter().enumerate() {
                loops.strides[k][d] = number(stride)?;
            }
        }
        Ok(loops)
    }
}

/// The dimension along which indices count.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Chosen {
    size: u32,
    stride: u32,
}

impl Chosen {
    fn new(op: &'static str, dim: usize, layout: &Layout) -> Result<Self> {
        let number = |size: usize| number(op, layout.shape(), size);
        Ok(Self { size: number(layout.shape()[dim])?, stride: number(layout.strides()[dim])? })
    }
}

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Lines {
    parts: u32,
    part: u32,
    count: u32,
    gradient_stride: u32,
    indices_stride: u32,
}

/// The elements of `x` along `dim` that `indices` choose, or NaN.
pub(super) fn gather(
    gpu: &'static Gpu,
    op: &'static str,
    dim: usize,
    x: &Tensor,
    indices: &Tensor,
) -> Result<Tensor> {
    crate::dispatch::require_compute(op, x.dtype())?;
    let y = Tensor::new_on_gpu(gpu, indices.shape(), x.dtype())?;
    let from = chosen(dim, x.layout(), indices.shape());
    let loops = Loops::new(op, y.layout(), [&from, indices.layout(), y.layout()])?;
    let chosen = Chosen::new(op, dim, x.layout())?;
    Launch::each(kernels::gather::GATHER, x.dtype(), y.numel())
        .run(gpu, &[&y.address()?, &x.address()?, &indices.address()?, &loops, &chosen])?;
    Ok(y)
}

/// The sums of `dy` by the elements of a tensor of `shape` that `indices` along `dim` choose, made
/// in the type that the GPU computes in.
pub(super) fn scatter_add(
    gpu: &'static Gpu,
    op: &'static str,
    dim: usize,
    shape: &[usize],
    dy: &Tensor,
    indices: &Tensor,
) -> Result<Tensor> {
    let dx = Tensor::zeros_on_gpu(gpu, shape, crate::cuda::computed_in(dy.dtype()))?;
    if dx.numel() > 0 {
        let line = |layout: &Layout| layout.slice(dim, 0, 1, 1);
        let lines =
            [&chosen(dim, dx.layout(), dy.shape()), dy.layout(), indices.layout()].map(line);
        let order = Layout::of(lines[0].shape());
        let loops = Loops::new(op, &order, lines.each_ref())?;
        let chosen = Chosen::new(op, dim, dx.layout())?;
        let number = |size: usize| number(op, dy.shape(), size);
        let size = shape[dim];
        let part = size.div_ceil((THREADS / loops.count as usize).clamp(1, size));
        let lines = Lines {
            parts: number(size.div_ceil(part))?,
            part: number(part)?,
            count: number(dy.shape()[dim])?,
            gradient_stride: number(dy.layout().strides()[dim])?,
            indices_stride: number(indices.layout().strides()[dim])?,
        };
        let threads = loops.count as usize * lines.parts as usize;
        number(threads)?;
        Launch::each(kernels::gather::SCATTER_ADD, dy.dtype(), threads).run(
            gpu,
            &[&dx.address()?, &dy.address()?, &indices.address()?, &loops, &chosen, &lines],
        )?;
    }
    dx.to_dtype(dy.dtype())
}

/// `indices` as vectors of ones and zeros.
pub(super) fn one_hot(
    gpu: &'static Gpu,
    op: &'static str,
    indices: &Tensor,
    out: &Meta,
) -> Result<Tensor> {
    crate::dispatch::require_compute(op, out.dtype)?;
    let y = Tensor::new_on_gpu(gpu, &out.shape, out.dtype)?;
    let last = indices.rank();
    let along = |strides: Vec<usize>| Layout::from_parts(out.shape.clone(), strides, 0);
    let mut repeated = indices.layout().strides().to_vec();
    repeated.push(0);
    let mut numbers = vec![0; last + 1];
    numbers[last] = 1;
    let (repeated, numbers) = (along(repeated), along(numbers));
    let loops = Loops::new(op, y.layout(), [&repeated, &numbers, y.layout()])?;
    Launch::each(kernels::gather::ONE_HOT, out.dtype, y.numel())
        .run(gpu, &[&y.address()?, &indices.address()?, &loops])?;
    Ok(y)
}

fn number(op: &'static str, shape: &[usize], number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| too_large(op, shape))
}

fn too_large(op: &'static str, shape: &[usize]) -> Error {
    Error::cuda(op, format!("shape {shape:?} is too large for a GPU kernel"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, Rng, Tape};

    #[test]
    fn many_equal_indices_are_summed_in_the_order_of_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let rng = &mut Rng::new(5);
        let draws: Vec<i64> = (0..700).map(|_| (rng.uniform() * 9.0) as i64).collect();
        for (shape, dim) in [(vec![9, 5], 0), (vec![6, 9], 1), (vec![9], 0), (vec![2, 9, 3, 4], 1)]
        {
            let draws = Tensor::from_slice(&draws, &[700]).unwrap();
            let mut seed = shape.clone();
            seed[dim] = 700;
            let dy = Tensor::randn(&seed, DType::F32, rng).unwrap();
            let gradient = |device: Device| {
                let tape = Tape::new();
                let x = Tensor::randn(&shape, DType::F32, &mut Rng::new(1)).unwrap();
                let x = tape.leaf(&x.to_device(device).unwrap());
                let y = x.index_select(dim, &draws.to_device(device).unwrap()).unwrap();
                let dy = dy.to_device(device).unwrap();
                let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
                [y.to_f64_vec().unwrap(), gradients.get(&x).unwrap().to_f64_vec().unwrap()]
            };
            assert!(gradient(Device::Cuda(0)) == gradient(Device::Cpu), "{shape:?} along {dim}");
        }
    }

    #[test]
    fn an_index_out_of_bounds_chooses_nan_and_gets_nothing() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let there = |x: Tensor| x.to_device(Device::Cuda(0)).unwrap();
        let indices = there(Tensor::from_slice(&[1i64, -1, 3, i64::MAX], &[4]).unwrap());
        let tape = Tape::new();
        let x = tape.leaf(&there(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3]).unwrap()));
        let y = x.index_select(0, &indices).unwrap();
        let values = y.to_f64_vec().unwrap();
        assert!(values[0] == 2.0 && values[1..].iter().all(|y| y.is_nan()));
        let dy = there(Tensor::ones(&[4], DType::F32).unwrap());
        let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_f64_vec().unwrap(), [0.0, 1.0, 0.0]);
        let vectors = indices.one_hot(2, DType::F16).unwrap().to_f64_vec().unwrap();
        assert_eq!(vectors, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
