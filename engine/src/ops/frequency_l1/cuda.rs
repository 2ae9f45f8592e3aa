//! The distance on a GPU. The difference is taken as the transform reads the images, the sizes are
//! summed as it writes the spectrum, and the slopes are found as its adjoint reads that. The
//! spectrum is stored in f32 where the images are of half precision.

use super::norm::FrequencyNorm;
use crate::cuda::{Gpu, Launch};
use crate::ops::rfft2::cuda::{FourierPass, adjoint_rows, row_spectra};
use crate::{Meta, Result, Tensor};
use kernels::fourier;

/// The norm that is summed, as in `fourier.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Norm {
    scale: f64,
    modulus: u32,
    unused: u32,
}

impl Norm {
    fn new(norm: FrequencyNorm, shape: [usize; 4]) -> Self {
        let elements = shape.iter().product::<usize>() as f64;
        match norm {
            FrequencyNorm::Stacked => Self { scale: 0.5 / elements, modulus: 0, unused: 0 },
            FrequencyNorm::Modulus => Self { scale: 1.0 / elements, modulus: 1, unused: 0 },
        }
    }
}

/// The distance; and the spectrum, if it is to be saved for backward.
pub(super) fn forward(
    gpu: &'static Gpu,
    op: &'static str,
    inputs: &[&Tensor],
    norm: FrequencyNorm,
    save: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let shape = inputs[0].dims4(op)?;
    let norm = Norm::new(norm, shape);
    let spectrum = row_spectra(gpu, op, inputs[0], Some(inputs[1]))?;
    let dtype = spectrum.dtype();
    let pass = FourierPass::columns(gpu, op, shape, dtype)?;
    let sums = gpu.allocate(pass.blocks() * size_of::<f64>())?;
    // A column is read before it is written.
    let address = spectrum.address()?;
    let addresses = [if save { address } else { 0 }, sums.address(), address];
    pass.launch(gpu, fourier::FOURIER_COLUMNS_L1, dtype, addresses, &[&norm])?;
    let value = Tensor::new_on_gpu(gpu, &[], dtype)?;
    let launch = Launch::blocks(fourier::FOURIER_L1, dtype, [1, 1, 1]);
    launch.run(gpu, &[&value.address()?, &sums.address(), &(pass.blocks() as u32), &norm])?;
    Ok((value.to_dtype(inputs[0].dtype())?, save.then_some(spectrum)))
}

/// `dy` times the gradient of the distance by the first image, given the spectrum of the
/// difference.
pub(super) fn gradient(
    gpu: &'static Gpu,
    op: &'static str,
    spectrum: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    norm: FrequencyNorm,
) -> Result<Tensor> {
    let (to, dtype) = (dy.dtype(), spectrum.dtype());
    let dy = dy.to_dtype(dtype)?;
    let shape = Meta { shape: shape.to_vec(), dtype }.dims4(op)?;
    let slopes = Tensor::new_on_gpu(gpu, spectrum.shape(), dtype)?;
    let addresses = [slopes.address()?, spectrum.address()?, dy.address()?];
    let pass = FourierPass::columns(gpu, op, shape, dtype)?;
    let norm = Norm::new(norm, shape);
    pass.launch(gpu, fourier::FOURIER_ADJOINT_COLUMNS_L1, dtype, addresses, &[&norm])?;
    adjoint_rows(gpu, op, &slopes, shape, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, Rng, Tape};

    /// Value and both gradients.
    fn value_and_gradients(x: &Tensor, target: &Tensor, norm: FrequencyNorm) -> [Vec<f64>; 3] {
        let tape = Tape::new();
        let leaves = [x, target].map(|x| tape.leaf(x));
        let value = leaves[0].frequency_l1(&leaves[1], norm).unwrap();
        let one = Tensor::scalar(1.0, x.dtype()).unwrap().to_device(x.device()).unwrap();
        let mut gradients = tape.backward_from(&[&value], vec![Some(one)]).unwrap();
        let [dx, d_target] =
            leaves.map(|leaf| gradients.take(&leaf).unwrap().to_f64_vec().unwrap());
        [value.detach().to_f64_vec().unwrap(), dx, d_target]
    }

    #[test]
    fn maps_of_many_blocks_have_the_distance_and_gradients_of_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(1);
        for shape in [[2, 3, 64, 64], [1, 3, 45, 50]] {
            let images = [0, 1].map(|_| Tensor::randn(&shape, DType::F32, &mut rng).unwrap());
            for norm in [FrequencyNorm::Stacked, FrequencyNorm::Modulus] {
                let [x, target] = images.each_ref().map(|x| x.to_dtype(DType::F64).unwrap());
                let exact = value_and_gradients(&x, &target, norm);
                for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
                    let [x, target] = images
                        .each_ref()
                        .map(|x| x.to_dtype(dtype).unwrap().to_device(Device::Cuda(0)).unwrap());
                    for (there, exact) in value_and_gradients(&x, &target, norm).iter().zip(&exact)
                    {
                        let largest = exact.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                        let far = exact
                            .iter()
                            .zip(there)
                            .all(|(a, b)| (a - b).abs() < tolerance * largest);
                        assert!(far, "{norm:?} {shape:?} {dtype}");
                    }
                }
            }
        }
    }

    #[test]
    fn equal_maps_have_no_gradient_whatever_the_others_do() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(2);
        let shape = [1, 1, 6, 10];
        let [same, a, b] = [0, 1, 2].map(|_| Tensor::randn(&shape, DType::F32, &mut rng).unwrap());
        let [x, target] = [a, b].map(|other| {
            Tensor::concat(&[&same, &other], 1).unwrap().to_device(Device::Cuda(0)).unwrap()
        });
        for norm in [FrequencyNorm::Stacked, FrequencyNorm::Modulus] {
            let [_, dx, _] = value_and_gradients(&x, &target, norm);
            assert_eq!(dx[..60], [0.0; 60]);
            assert!(dx[60..].iter().all(|&x| x != 0.0));
        }
    }

    #[test]
    fn halves_keep_their_spectra_in_single_precision() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        // The sum of 128·128 differences of 8 is beyond f16; the distance and its gradient are not.
        let [x, target] = [10.0, 2.0].map(|value| {
            Tensor::full(&[1, 1, 128, 128], value, DType::F16)
                .unwrap()
                .to_device(Device::Cuda(0))
                .unwrap()
        });
        let [value, dx, _] = value_and_gradients(&x, &target, FrequencyNorm::Modulus);
        assert_eq!(value, [8.0]);
        assert!(dx.iter().all(|&x| x == 2f64.powi(-14)));
    }
}
