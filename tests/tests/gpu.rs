//! The layers and losses of `nn`, and the network, on the first GPU (or the emulator) beside the
//! CPU: values and gradients, predictions in every precision, and steps of training.
//!
//! `IRNEXT_STEPS` says how many (2: the emulator takes its time). Without a GPU these tests end at
//! once, unless `ENGINE_REQUIRE_CUDA` is set.
#![cfg(feature = "cuda")]

use engine::{Conv2dOptions, DType, Device, Rng, Tape, Tensor};
use irnext::compute::{Compute, Precision};
use irnext::model::{LossConfig, Model, ModelConfig, dual_domain};
use nn::layers::{
    Activation, AvgPool2d, BatchNorm2d, Conv2d, ConvTranspose2d, Dropout, Embedding, Flatten,
    Function, GlobalAvgPool, GroupNorm, InstanceNorm2d, LayerNorm, Linear, MaxPool2d, Module,
    Sequential,
};
use nn::optim::{Optimizer, Rule, clip_global_norm};
use nn::{Builder, Context, Params, TrainingStep, loss};

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

/// A function that builds a layer.
type Build = fn(&mut Builder<'_>) -> Box<dyn Module>;

/// Every layer, with the shape of its input.
const LAYERS: [(&str, &[usize], Build); 22] = [
    ("linear", &[3, 5], |b| Box::new(Linear::new(b, 5, 4))),
    ("conv2d", &[2, 4, 7, 6], |b| {
        let options = Conv2dOptions { padding: 1, groups: 2, ..Conv2dOptions::default() };
        Box::new(Conv2d::with_options(b, 4, 6, 3, true, options).stride(2))
    }),
    ("dilated conv2d", &[1, 3, 9, 8], |b| {
        Box::new(Conv2d::without_bias(b, 3, 2, 3).dilation(2).padding(2))
    }),
    ("conv_transpose2d", &[2, 4, 5, 3], |b| {
        Box::new(ConvTranspose2d::new(b, 4, 3, 4).stride(2).padding(1))
    }),
    ("batch_norm2d", &[3, 4, 5, 2], |b| Box::new(BatchNorm2d::new(b, 4))),
    ("instance_norm2d", &[2, 4, 5, 3], |_| Box::new(InstanceNorm2d::new())),
    ("affine instance_norm2d", &[2, 4, 5, 3], |b| Box::new(InstanceNorm2d::affine(b, 4))),
    ("layer_norm", &[3, 2, 6], |b| Box::new(LayerNorm::new(b, &[2, 6]))),
    ("group_norm", &[2, 6, 3, 4], |b| Box::new(GroupNorm::new(b, 3, 6))),
    ("max_pool2d", &[2, 3, 6, 5], |_| Box::new(MaxPool2d::new(2).stride(1))),
    ("avg_pool2d", &[2, 3, 6, 5], |_| Box::new(AvgPool2d::new(3).stride(2))),
    ("global_avg_pool", &[2, 3, 6, 5], |_| Box::new(GlobalAvgPool)),
    ("flatten", &[2, 3, 4, 5], |_| Box::new(Flatten::new())),
    ("dropout", &[40, 6], |_| Box::new(Dropout::new(0.3).unwrap())),
    ("function", &[4, 3], |_| Box::new(Function::new(|x| x.square()))),
    ("gelu", &[4, 5], |_| Box::new(Activation::Gelu)),
    ("relu", &[4, 5], |_| Box::new(Activation::Relu)),
    ("leaky_relu", &[4, 5], |_| Box::new(Activation::LeakyRelu(0.2))),
    ("silu", &[4, 5], |_| Box::new(Activation::Silu)),
    ("tanh", &[4, 5], |_| Box::new(Activation::Tanh)),
    ("sigmoid then softmax", &[4, 5], |_| {
        Box::new(Sequential::new().then(Activation::Sigmoid).then(Activation::Softmax))
    }),
    ("embedding", &[6], |b| Box::new(Embedding::new(b, 7, 5))),
];

/// The output of a layer in training, the gradients of its input and its parameters, and its
/// buffers after the pass.
fn pass(build: Build, shape: &[usize], dtype: DType, device: Device) -> Vec<Vec<f64>> {
    let (layer, params) = Params::build(1, dtype, |b| Ok(build(b))).unwrap();
    let mut rng = Rng::new(2);
    let values = params
        .entries()
        .iter()
        .map(|entry| Tensor::rand(entry.value.shape(), 0.2, 1.0, dtype, &mut rng).unwrap());
    let params = params.with_values(values.collect()).unwrap().to_device(device).unwrap();
    let tape = Tape::new();
    // An embedding, the layer whose input has one dimension, takes indices.
    let x = match shape {
        [count] => {
            let rows: Vec<i64> = (0..*count as i64).map(|i| i * i % 7).collect();
            Tensor::from_slice(&rows, shape).unwrap().to_device(device).unwrap()
        }
        _ => {
            let x = Tensor::randn(shape, dtype, &mut Rng::new(3)).unwrap();
            tape.leaf(&x.to_device(device).unwrap())
        }
    };
    let cx = Context::training(&params, &tape).with_seed(4, 5);
    let y = layer.forward(&cx, &x).unwrap();
    let seed = Tensor::randn(y.shape(), dtype, &mut Rng::new(6)).unwrap();
    let seed = seed.to_device(device).unwrap();
    let mut gradients = tape.backward_from(&[&y], vec![Some(seed)]).unwrap();
    let mut results = vec![y.detach()];
    results.extend(gradients.take(&x));
    let pass = cx.finish();
    results.extend(pass.gradients(gradients).into_iter().flatten());
    let mut after = params.clone();
    pass.update_buffers(&mut after).unwrap();
    results.extend(after.values());
    results.iter().map(|x| x.to_f64_vec().unwrap()).collect()
}

/// Whether the numbers agree within `limit`, relative to those above 1.
fn agree(found: &[Vec<f64>], expected: &[Vec<f64>], limit: f64) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() <= limit * b.abs().max(1.0))
        })
}

