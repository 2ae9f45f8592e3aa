//! Matrix products on a GPU.

use crate::cuda::{Gpu, Launch};
use crate::loop_nest::LoopNest;
use crate::ops::reduce;
use crate::{Error, Layout, Result, Tensor};

/// The same as in `matmul.cu`.
const RANK: usize = 8;
const TILE: usize = 64;
const DEPTH: usize = 16;

/// Blocks that keep any GPU busy, and the shortest piece of K worth a block.
const BLOCKS: usize = 256;
const PIECE: usize = 256;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Operand {
    lanes: u32,
    lane_stride: u32,
    depth_stride: u32,
    batch_strides: [u32; RANK],
}

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Product {
    a: Operand,
    b: Operand,
    k: u32,
    piece: u32,
    rank: u32,
    sizes: [u32; RANK],
}

/// The row-major product `shape`, `[.., M, N]`, of `a` and `b` seen through `layouts`, `[.., M, K]`
/// and `[.., K, N]`, which agree in the leading dimensions; for `op`.
pub(super) fn product(
    gpu: &'static Gpu,
    op: &'static str,
    shape: &[usize],
    [a, b]: [&Tensor; 2],
    layouts: [&Layout; 2],
) -> Result<Tensor> {
    let y = Tensor::on_gpu(gpu, Layout::row_major_of(shape), a.dtype())?;
    let (batch, [m, k, n], strides) = split(layouts);
    if y.numel() == 0 {
        return Ok(y);
    }
    if k == 0 {
        return Ok(Tensor::zeros_on_gpu(gpu, shape, a.dtype())?.view(y.layout().clone()));
    }
    let too_large =
        || Error::cuda(op, format!("the product {shape:?} is too large for a GPU kernel"));
    let number = |number: usize| u32::try_from(number).map_err(|_| too_large());
    let operand = |lanes: usize, [lane, depth]: [usize; 2]| {
        let batch_strides = [0; RANK];
        Ok(Operand {
            lanes: number(lanes)?,
            lane_stride: number(lane)?,
            depth_stride: number(depth)?,
            batch_strides,
        })
    };
    let count: usize = batch[0].shape().iter().product();
    let tiles = m.div_ceil(TILE) * n.div_ceil(TILE) * count;
    let pieces = k.div_ceil(PIECE).min((BLOCKS / tiles).max(1));
    let piece = k.div_ceil(pieces).next_multiple_of(DEPTH);
    let pieces = k.div_ceil(piece);
    let mut product = Product {
        a: operand(m, strides[0])?,
        b: operand(n, strides[1])?,
        k: number(k)?,
        piece: number(piece)?,
        rank: 0,
        sizes: [1; RANK],
    };
    let rows = LoopNest::new(&Layout::row_major_of(batch[0].shape()), [&batch[0], &batch[1]]);
    if rows.sizes().len() > RANK {
        return Err(too_large());
    }
    product.rank = rows.sizes().len() as u32;
    for (d, (&size, strides)) in rows.sizes().iter().zip(rows.strides()).rev().enumerate() {
        product.sizes[d] = number(size)?;
        product.a.batch_strides[d] = number(strides[0])?;
        product.b.batch_strides[d] = number(strides[1])?;
    }
    let partial = match pieces {
        1 => None,
        _ => Some(reduce::cuda::partial(gpu, &y, pieces as u32)?),
    };
    let address = partial.as_ref().map_or(Ok(0), Tensor::address)?;
    Launch::blocks(kernels::matmul::MATMUL, a.dtype(), [tiles, pieces, 1])
        .run(gpu, &[&y.address()?, &address, &a.address()?, &b.address()?, &product])?;
    if let Some(partial) = partial {
        reduce::cuda::fold_pieces(gpu, reduce::cuda::SUM, &y, &partial, 1.0)?;
    }
    Ok(y)
}

/// The layouts of the batches, without offsets; M, K and N; and the strides of A's M and K and of
/// B's N and K.
fn split([a, b]: [&Layout; 2]) -> ([Layout; 2], [usize; 3], [[usize; 2]; 2]) {
    let at = a.rank() - 2;
    let batch = |layout: &Layout| {
        Layout::from_parts(layout.shape()[..at].to_vec(), layout.strides()[..at].to_vec(), 0)
    };
    let (shape, a_strides, b_strides) = (a.shape(), a.strides(), b.strides());
    let strides = [[a_strides[at], a_strides[at + 1]], [b_strides[at + 1], b_strides[at]]];
    ([batch(a), batch(b)], [shape[at], shape[at + 1], b.shape()[at + 1]], strides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, Rng};

    #[test]
    fn tiles_pieces_and_batches_agree_with_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let cases: [(&[usize], &[usize]); 7] = [
            (&[130, 67], &[67, 70]),
            (&[64, 16], &[16, 64]),
            (&[65, 5000], &[5000, 3]),
            (&[3, 1, 20, 33], &[2, 33, 80]),
            (&[5, 7, 300], &[300, 66]),
            (&[2, 1, 600], &[2, 600, 1]),
            (&[2, 0], &[0, 3]),
        ];
        for (i, (a, b)) in cases.into_iter().enumerate() {
            for (dtype, tolerance) in
                [(DType::F64, 1e-11), (DType::F32, 1e-4), (DType::F16, 1e-3), (DType::BF16, 8e-3)]
            {
                let rng = &mut Rng::new(i as u64);
                let mut draw = |shape: &[usize]| {
                    Tensor::randn(shape, DType::F64, rng).unwrap().to_dtype(dtype).unwrap()
                };
                let (a, b) = (draw(a), draw(b));
                let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
                let expected = wide(&a).matmul(&wide(&b)).unwrap().to_f64_vec().unwrap();
                let largest = expected.iter().fold(1.0, |m, e| f64::max(m, e.abs()));
                let there = |x: &Tensor| x.to_device(Device::Cuda(0)).unwrap();
                // As they are, and from transposed memory.
                let transposed = |x: &Tensor| {
                    let rank = x.rank();
                    let copy = x.transpose(rank - 2, rank - 1).unwrap().row_major().unwrap();
                    copy.transpose(rank - 2, rank - 1).unwrap()
                };
                for (a, b) in
                    [(there(&a), there(&b)), (transposed(&there(&a)), transposed(&there(&b)))]
                {
                    let y = a.matmul(&b).unwrap().to_f64_vec().unwrap();
                    assert_eq!(y.len(), expected.len());
                    let worst =
                        y.iter().zip(&expected).map(|(y, e)| (y - e).abs()).fold(0.0, f64::max);
                    assert!(
                        worst <= tolerance * largest,
                        "{:?} × {:?} in {dtype}: {worst:e}",
                        a.shape(),
                        b.shape()
                    );
                }
            }
        }
    }
}
