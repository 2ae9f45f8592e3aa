//! A GPU with little memory: what fits once is recorded, and what does not fit in one piece is
//! restored in strips.
//!
//! Tests take all but a little of the GPU's memory, so they have a process of their own, where one
//! runs at a time. Without a GPU they end at once, unless `ENGINE_REQUIRE_CUDA` is set.
#![cfg(feature = "cuda")]

use engine::{DType, Device, Error, Replay, Tensor};
use irnext::compute::Compute;
use irnext::image::{Image, Note, Photo};
use irnext::model::{Model, ModelConfig};
use irnext::restore::{Scale, restore};
use irnext::restorer::{Outcome, Restorer};
use std::sync::{Mutex, MutexGuard, PoisonError};

const GPU: Device = Device::Cuda(0);
const MIB: usize = 1 << 20;

/// The GPU, for one test at a time, if there is one.
fn gpu() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    match GPU.check() {
        Ok(()) => Some(ONE.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) if std::env::var_os("ENGINE_REQUIRE_CUDA").is_some() => panic!("{error}"),
        Err(_) => None,
    }
}

/// Tensors that leave no more than `bytes` of the GPU's memory.
fn all_but(bytes: usize) -> Vec<Tensor> {
    GPU.trim().unwrap();
    let allocate = |bytes: usize| {
        let one = Tensor::ones(&[1], DType::F32)?.to_device(GPU)?;
        one.broadcast_to(&[bytes / 4])?.contiguous()
    };
    let space = allocate(bytes).unwrap();
    let mut ballast = Vec::new();
    for size in [256 * MIB, 16 * MIB, MIB, MIB / 16] {
        loop {
            match allocate(size) {
                Ok(tensor) => ballast.push(tensor),
                Err(error) if error.is_out_of_memory() => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    drop(space);
    GPU.trim().unwrap();
    ballast
}

/// The free blocks of the first run are given back. Debug builds keep none, so only builds without
/// debug assertions show that.
#[test]
fn what_fits_once_can_be_recorded() {
    let Some(_gpu) = gpu() else { return };
    let x = Tensor::full(&[4, MIB], 2.5, DType::F32).unwrap().to_device(GPU).unwrap();
    // Tensors of 32, 64 and 4 MiB; a recording copies the input of 16, too.
    let f = |x: &[Tensor]| {
        let two = Tensor::concat(&[&x[0], &x[0]], 0)?;
        Ok::<_, Error>(vec![Tensor::concat(&[&two, &two], 0)?.mean(&[0])?])
    };
    f(std::slice::from_ref(&x)).unwrap();
    let _ballast = all_but(140 * MIB);
    let mut replay = Replay::default();
    for _ in 0..4 {
        let mean = replay.run(std::slice::from_ref(&x), f).unwrap().swap_remove(0);
        let mean = mean.to_f64_vec().unwrap();
        assert!(mean.iter().all(|value| *value == 2.5));
    }
}

#[test]
fn a_recording_that_does_not_fit_is_an_error_and_the_gpu_works_on() {
    let Some(_gpu) = gpu() else { return };
    let x = Tensor::ones(&[4, MIB], DType::F32).unwrap().to_device(GPU).unwrap();
    let mut replay = Replay::default();
    let mut calls = 0;
    let mut ballast = Vec::new();
    let mut run = |x: &Tensor| {
        replay.run(std::slice::from_ref(x), |x: &[Tensor]| {
            calls += 1;
            if calls == 2 {
                ballast.push(x[0].exp()?);
                ballast.push(x[0].broadcast_to(&[1 << 20, 4, MIB])?.contiguous()?);
            }
            Ok::<_, Error>(vec![x[0].exp()?])
        })
    };
    run(&x).unwrap();
    let error = run(&x).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert_eq!(run(&x).unwrap()[0].to_f64_vec().unwrap()[0], f64::from(1f32.exp()));
}

#[test]
fn what_does_not_fit_in_one_piece_is_restored_in_strips() {
    let Some(_gpu) = gpu() else { return };
    let config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
    let model = || Model::new(&config, 1, DType::F32).unwrap();
    let image = |width, height| {
        Image::build(width, height, |x, y| {
            let wave = |a: f32, b: f32| 0.5 + 0.5 * (x as f32 * a + y as f32 * b).sin();
            [wave(0.3, 0.01), wave(0.02, 0.5), ((x * 7 + y * 13) % 64) as f32 / 64.0]
        })
        .unwrap()
    };
    let large = image(128, 256);
    let expected = restore(&model().freeze(), &large).unwrap();
    let whole = model().freeze().peak_bytes(128, 256).unwrap();
    let compute = Compute { device: GPU, ..Compute::default() };
    let restorer = Restorer::with_model("derain", model(), compute).unwrap().at_scale(Scale::Full);
    let restored = |image: &Image| {
        let Outcome::Restored { photo, .. } = restorer.restore(&Photo::new(image.clone())).unwrap()
        else {
            panic!("it was left alone")
        };
        (photo.image(), photo.notes)
    };
    // Kernels and their tables take memory, too, from their first use on.
    let (_, notes) = restored(&image(64, 64));
    assert_eq!(notes, []);
    let _ballast = all_but(whole / 2);
    let (image, notes) = restored(&large);
    assert_eq!(notes, [Note::MemoryRanOut]);
    let off = image.data().iter().zip(expected.data()).map(|(a, b)| (a - b).abs());
    let off = off.fold(0.0, f32::max);
    assert!(off < 1.0 / 255.0, "{off}");
}
