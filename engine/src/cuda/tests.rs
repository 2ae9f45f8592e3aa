//! The host side: memory, copies, launches, errors. These run on whatever GPU there is, or on the
//! emulator.

use super::*;
use crate::{DType, Device, Rng, Tensor};

/// The first GPU. Without one the test ends here, unless the environment says that there must be
/// one.
pub(crate) fn gpu() -> Option<&'static Gpu> {
    match Gpu::get(0) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("ENGINE_REQUIRE_CUDA").is_some() => panic!("{error}"),
        Err(_) => None,
    }
}

/// `x` on the first GPU.
pub(crate) fn there(x: &Tensor) -> Tensor {
    x.to_device(Device::Cuda(0)).unwrap()
}

#[test]
fn tensors_come_back_as_they_went() {
    let Some(_) = gpu() else { return };
    let mut rng = Rng::new(1);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for shape in [vec![], vec![0], vec![7], vec![2, 3, 5, 4]] {
            let x = Tensor::randn(&shape, DType::F64, &mut rng).unwrap().to_dtype(dtype).unwrap();
            for x in [x.clone(), x.row_major().unwrap()] {
                let there = x.to_device(Device::Cuda(0)).unwrap();
                assert_eq!((there.device(), there.meta()), (Device::Cuda(0), x.meta()));
                let back = there.to_device(Device::Cpu).unwrap();
                assert_eq!(back.to_f64_vec().unwrap(), x.to_f64_vec().unwrap());
            }
        }
    }
}

#[test]
fn views_are_gathered() {
    let Some(_) = gpu() else { return };
    let x = Tensor::randn(&[2, 6, 5, 7], DType::F32, &mut Rng::new(2)).unwrap();
    let view =
        |x: &Tensor| x.permute(&[1, 0, 3, 2]).unwrap().contiguous().unwrap().to_f64_vec().unwrap();
    assert_eq!(view(&x.to_device(Device::Cuda(0)).unwrap()), view(&x));
}

#[test]
fn many_copies_overlap_with_kernels_and_keep_their_values() {
    let Some(_) = gpu() else { return };
    let mut rng = Rng::new(3);
    let mut results = Vec::new();
    for _ in 0..40 {
        let x = Tensor::randn(&[1000], DType::F32, &mut rng).unwrap();
        let there = x.to_device(Device::Cuda(0)).unwrap();
        results.push((x, there.add(&there).unwrap().relu().unwrap()));
    }
    for (x, y) in results {
        assert_eq!(
            y.to_f64_vec().unwrap(),
            x.add(&x).unwrap().relu().unwrap().to_f64_vec().unwrap()
        );
    }
}

#[test]
fn a_wrong_number_of_kernel_arguments_is_an_error() {
    let Some(gpu) = gpu() else { return };
    let add = kernels::pointwise::ADD;
    let refused = |launch: Launch| launch.run(gpu, &[&0u64]).unwrap_err().to_string();
    let message = refused(Launch::each(add.single, DType::F32, 1));
    assert!(
        message.contains("add_f32: arguments of [8] bytes for parameters of [8, 48, 232, 16]"),
        "{message}"
    );
    let message = refused(Launch::each(add.packed, DType::F64, 1));
    assert!(message.contains("add_packed_f64: there is no such kernel"), "{message}");
    let message = refused(Launch::each(add.single, DType::U8, 1));
    assert!(message.contains("add_u8: there are no kernels pointwise for this type"), "{message}");
}

#[test]
fn operands_on_two_devices_are_refused() {
    let Some(_) = gpu() else { return };
    let x = Tensor::ones(&[3], DType::F32).unwrap();
    let message = x.to_device(Device::Cuda(0)).unwrap().add(&x).unwrap_err().to_string();
    assert_eq!(message, "add: operands are on cuda:0 and on cpu");
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    if driver::built_in().is_err() {
        return;
    }
    let message = Tensor::ones(&[3], DType::F32)
        .unwrap()
        .to_device(Device::Cuda(63))
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("device: cuda:63 cannot be used: "), "{message}");
    let message = Tensor::ones(&[3], DType::F32)
        .unwrap()
        .to_device(Device::Cuda(1000))
        .unwrap_err()
        .to_string();
    assert_eq!(message, "device: there is no GPU number 1000");
}

#[test]
fn too_much_memory_is_an_error_that_says_how_much() {
    let Some(gpu) = gpu() else { return };
    let message = gpu.allocate(1 << 50).err().unwrap().to_string();
    assert!(message.contains("out of memory: 1073741824 MiB more were requested"), "{message}");
}

#[test]
fn a_recorded_computation_gives_what_the_function_does() {
    let Some(_) = gpu() else { return };
    let mut rng = Rng::new(4);
    let weight =
        Tensor::randn(&[5], DType::F32, &mut rng).unwrap().to_device(Device::Cuda(0)).unwrap();
    let mut calls = 0;
    let mut replay = crate::Replay::default();
    for length in [3, 3, 3, 3, 3, 2, 2, 2, 2] {
        let inputs = [0, 1].map(|_| Tensor::randn(&[length, 5], DType::F32, &mut rng).unwrap());
        let there = inputs.clone().map(|x| x.to_device(Device::Cuda(0)).unwrap());
        let expected = there[0]
            .mul(&weight)
            .unwrap()
            .tanh()
            .unwrap()
            .add(&there[1])
            .unwrap()
            .square()
            .unwrap();
        let f = |x: &[Tensor]| {
            calls += 1;
            Ok::<_, Error>(vec![x[0].mul(&weight)?.tanh()?.add(&x[1])?.square()?])
        };
        let outputs = replay.run(&there, f).unwrap();
        assert_eq!(outputs[0].to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    }
    // Once as it is and once to record it, for either shape.
    assert_eq!(calls, 4);
}

#[test]
fn reading_a_value_while_recording_is_an_error_and_ends_it() {
    let Some(_) = gpu() else { return };
    let x = Tensor::ones(&[3], DType::F32).unwrap().to_device(Device::Cuda(0)).unwrap();
    let mut replay = crate::Replay::default();
    let reads = |x: &[Tensor]| {
        x[0].to_f64_vec()?;
        Ok::<_, Error>(vec![x[0].square()?])
    };
    replay.run(std::slice::from_ref(&x), reads).unwrap();
    let message = replay.run(std::slice::from_ref(&x), reads).unwrap_err().to_string();
    assert!(message.contains("CUDA_ERROR_STREAM_CAPTURE"), "{message}");
    // The stream works on.
    assert_eq!(x.add(&x).unwrap().to_f64_vec().unwrap(), [2.0; 3]);
}
