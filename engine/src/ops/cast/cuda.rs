//! Casts on a GPU, between the types that it computes in.

use crate::cuda::{Gpu, Launch};
use crate::{DType, Error, Layout, Result, Tensor};

/// `x` as `to`, for `op`.
pub(super) fn cast(gpu: &'static Gpu, op: &'static str, x: &Tensor, to: DType) -> Result<Tensor> {
    let kernel = match to {
        DType::F32 => kernels::cast::CAST_TO_F32,
        DType::F64 => kernels::cast::CAST_TO_F64,
        DType::F16 => kernels::cast::CAST_TO_F16,
        DType::BF16 => kernels::cast::CAST_TO_BF16,
        DType::I64 | DType::U8 => {
            return Err(Error::dtype(op, "a floating-point type on a GPU", to));
        }
    };
    let x = if x.layout().is_dense() { x.clone() } else { x.contiguous()? };
    let layout = Layout::from_parts(x.shape().to_vec(), x.layout().strides().to_vec(), 0);
    let y = Tensor::on_gpu(gpu, layout, to)?;
    let count = crate::cuda::count(op, x.shape())?;
    Launch::each(kernel, x.dtype(), x.numel()).run(gpu, &[&y.address()?, &x.address()?, &count])?;
    Ok(y)
}
