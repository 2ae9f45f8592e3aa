//! The network as a whole: published parameter counts, gradients of whole blocks, checkpointing.

use super::*;
use engine::checks::{GradCheck, gradcheck};
use engine::{Rng, Tape, Tensor};
use nn::layers::Module;
use nn::weights::WeightFile;
use nn::{Builder, Context, Mode};
use std::collections::HashMap;

fn count(change: impl FnOnce(&mut ModelConfig)) -> usize {
    let mut config = ModelConfig { n: 7, ..ModelConfig::default() };
    change(&mut config);
    Model::new(&config, 0, DType::F32).unwrap().params.count()
}

#[test]
fn parameter_counts_are_the_published_ones() {
    // To the unit, from the reconstruction of the published code.
    let exact =
        [(3, 5_455_241), (7, 8_555_401), (11, 11_655_561), (13, 13_205_641), (15, 14_755_721)];
    for (n, expected) in exact {
        assert_eq!(count(|c| c.n = n), expected, "n = {n}");
    }
    assert_eq!(count(|c| c.msm = 0), 6_903_721);
    // The paper's other networks, to the digits that it prints: `costs::tables`.
    let tiny = Model::new(&ModelConfig::preset(Preset::Tiny), 0, DType::F32).unwrap();
    assert!((900_000..1_100_000).contains(&tiny.params.count()), "{}", tiny.params.count());
}

fn small(variant: Variant) -> ModelConfig {
    ModelConfig {
        variant,
        width: 8,
        n: 0,
        groups: 4,
        branches: vec![4, 2],
        ..ModelConfig::default()
    }
}

