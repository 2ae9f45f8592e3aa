//! Max pooling on a GPU: see `resample.cu`. Nothing is kept but the input: the gradient's kernels look for the maxima again.

use super::Windows;
use super::max::{OP, output};
use crate::cuda::{Gpu, Launch};
use crate::{Result, Tensor};

/// As in `resample.cu`: images, channels, height, width, rows, cols, kernel, stride.
fn description(x: &Tensor, windows: Windows) -> Result<[u32; 8]> {
    crate::cuda::count(OP, x)?;
    let [n, c, h, w] = x.dims4(OP)?;
    let [rows, cols] = output(windows, h, w);
    Ok([n, c, h, w, rows, cols, windows.kernel, windows.stride.min(h.max(w))].map(|size| size as u32))
}

/// The name of `kernel`'s form for maps of `channels` channels at these addresses, and the channels of a thread.
fn form(kernel: &str, channels: usize, element: usize, addresses: &[u64]) -> (String, usize) {
    let pack = 16 / element;
    if channels.is_multiple_of(pack) && addresses.iter().all(|address| address % 16 == 0) {
        return (format!("{kernel}_packed"), pack);
    }
    (kernel.into(), 1)
}

pub(super) fn forward(gpu: &'static Gpu, x: &Tensor, windows: Windows) -> Result<Tensor> {
    let (x, description) = (x.standard()?, description(x, windows)?);
    let [n, c, h, w] = x.dims4(OP)?;
    let [rows, cols] = output(windows, h, w);
    let y = Tensor::new_on_gpu(gpu, &[n, c, rows, cols], x.dtype())?;
    let addresses = [y.address()?, x.address()?];
    let (kernel, lanes) = form("max_pool", c, x.dtype().size(), &addresses);
    Launch::each("resample", &kernel, x.dtype(), y.numel() / lanes)
        .run(gpu, &[&addresses[0], &addresses[1], &description])?;
    Ok(y)
}

pub(super) fn backward(gpu: &'static Gpu, x: &Tensor, dy: &Tensor, windows: Windows) -> Result<Tensor> {
    let (x, dy, description) = (x.standard()?, dy.standard()?, description(x, windows)?);
    let dx = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
    let addresses = [dx.address()?, x.address()?, dy.address()?];
    let (name, threads) = match windows.stride >= windows.kernel {
        true => ("max_pool_cells", dy.numel()),
        false => ("max_pool_overlapping", dx.numel()),
    };
    let (kernel, lanes) = form(name, x.shape()[1], x.dtype().size(), &addresses);
    Launch::each("resample", &kernel, x.dtype(), threads / lanes)
        .run(gpu, &[&addresses[0], &addresses[1], &addresses[2], &description])?;
    Ok(dx)
}
