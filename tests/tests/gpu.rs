//! The network on the first GPU (or the emulator) beside the CPU: predictions in every precision,
//! and steps of training.
//!
//! `IRNEXT_STEPS` says how many (2: the emulator takes its time). Without a GPU these tests end at
//! once, unless `ENGINE_REQUIRE_CUDA` is set.
#![cfg(feature = "cuda")]

use engine::{DType, Device, Rng, Tape, Tensor};
use irnext::compute::{Compute, Precision};
use irnext::model::{LossConfig, Model, ModelConfig, dual_domain};
use nn::optim::{Optimizer, Rule, clip_global_norm};
use nn::{Context, TrainingStep};

const GPU: Device = Device::Cuda(0);

/// Whether there is a GPU.
fn gpu() -> bool {
    match GPU.check() {
        Ok(()) => true,
        Err(error) if std::env::var_os("ENGINE_REQUIRE_CUDA").is_some() => panic!("{error}"),
        Err(_) => false,
    }
}

/// A small network whose LAMs do something: fresh ones are the identity.
fn model(dtype: DType) -> Model {
    let config = ModelConfig { width: 8, n: 1, groups: 4, ..ModelConfig::default() };
    let mut model = Model::new(&config, 1, dtype).unwrap();
    let mut rng = Rng::new(2);
    let zeros: Vec<_> = model
        .params
        .parameters()
        .filter(|(_, e)| e.path.contains("lamb") || e.path.contains("inside"))
        .map(|(id, _)| id)
        .collect();
    for id in zeros {
        let value = Tensor::rand(model.params.get(id).unwrap().shape(), -0.3, 0.3, dtype, &mut rng)
            .unwrap();
        model.params.set(id, value).unwrap();
    }
    model
}

fn images(n: usize, dtype: DType) -> Tensor {
    Tensor::rand(&[n, 3, 64, 64], 0.0, 1.0, dtype, &mut Rng::new(3)).unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
}

#[test]
fn predictions_agree_in_every_precision() {
    if !gpu() {
        return;
    }
    let x = images(1, DType::F32);
    let expected = model(DType::F32).freeze().predict(&x).unwrap();
    // All of them before the first pass: each keeps its own precision.
    let models = [
        (Precision::F32, 1e-5),
        (Precision::Tf32, 3e-3),
        (Precision::F16, 1e-2),
        (Precision::Bf16, 8e-2),
    ]
    .map(|(precision, limit)| {
        let there = model(DType::F32).on(Compute { device: GPU, precision }).unwrap();
        (precision, limit, there.freeze().computing_in(precision))
    });
    for (precision, limit, there) in models {
        // Run, recorded, played.
        let passes = [0, 1, 2].map(|_| there.predict(&x).unwrap());
        for pass in &passes {
            let off = largest_difference(pass, &expected);
            assert!(off <= limit, "{precision} is off by {off:.1e}");
        }
        assert_eq!(
            largest_difference(&passes[0], &passes[2]),
            0.0,
            "{precision}: a recording gives other bits"
        );
    }
}

/// Losses and gradient norms of some steps on `device`, computing in `dtype` if it is not that of
/// the weights.
fn train(weights: DType, device: Device, dtype: Option<DType>, steps: usize) -> Vec<[f64; 2]> {
    let mut model = model(weights);
    model.params = model.params.to_device(device).unwrap();
    let [x, target] = [images(2, weights), images(2, weights).affine(0.8, 0.1).unwrap()]
        .map(|x| x.to_device(device).unwrap());
    let mut optimizer = Optimizer::new(Rule::adam(), &model.params);
    let mut curve = Vec::new();
    for _ in 0..steps {
        let tape = Tape::new();
        let cx = Context::training(&model.params, &tape).computing_in(dtype);
        let predictions = model.network.forward(&cx, &cx.to_compute(&x).unwrap()).unwrap();
        let predictions = predictions.map(|prediction| prediction.to_dtype(weights).unwrap());
        let loss = dual_domain(&predictions, &target, LossConfig::default()).unwrap().total;
        let pass = cx.finish();
        let mut gradients = pass.gradients(tape.backward(&loss).unwrap());
        let norm = clip_global_norm(&mut gradients, 0.01).unwrap();
        let mut step = TrainingStep::begin(&mut optimizer, None, 1e-3).unwrap();
        step.apply(&mut model.params, &gradients, pass, None).unwrap();
        step.commit();
        curve.push([loss.item().unwrap(), norm]);
    }
    curve
}

#[test]
fn training_goes_as_on_the_cpu() {
    if !gpu() {
        return;
    }
    let steps = std::env::var("IRNEXT_STEPS").map_or(2, |steps| steps.parse().unwrap());
    let expected = train(DType::F64, Device::Cpu, None, steps);
    for (weights, dtype, limit) in
        [(DType::F64, None, 1e-6), (DType::F32, None, 2e-3), (DType::F32, Some(DType::BF16), 3e-2)]
    {
        let found = train(weights, GPU, dtype, steps);
        for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let off = (found[0] - expected[0]).abs() / expected[0];
            assert!(
                off <= limit,
                "{weights} {dtype:?}, step {step}: loss {} instead of {}",
                found[0],
                expected[0]
            );
        }
        println!(
            "{weights} {dtype:?}: last losses {} and {}",
            found[steps - 1][0],
            expected[steps - 1][0]
        );
    }
}