/// Checks the gradients of a block for `x` and every parameter. Parameters are drawn at random,
/// since many start at zero, where half of the gradients vanish.
fn check_block<M: Send + Sync>(
    shape: &[usize],
    build: impl FnOnce(&mut Builder<'_>) -> M,
    forward: impl Fn(&M, &Context, &Tensor) -> nn::Result<Tensor>,
) {
    let (block, params) = Params::build(3, DType::F64, |b| Ok(build(b))).unwrap();
    let mut rng = Rng::new(4);
    let mut draw = |shape: &[usize]| Tensor::rand(shape, -0.5, 0.5, DType::F64, &mut rng).unwrap();
    let mut inputs = vec![draw(shape)];
    inputs.extend(params.entries().iter().map(|entry| match entry.kind {
        nn::EntryKind::Buffer => entry.value.clone(),
        nn::EntryKind::Parameter => draw(entry.value.shape()),
    }));
    for mode in [Mode::Train, Mode::Eval] {
        let run = |inputs: &[Tensor]| {
            let cx = Context::with_values(&params, inputs[1..].to_vec(), mode).unwrap();
            forward(&block, &cx, &inputs[0]).map_err(|error| match error {
                nn::Error::Engine(error) => error,
                other => panic!("{other}"),
            })
        };
        // Buffers have no gradient; finite differences in them would find one.
        let trained: Vec<usize> = std::iter::once(0)
            .chain(
                (0..params.entries().len())
                    .filter(|&i| params.entries()[i].kind == nn::EntryKind::Parameter)
                    .map(|i| i + 1),
            )
            .collect();
        let of_trained = |some: &[Tensor]| {
            let mut all = inputs.clone();
            trained.iter().zip(some).for_each(|(&i, value)| all[i] = value.clone());
            run(&all)
        };
        let some: Vec<Tensor> = trained.iter().map(|&i| inputs[i].clone()).collect();
        let options =
            GradCheck { elements: 4, step: 1e-4, tolerance: 1e-5, ..GradCheck::default() };
        let report = gradcheck(of_trained, &some, &options).unwrap();
        assert!(report.compared >= 4 * some.len() / 2);
    }
}

#[test]
fn gradients_of_blocks() {
    for variant in [Variant::Released, Variant::Paper] {
        let config = &small(variant);
        check_block(
            &[3, 8, 5, 6],
            |b| Lam::new(b, config, 8),
            |lam, cx, x| lam.forward(cx, x, &x.scale(0.7)?),
        );
        check_block(&[3, 8, 8, 12], |b| Msm::new(b, config, 8), |msm, cx, x| msm.forward(cx, x));
        check_block(
            &[2, 8, 8, 8],
            |b| ResBlock::new(b, config, 8, 1),
            |block, cx, x| block.forward(cx, x),
        );
    }
    check_block(
        &[2, 8, 5, 4],
        |b| ResBlock::new(b, &small(Variant::Released), 8, 0),
        |block, cx, x| block.forward(cx, x),
    );
    check_block(&[2, 3, 6, 5], |b| conv_s(b, 8), |conv_s, cx, x| conv_s.forward(cx, x));
}

#[test]
fn gradients_of_the_ablations() {
    let changes: [fn(&mut ModelConfig); 6] = [
        |c| c.pooling = Pooling::Max,
        |c| c.pooling = Pooling::Learned,
        |c| c.activation = TapActivation::Softmax,
        |c| c.activation = TapActivation::Sigmoid,
        |c| c.modulation = false,
        |c| c.lam = false,
    ];
    for change in changes {
        let mut config = small(Variant::Released);
        change(&mut config);
        check_block(&[3, 8, 8, 8], |b| Msm::new(b, &config, 8), |msm, cx, x| msm.forward(cx, x));
    }
}

/// A small model, a batch for it, and the loss's gradients.
fn step(checkpoint: bool) -> (Vec<Option<Tensor>>, Params, f64) {
    let mut model = Model::new(&small(Variant::Released), 5, DType::F64).unwrap();
    let mut rng = Rng::new(6);
    let [input, target] =
        [0, 1].map(|_| Tensor::rand(&[3, 3, 32, 32], 0.0, 1.0, DType::F64, &mut rng).unwrap());
    let tape = Tape::new();
    let cx = Context::training(&model.params, &tape).with_checkpoints(checkpoint);
    let predictions = model.network.forward(&cx, &input).unwrap();
    let loss = dual_domain(&predictions, &target, LossConfig::default()).unwrap().total;
    let pass = cx.finish();
    let value = loss.item().unwrap();
    let gradients = pass.gradients(tape.backward(&loss).unwrap());
    pass.update_buffers(&mut model.params).unwrap();
    (gradients, model.params, value)
}

#[test]
fn gradients_of_the_total_loss() {
    // Against the loss itself, moved along the gradient of each parameter in turn.
    let config = small(Variant::Released);
    let model = Model::new(&config, 5, DType::F64).unwrap();
    let mut rng = Rng::new(6);
    let [input, target] =
        [0, 1].map(|_| Tensor::rand(&[3, 3, 32, 32], 0.0, 1.0, DType::F64, &mut rng).unwrap());
    let loss = |values: Vec<Tensor>| {
        let cx = Context::with_values(&model.params, values, Mode::Train).unwrap();
        let predictions = model.network.forward(&cx, &input).unwrap();
        dual_domain(&predictions, &target, LossConfig::default()).unwrap().total.item().unwrap()
    };
    let (gradients, _, _) = step(false);
    let values = model.params.values();
    for (i, (entry, gradient)) in model.params.entries().iter().zip(&gradients).enumerate() {
        let Some(gradient) = gradient else {
            assert_eq!(entry.kind, nn::EntryKind::Buffer, "{} got no gradient", entry.path);
            continue;
        };
        let norm = gradient.mul(gradient).unwrap().sum_all().unwrap().item().unwrap().sqrt();
        // Biases before a normalization, and all of LAM's filters while λ_l is 0, move nothing.
        if norm < 1e-9 {
            continue;
        }
        let along = |h: f64| {
            let mut values = values.clone();
            values[i] = values[i].add(&gradient.scale(h / norm).unwrap()).unwrap();
            loss(values)
        };
        let h = 1e-6;
        let slope = (along(h) - along(-h)) / (2.0 * h);
        assert!(
            (slope - norm).abs() < 2e-3 * norm,
            "{}: slope {slope}, gradient {norm}",
            entry.path
        );
    }
}

#[test]
fn checkpointing_changes_no_bit() {
    let bits = |(gradients, params, loss): (Vec<Option<Tensor>>, Params, f64)| {
        let all = gradients.into_iter().flatten().chain(params.values());
        (
            all.flat_map(|t| t.to_f64_vec().unwrap()).map(f64::to_bits).collect::<Vec<_>>(),
            loss.to_bits(),
        )
    };
    assert_eq!(bits(step(false)), bits(step(true)));
}

#[test]
fn unsuitable_inputs_are_refused() {
    let model = Model::new(&ModelConfig { n: 0, ..ModelConfig::default() }, 0, DType::F32).unwrap();
    let cx = Context::inference(&model.params);
    for shape in [[1, 3, 32, 64], [1, 3, 64, 70], [1, 1, 64, 64]] {
        let error =
            model.network.forward(&cx, &Tensor::zeros(&shape, DType::F32).unwrap()).err().unwrap();
        assert!(error.to_string().contains("sides from 64 in steps of 32"), "{error}");
    }
}

#[test]
fn a_weight_file_brings_its_network_along() {
    let base = ModelConfig { width: 8, n: 1, groups: 2, ..ModelConfig::default() };
    let changes: [fn(&mut ModelConfig); 11] = [
        |_| (),
        |c| c.n = 0,
        |c| c.width = 16,
        |c| c.groups = 8,
        |c| c.kernel = 5,
        |c| c.msm = 0,
        |c| c.msm = 2,
        |c| c.lam = false,
        |c| c.modulation = false,
        |c| c.pooling = Pooling::Learned,
        |c| c.variant = Variant::Paper,
    ];
    for change in changes {
        let mut config = base.clone();
        change(&mut config);
        let model = Model::new(&config, 7, DType::F32).unwrap();
        let mut file = model.to_file(DType::F32, Default::default()).unwrap();
        for prefix in [None, Some(""), Some("module."), Some("netG.module.")] {
            // Without metadata the network is detected, whatever the prefix of the names.
            if let Some(prefix) = prefix {
                let tensors = model.to_file(DType::F32, Default::default()).unwrap().tensors;
                file.tensors = tensors
                    .into_iter()
                    .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
                    .collect();
                file.metadata.clear();
            }
            let (read, _) = Model::from_bytes("memory", &file.to_bytes().unwrap()).unwrap();
            // Without filters nothing says how many there would be.
            let groups =
                if config.msm == 0 || !config.lam { read.config.groups } else { config.groups };
            let filters = if prefix.is_none() { config.groups } else { groups };
            assert_eq!(read.config, ModelConfig { groups: filters, ..config.clone() });
            let same = read
                .params
                .values()
                .iter()
                .zip(model.params.values())
                .all(|(a, b)| a.to_f64_vec().unwrap() == b.to_f64_vec().unwrap());
            assert!(same);
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let model = Model::new(&ModelConfig { width: 8, ..Default::default() }, 7, DType::F32).unwrap();
    let mut file = model.to_file(DType::F32, Default::default()).unwrap();
    let name = "Convs.0.main.0.weight";
    let tensor = &file.tensors[name];
    let mut values = tensor.to_vec::<f32>().unwrap();
    (values[3], values[7]) = (f32::NAN, f32::INFINITY);
    let damaged = Tensor::from_slice(&values, tensor.shape()).unwrap();
    file.tensors.insert(name.into(), damaged);
    let error = Model::from_file("w", file).err().unwrap().to_string();
    assert!(error.contains("w: 2 of the") && error.contains(name), "{error}");
}

#[test]
fn files_of_other_networks_are_refused() {
    let refused = |file: WeightFile| Model::from_file("w", file).err().unwrap().to_string();
    let other =
        HashMap::from([("conv1.weight".to_string(), Tensor::zeros(&[1], DType::F32).unwrap())]);
    assert!(
        refused(WeightFile { tensors: other, ..Default::default() })
            .starts_with("w: none of its 1 tensors (conv1.weight, …) has an IRNeXt name")
    );
    // The names belong to a vast network, but there are no numbers.
    let name = |i: usize| format!("Encoder.0.layers.{i}.main.0.main.0.weight");
    let vast =
        (0..200).map(|i| (name(i), Tensor::zeros(&[1024, 0], DType::F32).unwrap())).collect();
    let message = refused(WeightFile { tensors: vast, ..Default::default() });
    assert!(message.contains("missing: ") && message.len() < 10_000, "{message}");
    for config in ["{\"width\": 1024, \"n\": 256, \"msm\": 8}", "{\"n\": 99999999}", "{", "[]"] {
        let metadata = HashMap::from([("irnext.model".to_string(), config.to_string())]);
        let message = refused(WeightFile { metadata, ..Default::default() });
        assert!(message.starts_with('w') && message.len() < 10_000, "{message}");
    }
}

#[test]
fn parts_of_a_network_that_there_is_not_are_refused() {
    let changes: [fn(&mut ModelConfig); 4] = [
        |config| config.kernel = 0,
        |config| config.groups = 0,
        |config| config.n = usize::MAX,
        |config| (config.branches, config.pooling) = (vec![0], Pooling::Learned),
    ];
    for change in changes {
        let mut config = ModelConfig::default();
        change(&mut config);
        let builds: [&dyn Fn(&mut Builder<'_>); 4] = [
            &|b| drop(IrNext::new(b, &config)),
            &|b| drop(ResBlock::new(b, &config, 8, 1)),
            &|b| drop(Msm::new(b, &config, 8)),
            &|b| drop(Lam::new(b, &config, 8)),
        ];
        for build in builds {
            let build = |b: &mut Builder<'_>| {
                build(b);
                Ok(())
            };
            assert!(nn::Params::build(0, DType::F32, build).is_err(), "{config:?}");
        }
    }
    let odd = |b: &mut Builder<'_>| Ok(Lam::new(b, &ModelConfig::default(), 9));
    let error = nn::Params::build(0, DType::F32, odd).err().unwrap().to_string();
    assert!(error.contains("9 channels do not make 8 groups"), "{error}");
}
