//! Convolutions on a GPU, with their epilogues, and the gradients of weights. `own.rs` launches our
//! kernels, `cudnn/` asks NVIDIA's library.
//!
//! The GELU of an input is a pass of its own: a convolution reads each number of x many times, and
//! would compute it as often. The rest of an epilogue is computed by the kernel that writes the
//! sums, or by `epilogue` of `convolution.cu` where that kernel is not ours.

mod cudnn;
mod epilogue;
mod own;
#[cfg(test)]
mod tests;

use super::convolution::Convolution;
use super::shapes::OP;
use crate::conv::{Conv2dOptions, Epilogue};
use crate::cuda::{Gpu, Launch, has_forms};
use crate::dispatch::on_device;
use crate::{Device, Meta, Result, Tensor};
use epilogue::EpilogueArguments;
use kernels::convolution::EPILOGUE;

impl Device {
    /// The name of what computes convolutions on this device: cuDNN, or our own kernels.
    ///
    /// ```
    /// assert_eq!(engine::Device::Cpu.convolutions()?, "the program's own kernels");
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If cuDNN is missing on a GPU, with the package to install.
    pub fn convolutions(self) -> Result<String> {
        let own = || "the program's own kernels".to_string();
        let on_gpu = |gpu, ()| {
            Ok(cudnn::Cudnn::of(gpu)?.map_or_else(own, |c| format!("cuDNN {}", c.version())))
        };
        on_device(self.gpu()?, (), |()| Ok(own()), on_gpu)
    }
}

/// The convolution with its epilogue: like `out`; added onto `onto`, a residual in whose memory the
/// result may be made, if there is one. Chooses between cuDNN and our own kernels.
pub(super) fn convolve(
    gpu: &'static Gpu,
    convolution: Convolution<'_>,
    epilogue: Epilogue<&Tensor>,
    out: &Meta,
    onto: Option<Tensor>,
) -> Result<Tensor> {
    let x = input(convolution.x, epilogue.gelu_input)?;
    let convolution = Convolution { x: &x, ..convolution };
    let operands = epilogue.try_map(|operand| operand.contiguous())?;
    // A kernel reads a number of the residual before it writes there.
    let residual = operands.residual.as_ref().or(onto.as_ref());
    let operands = operands.as_ref();
    let epilogue = Epilogue { gelu_input: false, residual, ..operands };
    if let Some(y) = by_cudnn(gpu, convolution, epilogue, &out.shape)? {
        return Ok(y);
    }
    let y = match &onto {
        Some(onto) => onto.detach(),
        None => Tensor::new_on_gpu(gpu, &out.shape, out.dtype)?,
    };
    own::convolve(gpu, convolution, &y, epilogue)?;
    Ok(y)
}

/// The gradient of a weight of `shape` between `x`, or its GELU, and `dy`.
pub(super) fn weight_gradient(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    gelu_input: bool,
) -> Result<Tensor> {
    weight_sums(gpu, options, &input(x, gelu_input)?, &dy.contiguous()?, shape)
}

/// The convolution's contiguous input.
fn input(x: &Tensor, gelu: bool) -> Result<Tensor> {
    if gelu { x.gelu()?.contiguous() } else { x.contiguous() }
}

/// The convolution by cuDNN, with as much of the epilogue as it takes, then a pass for the rest.
/// `None` if cuDNN does not have the convolution.
fn by_cudnn(
    gpu: &'static Gpu,
    Convolution { direction, options, x, weight, .. }: Convolution<'_>,
    epilogue: Epilogue<&Tensor>,
    shape: &[usize],
) -> Result<Option<Tensor>> {
    let weight = weight.contiguous()?;
    let Epilogue { bias, residual, .. } = epilogue;
    let sum = Epilogue { bias, residual, ..Epilogue::NONE };
    let mut attempts = Vec::new();
    if epilogue.gelu && epilogue.pre_activation.is_none() && epilogue.slope.is_none() {
        attempts.push((Epilogue { gelu: true, ..sum }, Epilogue::NONE));
    }
    if bias.is_some() || residual.is_some() {
        attempts.push((sum, Epilogue { bias: None, residual: None, ..epilogue }));
    }
    attempts.push((Epilogue::NONE, epilogue));
    for (with_it, rest) in attempts {
        if let Some(z) = cudnn::convolve(gpu, direction, options, x, &weight, with_it, shape)? {
            if rest.is_some() {
                finish(gpu, &z, &z, rest)?;
            }
            return Ok(Some(z));
        }
    }
    Ok(None)
}

/// Σ over pixels of `x` at each kernel element times `dy`, as a weight of `shape`. Chooses between
/// cuDNN and our own kernels.
fn weight_sums(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    match cudnn::weight_sums(gpu, options, x, dy, shape)? {
        Some(sums) => Ok(sums),
        None => own::weight_sums(gpu, options, x, dy, shape),
    }
}

/// The epilogue alone, of `z`, which was convolved elsewhere, into `y`, which may be `z` or an
/// operand.
fn finish(gpu: &'static Gpu, z: &Tensor, y: &Tensor, epilogue: Epilogue<&Tensor>) -> Result<()> {
    let (from, to, arguments) = (z.address()?, y.address()?, EpilogueArguments::new(epilogue)?);
    let (count, channels) = (crate::cuda::count(OP, z.shape())?, z.shape()[1]);
    let pack = 16 / z.dtype().size();
    let packed = has_forms(z.dtype())
        && channels.is_multiple_of(pack)
        && arguments.aligned(16)
        && from % 16 == 0
        && to % 16 == 0;
    let (kernel, threads) = match packed {
        true => (EPILOGUE.packed, z.numel() / pack),
        false => (EPILOGUE.single, z.numel()),
    };
    let channels = channels as u32;
    Launch::each(kernel, z.dtype(), threads).run(gpu, &[&to, &from, &count, &channels, &arguments])
}
