//! A group of one, which any machine with a GPU can be. Groups of several are processes:
//! `irnext/tests/mpi/gpus.rs`.

use super::*;
use crate::cuda::tests::{gpu, there};
use crate::{DType, Rng};

/// A rank without others. Without a GPU the test ends here, and without NCCL, unless the
/// environment says that it must be there.
fn alone() -> Option<Communicator> {
    gpu()?;
    match Communicator::prepare(Device::Cuda(0)) {
        Ok(_) => Communicator::join(Device::Cuda(0), &Communicator::unique_id().unwrap(), 0, 1)
            .map(Some)
            .unwrap(),
        Err(error) if std::env::var_os("ENGINE_REQUIRE_NCCL").is_some() => panic!("{error}"),
        Err(_) => None,
    }
}

#[test]
fn all_ranks_get_the_same() {
    let Some(communicator) = alone() else { return };
    let mut rng = Rng::new(1);
    for dtype in [DType::F32, DType::F64] {
        // Of any layout, and none at all.
        let mut draw = |shape: &[usize]| Tensor::randn(shape, dtype, &mut rng).unwrap();
        let tensors =
            [draw(&[2, 3, 5, 4]), draw(&[2, 3, 5, 4]).row_major().unwrap(), draw(&[0]), draw(&[])];
        let on_gpu = tensors.each_ref().map(there);
        let means = communicator.start_means(&on_gpu).unwrap();
        // Tensors that are dropped and allocated meanwhile do not use its memory.
        drop(on_gpu);
        let noise: Vec<Tensor> =
            tensors.iter().map(|x| there(&x.scale(7.0).unwrap()).square().unwrap()).collect();
        for (mean, x) in means.finish().unwrap().iter().zip(&tensors) {
            assert_eq!(mean.to_f64_vec().unwrap(), x.to_f64_vec().unwrap());
            let all = communicator.gather(&there(x)).unwrap();
            assert_eq!((all.shape()[0], &all.shape()[1..]), (1, x.shape()));
            assert_eq!(all.to_f64_vec().unwrap(), x.to_f64_vec().unwrap());
        }
        drop(noise);
        // Means that are never awaited are given up in good order.
        drop(communicator.start_means(&[there(&tensors[0])]).unwrap());
    }
}

#[test]
fn collectives_order_with_the_work_around_them() {
    let Some(communicator) = alone() else { return };
    for i in 0..20 {
        let x =
            there(&Tensor::full(&[1000], f64::from(i), DType::F32).unwrap()).scale(2.0).unwrap();
        // In this order: a gather waits for means before it, too.
        let gathered = communicator
            .gather(&x.scale(0.5).unwrap())
            .unwrap()
            .sum_keepdim(&[0])
            .unwrap()
            .reshape(&[1000])
            .unwrap();
        let means = communicator.start_means(std::slice::from_ref(&x)).unwrap();
        let sum = means.finish().unwrap()[0].add(&gathered).unwrap();
        assert_eq!(sum.to_f64_vec().unwrap(), vec![3.0 * f64::from(i); 1000]);
    }
}

#[test]
fn a_recording_holds_what_ranks_share() {
    let Some(communicator) = alone() else { return };
    let mut replay = crate::Replay::default();
    for i in 0..4 {
        let x = there(&Tensor::full(&[8], f64::from(i), DType::F32).unwrap());
        let y = replay.run(&[x], |x| -> Result<Vec<Tensor>> {
            let gathered = communicator.gather(&x[0])?.reshape(&[8])?;
            let means = communicator.start_means(&[x[0].scale(2.0)?])?;
            Ok(vec![means.finish()?[0].add(&gathered)?])
        });
        assert_eq!(y.unwrap()[0].to_f64_vec().unwrap(), [3.0 * f64::from(i); 8]);
    }
}

#[test]
fn sharing_across_ranks_that_fails_is_reported() {
    let Some(communicator) = alone() else { return };
    let said = |x: Tensor| communicator.start_means(&[x]).err().unwrap().to_string();
    assert_eq!(
        said(Tensor::ones(&[2], DType::F32).unwrap()),
        "nccl: a tensor is not on cuda:0, which ranks share"
    );
    assert_eq!(
        said(there(&Tensor::ones(&[2], DType::F16).unwrap())),
        "nccl: expected dtype f32 or f64, got f16"
    );
    // It is still of use.
    assert_eq!(
        communicator
            .gather(&there(&Tensor::ones(&[1], DType::F32).unwrap()))
            .unwrap()
            .item()
            .unwrap(),
        1.0
    );
    let message = Communicator::join(Device::Cuda(0), b"come", 0, 1).err().unwrap().to_string();
    assert_eq!(message, "nccl: that is not a unique id of NCCL");
    let message = Communicator::join(Device::Cuda(0), &Communicator::unique_id().unwrap(), 1, 1)
        .err()
        .unwrap()
        .to_string();
    assert!(message.starts_with("nccl: ncclCommInitRank: invalid argument"), "{message}");
}
