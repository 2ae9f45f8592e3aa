//! Reductions on a GPU.

use super::kernel::{split, split_layout};
use crate::cuda::{Gpu, Launch, Part, Plan};
use crate::{DType, Layout, Result, Tensor};

/// The fold that `kernel` does of the elements over `dims`, times `scale`.
pub(super) fn fold(gpu: &'static Gpu, kernel: &'static str, x: &Tensor, dims: &[usize], scale: f64) -> Result<Tensor> {
    let (kept, reduced) = split(x, dims);
    let layout = Layout::new(kept.shape());
    if reduced.numel() == 0 {
        return Tensor::zeros_on_gpu(gpu, layout.shape(), x.dtype())?.scale(scale);
    }
    let y = Tensor::on_gpu(gpu, layout.clone(), x.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let (kept, reduced) = (Part::new(kernel, &layout, &kept)?, Part::new(kernel, &reduced, &reduced)?);
    let plan = Plan::new(kept, reduced, x.dtype(), &[x.address()?], true);
    let partial = match plan.pieces {
        1 => None,
        pieces => Some(partial(gpu, &y, pieces)?),
    };
    let partial_address = partial.as_ref().map_or(Ok(0), Tensor::address)?;
    let arguments = (y.address()?, partial_address, x.address()?);
    plan.launch("reduce", kernel, x.dtype(), &mut String::new())
        .run(gpu, &[&arguments.0, &arguments.1, &arguments.2, &plan.reduction, &scale])?;
    if let Some(partial) = partial {
        fold_pieces(gpu, kernel, &y, &partial, scale)?;
    }
    Ok(y)
}

/// Room for the results of so many pieces for each element of `y`, in the type that `y`'s is computed in.
pub(crate) fn partial(gpu: &'static Gpu, y: &Tensor, pieces: u32) -> Result<Tensor> {
    let real = if y.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    Tensor::new_on_gpu(gpu, &[pieces as usize, y.numel()], real)
}

/// Folds the pieces for each element of `y`, in its memory order, and scales the results.
pub(crate) fn fold_pieces(
    gpu: &'static Gpu,
    kernel: &'static str,
    y: &Tensor,
    partial: &Tensor,
    scale: f64,
) -> Result<()> {
    let plan = Plan::of_pieces(crate::cuda::count(kernel, y)?, partial.shape()[0] as u32);
    plan.launch("reduce", &format!("{kernel}_pieces"), y.dtype(), &mut String::new())
        .run(gpu, &[&y.address()?, &0u64, &partial.address()?, &plan.reduction, &scale])
}

/// `dy` at the first element, in logical order, that equals the maximum `y` or is NaN, and 0 elsewhere.
pub(super) fn max_backward(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    y: &Tensor,
    dy: &Tensor,
    dims: &[usize],
) -> Result<Tensor> {
    let dx = Tensor::zeros_on_gpu(gpu, x.shape(), x.dtype())?;
    if dx.numel() == 0 {
        return Ok(dx);
    }
    let (y, dy) = (y.standard()?, dy.standard()?);
    let parts = |layout: &Layout| {
        let (kept, reduced) = split_layout(layout, dims);
        Ok((Part::new(op, y.layout(), &kept)?, Part::new(op, &Layout::row_major(reduced.shape()), &reduced)?))
    };
    let (kept, reduced) = parts(x.layout())?;
    let plan = Plan::single(kept, reduced, true);
    // Numbers of 32 bits; there is no tensor of them.
    let places = Tensor::new_on_gpu(gpu, &[plan.pieces as usize, y.numel()], DType::F32)?;
    plan.launch("reduce", "max_places", x.dtype(), &mut String::new())
        .run(gpu, &[&places.address()?, &x.address()?, &y.address()?, &plan.reduction])?;
    let (kept, reduced) = parts(dx.layout())?;
    let walk = Plan::single(kept, reduced, false);
    Launch::each("reduce", "max_gradient", x.dtype(), y.numel())
        .run(gpu, &[&dx.address()?, &places.address()?, &plan.pieces, &dy.address()?, &walk.reduction])?;
    Ok(dx)
}
