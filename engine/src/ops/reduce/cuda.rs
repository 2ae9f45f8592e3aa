//! Reductions on a GPU.

use super::cpu::{split, split_layout};
use crate::cuda::{Gpu, Launch, Part, ReductionLaunch};
use crate::{DType, Layout, Result, Tensor};
use kernels::{Folding, Kernel, reduce};

/// A fold's kernel, and that which folds the results of pieces.
#[derive(Clone, Copy)]
pub(crate) struct Fold {
    kernel: Folding,
    pieces: Kernel,
}
pub(crate) const SUM: Fold = Fold { kernel: reduce::SUM, pieces: reduce::SUM_PIECES };
pub(super) const MAX: Fold = Fold { kernel: reduce::MAX, pieces: reduce::MAX_PIECES };

/// Folds the elements over `dims`, times `scale`.
pub(super) fn fold(
    gpu: &'static Gpu,
    fold: Fold,
    x: &Tensor,
    dims: &[usize],
    scale: f64,
) -> Result<Tensor> {
    let (kept, reduced) = split(x, dims);
    let layout = Layout::of(kept.shape());
    if reduced.numel() == 0 {
        return Tensor::zeros_on_gpu(gpu, layout.shape(), x.dtype())?.scale(scale);
    }
    let y = Tensor::on_gpu(gpu, layout.clone(), x.dtype())?;
    let op = fold.kernel.single.name();
    let (kept, reduced) = (Part::new(op, &layout, &kept)?, Part::new(op, &reduced, &reduced)?);
    let launch = ReductionLaunch::new(kept, reduced, x.dtype(), &[x.address()?], true);
    let partial = match launch.pieces {
        1 => None,
        pieces => Some(partial(gpu, &y, pieces)?),
    };
    let partial_address = partial.as_ref().map_or(Ok(0), Tensor::address)?;
    let arguments = (y.address()?, partial_address, x.address()?);
    launch
        .launch(fold.kernel, x.dtype())
        .run(gpu, &[&arguments.0, &arguments.1, &arguments.2, &launch.reduction, &scale])?;
    if let Some(partial) = partial {
        fold_pieces(gpu, fold, &y, &partial, scale)?;
    }
    Ok(y)
}

/// Memory for the results of `pieces` pieces for each element of `y`, in the type that `y`'s
/// elements are computed in.
pub(crate) fn partial(gpu: &'static Gpu, y: &Tensor, pieces: u32) -> Result<Tensor> {
    Tensor::new_on_gpu(gpu, &[pieces as usize, y.numel()], crate::cuda::computed_in(y.dtype()))
}

/// Folds the pieces for each element of `y`, in its memory order, and scales the results.
pub(crate) fn fold_pieces(
    gpu: &'static Gpu,
    fold: Fold,
    y: &Tensor,
    partial: &Tensor,
    scale: f64,
) -> Result<()> {
    let (count, pieces) =
        (crate::cuda::count(fold.pieces.name(), y.shape())?, partial.shape()[0] as u32);
    let launch = ReductionLaunch::of_pieces(count, pieces);
    launch
        .launch_single(fold.pieces, y.dtype())
        .run(gpu, &[&y.address()?, &0u64, &partial.address()?, &launch.reduction, &scale])
}

/// `dy` at the first element, in logical order, that equals the maximum `y` or is NaN, and 0
/// elsewhere.
pub(super) fn max_backward(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    y: &Tensor,
    dy: &Tensor,
    dims: &[usize],
) -> Result<Tensor> {
    let dx = Tensor::zeros_on_gpu(gpu, x.shape(), x.dtype())?;
    let (y, dy) = (y.contiguous()?, dy.contiguous()?);
    let (indices, pieces) = places(gpu, op, x, &y, dims)?;
    let (kept, reduced) = split_layout(dx.layout(), dims);
    let (kept, reduced) = parts(op, &y, &kept, &reduced)?;
    let write = ReductionLaunch::single(kept, reduced, false);
    Launch::each(reduce::MAX_GRADIENT, x.dtype(), y.numel()).run(
        gpu,
        &[&dx.address()?, &indices.address()?, &pieces, &dy.address()?, &write.reduction],
    )?;
    Ok(dx)
}

