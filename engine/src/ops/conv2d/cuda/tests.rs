//! The GPU's convolutions against the CPU's in f64, where the op check's small maps do not reach.

use super::*;
use crate::checks::{DEVICE_TOLERANCES, Sample, check_on};
use crate::conv::Direction;
use crate::ops::conv2d::Conv2d;
use crate::ops::{apply, dyn_op};
use crate::plan::planned_one;
use crate::{DType, Device, Rng, Tape};

const PLAIN: Conv2dOptions = Conv2dOptions { stride: 1, padding: 0, dilation: 1, groups: 1 };
const SAME: Conv2dOptions = Conv2dOptions { padding: 1, ..PLAIN };

/// A convolution with a bias, a residual and both activations.
fn everything(options: Conv2dOptions) -> Conv2d {
    let op = Conv2d::new(options, true).with_gelu_input().and_then(|op| op.with_residual());
    op.and_then(|op| op.with_gelu()).unwrap()
}

/// A use with a bias and, where it is not transposed, a residual and activations. The weights are
/// so small that the results are about 1.
fn sample(
    x: [usize; 4],
    weight: [usize; 4],
    options: Conv2dOptions,
    direction: Direction,
) -> Sample {
    let mut rng = Rng::new(1);
    let mut draw = |shape: &[usize], scale: f64| {
        Tensor::randn(shape, DType::F64, &mut rng).unwrap().scale(scale).unwrap()
    };
    let terms: usize = weight[1..].iter().product();
    let (x, w) = (draw(&x, 1.0), draw(&weight, 1.0 / (terms as f64).sqrt()));
    if direction == Direction::OutToIn {
        let inputs = vec![x, w, draw(&[weight[1] * options.groups], 1.0)];
        return Sample::new(format!("transposed {options:?}"), inputs, move |x| {
            planned_one(x, |x| x[0].conv_transpose2d(&x[1], Some(&x[2]), options)?.gelu())
        });
    }
    let residual = draw(x.conv2d(&w, None, options).unwrap().shape(), 1.0);
    let inputs = vec![x, w, draw(&[weight[0]], 1.0), residual];
    Sample::new(format!("{options:?}"), inputs, move |x| {
        apply(everything(options), &x.iter().collect::<Vec<_>>())
    })
}

/// Maps and weights of more than one tile, for each kernel, with odd ends; in each direction both
/// its own and the other's kernels are used.
#[test]
fn larger_maps_agree_with_the_cpu() {
    let Some(_) = crate::cuda::tests::gpu() else { return };
    let halved = Conv2dOptions { stride: 2, ..SAME };
    let groups = |groups: usize| Conv2dOptions { groups, ..SAME };
    use Direction::{InToOut, OutToIn};
    for (x, weight, options, direction) in [
        ([1, 32, 20, 33], [64, 32, 3, 3], SAME, InToOut),
        ([2, 32, 20, 33], [72, 32, 3, 3], halved, InToOut),
        ([2, 24, 9, 13], [24, 40, 4, 4], halved, OutToIn),
        ([1, 16, 9, 13], [16, 5, 3, 3], Conv2dOptions { stride: 3, dilation: 2, ..PLAIN }, OutToIn),
        ([1, 16, 7, 8], [16, 70, 2, 3], Conv2dOptions { stride: 4, dilation: 2, ..PLAIN }, OutToIn),
        ([1, 40, 17, 19], [20, 40, 1, 1], PLAIN, InToOut),
        ([1, 3, 31, 37], [32, 3, 3, 3], SAME, InToOut),
        ([1, 32, 31, 37], [3, 32, 3, 3], SAME, InToOut),
        ([1, 17, 21, 15], [13, 17, 5, 2], Conv2dOptions { padding: 2, ..PLAIN }, InToOut),
        ([2, 48, 11, 14], [66, 16, 3, 3], groups(3), InToOut),
        ([2, 48, 11, 14], [96, 16, 3, 3], Conv2dOptions { dilation: 3, ..groups(3) }, InToOut),
        ([2, 48, 23, 24], [48, 1, 3, 3], groups(48), InToOut),
        ([2, 12, 10, 9], [12, 2, 4, 4], Conv2dOptions { stride: 2, ..groups(6) }, OutToIn),
        ([1, 8, 3, 2], [70, 8, 1, 1], Conv2dOptions { stride: 7, ..PLAIN }, InToOut),
    ] {
        let sample = sample(x, weight, options, direction);
        for (dtype, tolerance) in DEVICE_TOLERANCES {
            check_on(&sample, Device::Cuda(0), dtype, tolerance).unwrap();
        }
    }
}

/// The tiles for many pixels, which the emulator takes its time for.
#[test]
fn maps_of_many_pixels_agree_with_the_cpu() {
    let Some(_) = crate::cuda::tests::gpu() else { return };
    for (dtype, tolerance) in DEVICE_TOLERANCES {
        let sample = sample([1, 8, 131, 131], [68, 8, 1, 1], PLAIN, Direction::InToOut);
        check_on(&sample, Device::Cuda(0), dtype, tolerance).unwrap();
    }
}

