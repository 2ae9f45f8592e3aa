//! Softmax on a GPU: one launch each way.

use super::Softmax;
use crate::cuda::{Gpu, Part, Plan};
use crate::ops::Op;
use crate::{Layout, Result, Tensor};

pub(super) fn forward(gpu: &'static Gpu, x: &Tensor, dim: usize) -> Result<Tensor> {
    let x = x.standard()?;
    let y = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
    run(gpu, "softmax", dim, &y, &[&x])?;
    Ok(y)
}

/// `y` is the output, which is standard.
pub(super) fn backward(gpu: &'static Gpu, y: &Tensor, dy: &Tensor, dim: usize) -> Result<Tensor> {
    let dx = Tensor::new_on_gpu(gpu, y.shape(), y.dtype())?;
    run(gpu, "softmax_gradient", dim, &dx, &[y, &dy.standard()?])?;
    Ok(dx)
}

/// `kernel` from `inputs` to `to`, all of one shape and standard.
fn run(gpu: &'static Gpu, kernel: &'static str, dim: usize, to: &Tensor, inputs: &[&Tensor]) -> Result<()> {
    if to.numel() == 0 {
        return Ok(());
    }
    let rows = to.layout().slice(dim, 0, 1, 1);
    let reduced = Layout::from_parts(vec![to.shape()[dim]], vec![to.layout().strides()[dim]], 0);
    let (kept, reduced) = (Part::new(Softmax::NAME, &rows, &rows)?, Part::new(Softmax::NAME, &reduced, &reduced)?);
    let mut addresses = vec![to.address()?];
    for input in inputs {
        addresses.push(input.address()?);
    }
    let plan = Plan::new(kept, reduced, to.dtype(), &addresses, false);
    let mut arguments: Vec<&dyn crate::cuda::Argument> = Vec::new();
    arguments.extend(addresses.iter().map(|address| address as &dyn crate::cuda::Argument));
    arguments.push(&plan.reduction);
    plan.launch("softmax", kernel, to.dtype(), &mut String::new()).run(gpu, &arguments)
}