/// The first index along `dim` of the largest element, or of a NaN if there is one.
pub(super) fn argmax(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    dim: usize,
) -> Result<Tensor> {
    let largest = fold(gpu, MAX, x, &[dim], 1.0)?;
    let y = Tensor::new_on_gpu(gpu, largest.shape(), DType::I64)?;
    let (indices, pieces) = places(gpu, op, x, &largest, &[dim])?;
    let count = crate::cuda::count(op, y.shape())?;
    Launch::each(reduce::ARGMAX, x.dtype(), y.numel())
        .run(gpu, &[&y.address()?, &indices.address()?, &pieces, &count])?;
    Ok(y)
}

/// The place, in each piece of the reduced dimensions, of the first element that equals the maximum
/// `y`, which is contiguous, or that is NaN; and the number of pieces.
fn places(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    y: &Tensor,
    dims: &[usize],
) -> Result<(Tensor, u32)> {
    let (kept, reduced) = split(x, dims);
    let (kept, reduced) = parts(op, y, &kept, &reduced)?;
    let find = ReductionLaunch::single(kept, reduced, true);
    // Indices of 32 bits; there are no tensors of u32.
    let indices = Tensor::new_on_gpu(gpu, &[find.pieces as usize, y.numel()], DType::F32)?;
    find.launch_single(reduce::MAX_PLACES, x.dtype())
        .run(gpu, &[&indices.address()?, &x.address()?, &y.address()?, &find.reduction])?;
    Ok((indices, find.pieces))
}