#[test]
fn maps_without_elements_are_fine() {
    let Some(_) = crate::cuda::tests::gpu() else { return };
    for (x, weight, options) in [
        ([0, 3, 5, 5], [4, 3, 3, 3], SAME),
        ([1, 0, 5, 5], [4, 0, 3, 3], SAME),
        ([1, 3, 0, 5], [4, 3, 3, 3], Conv2dOptions { padding: 2, ..PLAIN }),
    ] {
        let sample = sample(x, weight, options, Direction::InToOut);
        check_on(&sample, Device::Cuda(0), DType::F32, 1e-5).unwrap();
    }
    let there = |shape: &[usize]| {
        Tensor::ones(shape, DType::F32).unwrap().to_device(Device::Cuda(0)).unwrap()
    };
    assert_eq!(
        there(&[1, 3, 5, 5]).conv2d(&there(&[0, 3, 3, 3]), None, SAME).unwrap().shape(),
        [1, 0, 5, 5]
    );
}

/// In f64, which is always left to our own kernels.
#[test]
fn a_sum_is_made_in_the_memory_of_its_residual() {
    let Some(_) = crate::cuda::tests::gpu() else { return };
    let mut rng = Rng::new(2);
    for channels in [6, 8] {
        let x = Tensor::randn(&[2, 8, 9, 7], DType::F64, &mut rng).unwrap();
        let w = Tensor::randn(&[channels, 8, 3, 3], DType::F64, &mut rng).unwrap();
        let b = Tensor::randn(&[channels], DType::F64, &mut rng).unwrap();
        let residual = Tensor::randn(&[2, channels, 9, 7], DType::F64, &mut rng).unwrap();
        let there = |x: &Tensor| x.to_device(Device::Cuda(0)).unwrap();
        let op = everything(SAME);
        let expected = apply(op.clone(), &[&x, &w, &b, &residual]).unwrap().to_f64_vec().unwrap();
        let onto = there(&residual);
        let (address, out) = (onto.address().unwrap(), onto.meta());
        let inputs = vec![there(&x), there(&w), there(&b), onto];
        let y = dyn_op(op).compute(inputs, &[out]).unwrap().swap_remove(0);
        assert_eq!(y.address().unwrap(), address);
        for (y, expected) in y.to_f64_vec().unwrap().iter().zip(expected) {
            assert!((y - expected).abs() < 1e-12, "{y} for {expected}");
        }
    }
}

/// As they are for a result that our own kernels did not make.
#[test]
fn an_epilogue_alone_is_that_of_a_convolution() {
    let Some(gpu) = crate::cuda::tests::gpu() else { return };
    let mut rng = Rng::new(3);
    for (dtype, tolerance) in DEVICE_TOLERANCES {
        for channels in [5, 16] {
            let mut draw = |shape: &[usize]| {
                Tensor::randn(shape, DType::F64, &mut rng).unwrap().to_dtype(dtype).unwrap()
            };
            let shape = [2, channels, 9, 7];
            let here = [draw(&shape), draw(&[channels]), draw(&shape), draw(&shape)];
            let there = here.each_ref().map(|x| x.to_device(Device::Cuda(0)).unwrap());
            let [z, bias, residual, slope] = here.map(|x| x.to_dtype(DType::F64).unwrap());
            let before = z
                .add(&bias.reshape(&[1, channels, 1, 1]).unwrap())
                .unwrap()
                .add(&residual)
                .unwrap();
            let tape = Tape::new();
            let leaf = tape.leaf(&slope);
            let derivative = tape
                .backward(&leaf.gelu().unwrap().sum_all().unwrap())
                .unwrap()
                .take(&leaf)
                .unwrap();
            let expected = before.gelu().unwrap().mul(&derivative).unwrap();
            let [z, bias, residual, slope] = there;
            let (z, residual) = (z.contiguous().unwrap(), residual.contiguous().unwrap());
            let pre_activation = Tensor::new_on_gpu(gpu, &shape, dtype).unwrap();
            let epilogue = Epilogue {
                bias: Some(&bias),
                residual: Some(&residual),
                slope: Some(&slope),
                pre_activation: Some(&pre_activation),
                gelu: true,
                ..Epilogue::NONE
            };
            finish(gpu, &z, &z, epilogue).unwrap();
            for (is, should) in [(pre_activation, before), (z, expected)] {
                for (x, y) in is.to_f64_vec().unwrap().iter().zip(should.to_f64_vec().unwrap()) {
                    assert!((x - y).abs() <= tolerance * y.abs().max(1.0), "{dtype}: {x} for {y}");
                }
            }
        }
    }
}

/// In f64 again.
#[test]
fn sizes_beyond_a_kernels_counters_are_errors() {
    let Some(_) = crate::cuda::tests::gpu() else { return };
    let x = Tensor::ones(&[1, 1, 2, 2], DType::F64).unwrap().to_device(Device::Cuda(0)).unwrap();
    let far = Conv2dOptions { dilation: 1 << 16, padding: 1 << 15, ..PLAIN };
    let message = x.conv2d(&x, None, far).unwrap_err().to_string();
    assert!(message.starts_with("conv2d: 65536 is too large for a GPU kernel"), "{message}");
}
