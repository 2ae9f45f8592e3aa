//! Convolutions in main memory: tensors in, the kernels of `cpu/convolution` on their slices.

use super::convolution::Convolution;
use super::prepared::{PackedWeight, Prepared, as_channels_last, weight_sums};
use super::shapes::OP;
use crate::conv::{Conv2dOptions, Epilogue};
use crate::cpu::convolution::read;
use crate::cpu::gelu::Gelu;
use crate::{Error, Meta, Result, Tensor, dispatch_float};

/// The convolution with its epilogue: like `out`; added onto `onto`, a residual in whose memory the
/// result is made, if there is one.
pub(super) fn convolve(
    convolution: Convolution<'_>,
    epilogue: Epilogue<&Tensor>,
    out: &Meta,
    onto: Option<Tensor>,
) -> Result<Tensor> {
    dispatch_float!(OP, out.dtype, T => {
        compute::<T>(convolution, epilogue, out, onto)
    })
}

fn compute<T: Gelu>(
    convolution: Convolution<'_>,
    epilogue: Epilogue<&Tensor>,
    out: &Meta,
    onto: Option<Tensor>,
) -> Result<Tensor> {
    let Convolution { direction, options, weight, packed, x } = convolution;
    let x = x.contiguous()?;
    let x = as_channels_last::<T>(&x)?;
    // Operands have the layout of the output; the bias is a row.
    let operands = epilogue.try_map(|operand| operand.contiguous())?;
    let slices = operands.as_ref().try_map(|operand| operand.dense_data::<T>(OP))?;
    let size = (out.shape[2], out.shape[3]);
    // Packs the weight only once there is memory for the result.
    let write = |y: &mut [T], onto: bool| match packed.and_then(PackedWeight::get::<T>) {
        Some(prepared) => prepared.convolve(x, y, size, slices, onto),
        None => Prepared::new(direction, options, weight)?.convolve(x, y, size, slices, onto),
    };
    let Some(mut onto) = onto else {
        return Tensor::try_build(&out.shape, |y| write(y, false));
    };
    let y = onto
        .exclusive_data::<T>()
        .ok_or_else(|| Error::tape(OP, "another tensor shares the memory of the residual"))?;
    write(y, true)?;
    Ok(onto)
}

/// The gradient of a weight of `shape` between `x`, or its GELU, and `dy`.
pub(super) fn weight_gradient(
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    gelu_input: bool,
) -> Result<Tensor> {
    dispatch_float!(OP, dy.dtype(), T => {
        weight_sums::<T>(options, x, dy, shape, read(gelu_input))
    })
}