/// The kept dimensions in the memory order of `y`, and the reduced ones in logical order.
fn parts(op: &'static str, y: &Tensor, kept: &Layout, reduced: &Layout) -> Result<(Part, Part)> {
    let order = Layout::row_major_of(reduced.shape());
    Ok((Part::new(op, y.layout(), kept)?, Part::new(op, &order, reduced)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Rng, Tape};

    /// The form of the launch that sums a tensor of this layout over `dims`, and its number of
    /// pieces.
    fn form(layout: &Layout, dims: &[usize]) -> (&'static str, u32) {
        let (kept, reduced) = split_layout(layout, dims);
        let order = Layout::of(kept.shape());
        let parts =
            [Part::new("t", &order, &kept).unwrap(), Part::new("t", &reduced, &reduced).unwrap()];
        let launch = ReductionLaunch::new(parts[0], parts[1], DType::F32, &[0], true);
        (launch.form(), launch.pieces)
    }

    /// Shapes, the dimensions to reduce, and the form in f32: maps by their pixels, lines, odd
    /// sizes, everything at once.
    const CASES: [(&[usize], &[usize], &str); 9] = [
        (&[3, 64, 40, 41], &[0, 2, 3], "columns"),
        (&[2, 8, 70, 60], &[2, 3], "columns"),
        (&[2, 3, 50, 60], &[0, 2, 3], "single"),
        (&[2, 24, 9, 8], &[1], "rows"),
        (&[37, 1024], &[1], "rows"),
        (&[37, 1021], &[1], "single"),
        (&[300, 70], &[0], "single"),
        (&[100_004], &[0], "rows"),
        (&[7, 5, 11, 13, 2], &[0, 2, 4], "single"),
    ];

    #[test]
    fn every_form_and_many_pieces_agree_with_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut most = 0;
        for (i, (shape, dims, expected_form)) in CASES.into_iter().enumerate() {
            let (form, pieces) = form(&Layout::of(shape), dims);
            assert_eq!(form, expected_form, "{shape:?} over {dims:?}");
            most = most.max(pieces);
            for (dtype, tolerance) in
                [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 1e-3), (DType::BF16, 8e-3)]
            {
                let rng = &mut Rng::new(i as u64);
                let x = Tensor::rand(shape, -1.0, 2.0, DType::F64, rng)
                    .unwrap()
                    .to_dtype(dtype)
                    .unwrap();
                let there = x.to_device(Device::Cuda(0)).unwrap();
                let x = x.to_dtype(DType::F64).unwrap();
                for fold in [Tensor::mean_keepdim, Tensor::amax_keepdim] {
                    let (y, expected) = (fold(&there, dims).unwrap(), fold(&x, dims).unwrap());
                    assert_eq!(y.shape(), expected.shape());
                    let (y, expected) = (y.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
                    let worst = y
                        .iter()
                        .zip(&expected)
                        .map(|(y, e)| (y - e).abs() / e.abs().max(1.0))
                        .fold(0.0, f64::max);
                    assert!(worst <= tolerance, "{shape:?} over {dims:?} in {dtype}: {worst:e}");
                }
            }
        }
        assert!(most > 32, "the longest reduction has {most} pieces");
    }

    #[test]
    fn the_gradient_of_a_maximum_goes_to_the_first_of_equals_however_far_apart() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(3);
        // Few different numbers, so that there are many equals.
        let data: Vec<f32> =
            (0..2 * 3 * 90 * 70).map(|_| (rng.uniform() * 50.0).floor() as f32).collect();
        let x = Tensor::from_slice(&data, &[2, 3, 90, 70]).unwrap();
        for dims in [vec![0, 2, 3], vec![1], vec![0, 1, 2, 3]] {
            let gradient = |x: Tensor| {
                let tape = Tape::new();
                let leaf = tape.leaf(&x);
                let y = leaf.amax_keepdim(&dims).unwrap();
                let seed = Tensor::randn(y.shape(), DType::F32, &mut Rng::new(4))
                    .unwrap()
                    .to_device(x.device())
                    .unwrap();
                let gradients = tape.backward_from(&[&y], vec![Some(seed)]).unwrap();
                gradients.get(&leaf).unwrap().to_f64_vec().unwrap()
            };
            assert_eq!(
                gradient(x.to_device(Device::Cuda(0)).unwrap()),
                gradient(x.clone()),
                "over {dims:?}"
            );
        }
    }

    #[test]
    fn the_places_of_maxima_are_those_of_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(6);
        for (shape, dim) in [(vec![3, 70_000], 1), (vec![2, 5, 9, 7], 1), (vec![40, 33], 0)] {
            let numel = shape.iter().product::<usize>();
            let mut data: Vec<f32> =
                (0..numel).map(|_| (rng.uniform() * 50.0).floor() as f32).collect();
            data[numel / 2] = f32::NAN;
            let x = Tensor::from_slice(&data, &shape).unwrap();
            let there = x.to_device(Device::Cuda(0)).unwrap().argmax_keepdim(dim).unwrap();
            let here = x.argmax_keepdim(dim).unwrap();
            assert_eq!((there.shape(), there.dtype()), (here.shape(), DType::I64));
            assert!(there.to_vec::<i64>().unwrap() == here.to_vec::<i64>().unwrap(), "{shape:?}");
        }
    }

    #[test]
    fn nothing_infinities_and_nan_come_out_as_on_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let there = |x: Tensor| x.to_device(Device::Cuda(0)).unwrap();
        let none = there(Tensor::zeros(&[3, 0], DType::F32).unwrap());
        assert_eq!(none.sum_keepdim(&[1]).unwrap().to_f64_vec().unwrap(), [0.0; 3]);
        assert!(
            none.mean_keepdim(&[1]).unwrap().to_f64_vec().unwrap().iter().all(|mean| mean.is_nan())
        );
        assert!(none.sum_keepdim(&[0]).unwrap().to_f64_vec().unwrap().is_empty());
        let low = there(Tensor::full(&[40], f64::NEG_INFINITY, DType::F32).unwrap());
        assert_eq!(low.amax_keepdim(&[0]).unwrap().item().unwrap(), f64::NEG_INFINITY);
        let mut data = [1.0f32; 1000];
        data[700] = f32::NAN;
        assert!(
            there(Tensor::from_slice(&data, &[1000]).unwrap())
                .amax_keepdim(&[0])
                .unwrap()
                .item()
                .unwrap()
                .is_nan()
        );
    }

    #[test]
    fn a_mean_in_half_precision_does_not_overflow() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let x =
            Tensor::full(&[1, 8, 64, 64], 100.0, DType::F32).unwrap().to_dtype(DType::F16).unwrap();
        let tape = Tape::new();
        let x = tape.leaf(&x.to_device(Device::Cuda(0)).unwrap());
        let mean = x.mean_keepdim(&[0, 2, 3]).unwrap();
        assert_eq!(mean.to_f64_vec().unwrap(), [100.0; 8]);
        let gradients = tape.backward_from(&[&mean], vec![Some(mean.detach())]).unwrap();
        let expected = half::f16::from_f64(100.0 / 4096.0).to_f64();
        assert!(gradients.get(&x).unwrap().to_f64_vec().unwrap().iter().all(|dx| *dx == expected));
    }
}
