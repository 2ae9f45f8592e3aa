//! Casts on a GPU, between the types that it computes in.

use super::Cast;
use crate::cuda::{Gpu, Launch};
use crate::ops::Op;
use crate::{DType, Error, Layout, Result, Tensor};

/// `x` as `to`.
pub(super) fn cast(gpu: &'static Gpu, x: &Tensor, to: DType) -> Result<Tensor> {
    let kernel = match to {
        DType::F32 => "cast_to_f32",
        DType::F64 => "cast_to_f64",
        DType::F16 => "cast_to_f16",
        DType::BF16 => "cast_to_bf16",
        DType::I64 | DType::U8 => {
            return Err(Error::dtype(Cast::NAME, "a floating-point type on a GPU", to));
        }
    };
    let x = if x.layout().is_dense() { x.clone() } else { x.contiguous()? };
    let layout = Layout::from_parts(x.shape().to_vec(), x.layout().strides().to_vec(), 0);
    let y = Tensor::on_gpu(gpu, layout, to)?;
    let count = crate::cuda::count(Cast::NAME, x.shape())?;
    Launch::each("cast", kernel, x.dtype(), x.numel())
        .run(gpu, &[&y.address()?, &x.address()?, &count])?;
    Ok(y)
}
