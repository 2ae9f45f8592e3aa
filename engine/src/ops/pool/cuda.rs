//! Max pooling on a GPU: see `resample.cu`. Only the input is saved: the gradient's kernels look
//! for the maxima again.

use super::cpu::{OP, output};
use super::windows::Windows;
use crate::cuda::{Gpu, Launch, has_forms};
use crate::{DType, Result, Tensor};
use kernels::resample::{MAX_POOL, MAX_POOL_CELLS, MAX_POOL_OVERLAPPING};
use kernels::{Kernel, Packable};

/// The same as in `resample.cu`: images, channels, height, width, rows, cols, kernel, stride.
fn description(x: &Tensor, windows: Windows) -> Result<[u32; 8]> {
    crate::cuda::count(OP, x.shape())?;
    let [n, c, h, w] = x.dims4(OP)?;
    let [rows, cols] = output(windows, h, w);
    Ok([n, c, h, w, rows, cols, windows.kernel, windows.stride.min(h.max(w))]
        .map(|size| size as u32))
}

/// The form of `kernel` for maps of `channels` channels at these addresses, and the channels of a
/// thread.
fn form(kernel: Packable, channels: usize, dtype: DType, addresses: &[u64]) -> (Kernel, usize) {
    let pack = 16 / dtype.size();
    let aligned = addresses.iter().all(|address| address % 16 == 0);
    match has_forms(dtype) && channels.is_multiple_of(pack) && aligned {
        true => (kernel.packed, pack),
        false => (kernel.single, 1),
    }
}

pub(super) fn forward(gpu: &'static Gpu, x: &Tensor, windows: Windows) -> Result<Tensor> {
    let (x, description) = (x.contiguous()?, description(x, windows)?);
    let [n, c, h, w] = x.dims4(OP)?;
    let [rows, cols] = output(windows, h, w);
    let y = Tensor::new_on_gpu(gpu, &[n, c, rows, cols], x.dtype())?;
    let addresses = [y.address()?, x.address()?];
    let (kernel, lanes) = form(MAX_POOL, c, x.dtype(), &addresses);
    Launch::each(kernel, x.dtype(), y.numel() / lanes)
        .run(gpu, &[&addresses[0], &addresses[1], &description])?;
    Ok(y)
}

pub(super) fn backward(
    gpu: &'static Gpu,
    x: &Tensor,
    dy: &Tensor,
    windows: Windows,
) -> Result<Tensor> {
    let (x, dy, description) = (x.contiguous()?, dy.contiguous()?, description(x, windows)?);
    let dx = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
    let addresses = [dx.address()?, x.address()?, dy.address()?];
    let (kernel, threads) = match windows.stride >= windows.kernel {
        true => (MAX_POOL_CELLS, dy.numel()),
        false => (MAX_POOL_OVERLAPPING, dx.numel()),
    };
    let (kernel, lanes) = form(kernel, x.shape()[1], x.dtype(), &addresses);
    Launch::each(kernel, x.dtype(), threads / lanes)
        .run(gpu, &[&addresses[0], &addresses[1], &addresses[2], &description])?;
    Ok(dx)
}

#[cfg(test)]
mod tests {
    use crate::{DType, Device, Rng, Tape, Tensor};

    /// Value and gradient, which all types have exactly. The elements are few, so that many are
    /// equal, and one is NaN.
    #[test]
    fn maxima_and_their_gradients_are_those_of_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(1);
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            for (kernel, stride, channels) in [
                (2, 2, 8),
                (8, 8, 8),
                (2, 5, 3),
                (3, 2, 8),
                (5, 1, 1),
                (3, 100, 8),
                (1, 1, 5),
                (19, 1, 8),
            ] {
                let mut values: Vec<f64> =
                    (0..2 * channels * 19 * 22).map(|_| (rng.uniform() * 6.0).floor()).collect();
                values[100] = f64::NAN;
                let x = Tensor::from_slice(&values, &[2, channels, 19, 22]).unwrap();
                let run = |x: &Tensor| {
                    let tape = Tape::new();
                    let x = tape.leaf(x);
                    let y = x.max_pool2d(kernel, stride).unwrap();
                    let ones =
                        Tensor::ones(y.shape(), y.dtype()).unwrap().to_device(y.device()).unwrap();
                    let mut gradients = tape.backward_from(&[&y], vec![Some(ones)]).unwrap();
                    [y.detach(), gradients.take(&x).unwrap()]
                        .map(|t| format!("{:?}", t.to_f64_vec().unwrap()))
                };
                let found = run(&x.to_dtype(dtype).unwrap().to_device(Device::Cuda(0)).unwrap());
                assert_eq!(
                    found,
                    run(&x),
                    "{dtype}, {kernel}×{kernel}, stride {stride}, {channels} channels"
                );
            }
        }
    }
}
