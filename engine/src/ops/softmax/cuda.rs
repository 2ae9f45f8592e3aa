//! Softmax and its logarithm on a GPU, in one launch each.

use crate::cuda::{Gpu, Part, ReductionLaunch};
use crate::{Layout, Result, Tensor};
use kernels::Folding;
use kernels::softmax::{SOFTMAX, SOFTMAX_GRADIENT};

/// Softmax along `dim`, or its logarithm.
pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    dim: usize,
    logarithm: bool,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
    launch(gpu, SOFTMAX, dim, &y, &[&x], Some(logarithm))?;
    Ok(y)
}

/// The gradient of softmax from `y`, the output, which is contiguous.
pub(super) fn backward(gpu: &'static Gpu, y: &Tensor, dy: &Tensor, dim: usize) -> Result<Tensor> {
    let dx = Tensor::new_on_gpu(gpu, y.shape(), y.dtype())?;
    launch(gpu, SOFTMAX_GRADIENT, dim, &dx, &[y, &dy.contiguous()?], None)?;
    Ok(dx)
}

/// Launches `kernel` from `inputs` to `to`, all of the same shape and contiguous.
fn launch(
    gpu: &'static Gpu,
    kernel: Folding,
    dim: usize,
    to: &Tensor,
    inputs: &[&Tensor],
    logarithm: Option<bool>,
) -> Result<()> {
    let rows = to.layout().slice(dim, 0, 1, 1);
    let reduced = Layout::from_parts(vec![to.shape()[dim]], vec![to.layout().strides()[dim]], 0);
    let op = kernel.single.name();
    let (kept, reduced) = (Part::new(op, &rows, &rows)?, Part::new(op, &reduced, &reduced)?);
    let mut addresses = vec![to.address()?];
    for input in inputs {
        addresses.push(input.address()?);
    }
    let reduction = ReductionLaunch::new(kept, reduced, to.dtype(), &addresses, false);
    let mut arguments: Vec<&dyn crate::cuda::Argument> = Vec::new();
    arguments.extend(addresses.iter().map(|address| address as &dyn crate::cuda::Argument));
    let logarithm = logarithm.map(u32::from);
    arguments.push(&reduction.reduction);
    arguments.extend(logarithm.iter().map(|number| number as &dyn crate::cuda::Argument));
    reduction.launch(kernel, to.dtype()).run(gpu, &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, Rng, Tape};

    #[test]
    fn long_rows_and_every_form_agree_with_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let cases: [(&[usize], usize); 6] = [
            (&[5, 1024], 1),
            (&[5, 1021], 1),
            (&[700, 40], 0),
            (&[700, 3], 0),
            (&[2, 8, 30, 20], 2),
            (&[2, 8, 9, 4], 1),
        ];
        for (shape, dim) in cases {
            for (dtype, tolerance) in
                [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 2e-3), (DType::BF16, 1e-2)]
            {
                let rng = &mut Rng::new(1);
                let mut draw = |scale| {
                    Tensor::randn(shape, DType::F64, rng)
                        .unwrap()
                        .scale(scale)
                        .unwrap()
                        .to_dtype(dtype)
                        .unwrap()
                };
                let (x, dy) = (draw(4.0), draw(1.0));
                let run = |f: fn(&Tensor, usize) -> Result<Tensor>, x: &Tensor, dy: &Tensor| {
                    let tape = Tape::new();
                    let leaf = tape.leaf(x);
                    let y = f(&leaf, dim).unwrap();
                    let gradients = tape.backward_from(&[&y], vec![Some(dy.clone())]).unwrap();
                    [y.to_f64_vec().unwrap(), gradients.get(&leaf).unwrap().to_f64_vec().unwrap()]
                };
                let there = |x: &Tensor| x.to_device(Device::Cuda(0)).unwrap();
                let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
                let run_there = |f| run(f, &there(&x), &there(&dy));
                let run_here = |f| run(f, &wide(&x), &wide(&dy));
                // The gradient of the logarithm takes the exponential of the output, which was
                // rounded when it was saved.
                type Function = fn(&Tensor, usize) -> Result<Tensor>;
                let functions: [(Function, [f64; 2]); 2] =
                    [(Tensor::softmax, [1.0, 1.0]), (Tensor::log_softmax, [1.0, 4.0])];
                for (f, factors) in functions {
                    let pairs = run_there(f).into_iter().zip(run_here(f));
                    for ((y, expected), factor) in pairs.zip(factors) {
                        let distance = |(y, e): (&f64, &f64)| (y - e).abs() / e.abs().max(1.0);
                        let worst = y.iter().zip(&expected).map(distance).fold(0.0, f64::max);
                        assert!(
                            worst <= factor * tolerance,
                            "{shape:?} over {dim} in {dtype}: {worst:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn large_and_infinite_numbers_are_those_of_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let data =
            [1000.0f32, 1000.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY];
        let x = Tensor::from_slice(&data, &[2, 3]).unwrap().to_device(Device::Cuda(0)).unwrap();
        assert_eq!(x.softmax(1).unwrap().to_f64_vec().unwrap(), [0.5, 0.5, 0.0, 0.0, 1.0, 0.0]);
        let logarithms = x.log_softmax(1).unwrap().to_f64_vec().unwrap();
        let (half, none) = (f64::from(-std::f32::consts::LN_2), f64::NEG_INFINITY);
        for (y, expected) in logarithms.iter().zip([half, half, none, none, 0.0, none]) {
            assert!(*y == expected || (y - expected).abs() < 1e-6, "{y} {expected}");
        }
    }
}