#[test]
fn every_layer_gives_the_values_and_gradients_of_the_cpu() {
    if !gpu() {
        return;
    }
    for (name, shape, build) in LAYERS {
        let expected = pass(build, shape, DType::F64, Device::Cpu);
        for (dtype, limit) in [(DType::F64, 1e-9), (DType::F32, 2e-4)] {
            // The numbers that are drawn are those of the dtype.
            let expected = match dtype {
                DType::F64 => expected.clone(),
                _ => pass(build, shape, dtype, Device::Cpu),
            };
            let found = pass(build, shape, dtype, GPU);
            assert!(agree(&found, &expected, limit), "{name}, {dtype}:\n{found:?}\n{expected:?}");
        }
    }
}

#[test]
fn every_loss_gives_the_value_and_gradient_of_the_cpu() {
    if !gpu() {
        return;
    }
    type Loss = fn(&Tensor, Device) -> nn::Result<Tensor>;
    fn target(device: Device) -> Tensor {
        let target = Tensor::randn(&[4, 3, 2], DType::F64, &mut Rng::new(8)).unwrap();
        target.to_device(device).unwrap()
    }
    let losses: [(&str, Loss); 4] = [
        ("mse", |x, device| loss::mse(x, &target(device))),
        ("l1", |x, device| loss::l1(x, &target(device))),
        ("charbonnier", |x, device| loss::charbonnier(x, &target(device), 1e-3)),
        ("cross_entropy", |x, device| {
            let classes = Tensor::from_slice(&[0i64, 2, 1, 1, 2, 0, 0, 1], &[4, 2])?;
            loss::cross_entropy(x, &classes.to_device(device)?)
        }),
    ];
    for (name, loss) in losses {
        let run = |device| {
            let x = Tensor::randn(&[4, 3, 2], DType::F64, &mut Rng::new(7)).unwrap();
            let tape = Tape::new();
            let x = tape.leaf(&x.to_device(device).unwrap());
            let loss = loss(&x, device).unwrap();
            let mut gradients = tape.backward(&loss).unwrap();
            [loss.detach(), gradients.take(&x).unwrap()].map(|x| x.to_f64_vec().unwrap())
        };
        let (found, expected) = (run(GPU), run(Device::Cpu));
        assert!(agree(&found, &expected, 1e-12), "{name}:\n{found:?}\n{expected:?}");
    }
}
