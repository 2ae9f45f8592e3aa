//! GPU kernels that several operations use, with results as tensors.

use crate::cuda::{self, DeviceView, Gpu};
use crate::loop_nest::{broadcast, output_layout};
use crate::{Layout, Result, Tensor};
use kernels::Packable;

/// Applies `kernel` to the elements of `inputs` at each index of `shape`, to which every input must
/// broadcast. `constants` are the parameters of the few kernels that have some: `Constants` in
/// `pointwise.cu`.
pub(super) fn pointwise(
    gpu: &'static Gpu,
    kernel: Packable,
    shape: &[usize],
    inputs: &[&Tensor],
    constants: [f64; 2],
) -> Result<Tensor> {
    let layouts =
        broadcast(kernel.single.name(), shape, inputs.iter().map(|input| input.layout()))?;
    let y = Tensor::on_gpu(gpu, output_layout(shape, &layouts), inputs[0].dtype())?;
    pointwise_into(gpu, kernel, &y, inputs, constants)?;
    Ok(y)
}

/// Like [`pointwise`], but into the memory of `y`, which is dense, has the shape of the result and
/// may be among the inputs.
pub(super) fn pointwise_into(
    gpu: &'static Gpu,
    kernel: Packable,
    y: &Tensor,
    inputs: &[&Tensor],
    constants: [f64; 2],
) -> Result<()> {
    let inputs: Vec<DeviceView<'_>> =
        inputs.iter().map(|x| x.cuda_view()).collect::<Result<_>>()?;
    cuda::pointwise(gpu, kernel, y.cuda_view()?, &inputs, constants)
}

/// Copies `x` into the part of `to`'s storage that `region`, of the shape of `x`, describes.
pub(super) fn copy_region(
    gpu: &'static Gpu,
    op: &'static str,
    to: &Tensor,
    region: &Layout,
    x: &Tensor,
) -> Result<()> {
    cuda::copy_region(gpu, op, to.cuda_view()?, region, x.cuda_view()?)
}
