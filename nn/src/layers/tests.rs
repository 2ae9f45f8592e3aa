//! Values of the layers beside PyTorch's formulas, their gradients beside finite differences, and
//! the names of their parameters.

use super::*;
use crate::{Builder, Frozen, Mode, Params};
use engine::checks::{GradCheck, gradcheck};
use engine::{Conv2dOptions, DType, Numerics, Rng, Tape};

fn draw(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F64, &mut Rng::new(seed)).unwrap()
}

fn tensor(data: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(data, shape).unwrap()
}

fn build<M>(layer: impl FnOnce(&mut Builder<'_>) -> M) -> (M, Params) {
    Params::build(1, DType::F64, |b| Ok(layer(b))).unwrap()
}

/// The layer with random parameters.
fn drawn<M>(layer: impl FnOnce(&mut Builder<'_>) -> M) -> (M, Params) {
    let (layer, params) = build(layer);
    let values = params.entries().iter().zip(10..).map(|(e, seed)| draw(e.value.shape(), seed));
    let params = params.with_values(values.collect()).unwrap();
    (layer, params)
}

fn close(found: &Tensor, expected: &[f64]) {
    let found = found.to_f64_vec().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

/// Names and shapes of the parameters.
fn state_dict(params: &Params) -> Vec<(&str, &[usize])> {
    params.entries().iter().map(|entry| (&*entry.path, entry.value.shape())).collect()
}

/// Checks the gradients of the parameters, and of the input if `of_input`; and that the planned and
/// the frozen layer compute the same bits.
fn check(layer: &impl Module, params: &Params, x: &Tensor, of_input: bool) {
    let mut inputs = params.values();
    inputs.extend(of_input.then(|| x.clone()));
    let f = |inputs: &[Tensor]| {
        let values = inputs[..params.entries().len()].to_vec();
        let cx = Context::with_values(params, values, Mode::Train).unwrap().with_seed(3, 4);
        let x = if of_input { inputs.last().unwrap() } else { x };
        Ok(layer.forward(&cx, x).unwrap())
    };
    let options = GradCheck { step: 1e-4, ..GradCheck::default() };
    gradcheck(f, &inputs, &options).unwrap();

    let cx = Context::inference(params);
    let plain = layer.forward(&cx, x).unwrap();
    let inputs = [x.clone()];
    let planned = cx.planned(&inputs, |cx, x| Ok(vec![layer.forward(cx, &x[0])?])).unwrap();
    let frozen = Frozen::new(params, None, Numerics::default())
        .run(inputs.to_vec(), |cx, x| Ok(vec![layer.forward(cx, &x[0])?]))
        .unwrap();
    let bits = |y: &Tensor| -> Vec<u64> {
        y.to_f64_vec().unwrap().into_iter().map(f64::to_bits).collect()
    };
    assert_eq!(bits(&planned[0]), bits(&plain));
    assert_eq!(bits(&frozen[0]), bits(&plain));
}

fn message(layer: &impl Module, params: &Params, x: &Tensor) -> String {
    layer.forward(&Context::inference(params), x).unwrap_err().to_string()
}

#[test]
fn a_linear_map_is_a_product_with_the_transposed_weight() {
    let (linear, mut params) = build(|b| Linear::new(b, 3, 2));
    assert_eq!(state_dict(&params), [("weight", &[2, 3][..]), ("bias", &[2])]);
    // Within 1/√3, and not far within.
    let largest = |value: &Tensor| value.to_f64_vec().unwrap().into_iter().fold(0.0, f64::max);
    let bound = 1.0 / 3f64.sqrt();
    let wide = build(|b| Linear::new(b, 3, 1000)).1;
    for value in wide.values() {
        assert!((0.95 * bound..bound).contains(&largest(&value)), "{}", largest(&value));
    }
    params = params
        .with_values(vec![
            tensor(&[1.0, 0.0, -1.0, 2.0, 3.0, 4.0], &[2, 3]),
            tensor(&[10.0, 20.0], &[2]),
        ])
        .unwrap();
    let x = tensor(&[1.0, 2.0, 3.0, 0.0, 1.0, 0.0], &[2, 1, 3]);
    let cx = Context::inference(&params);
    let y = linear.forward(&cx, &x).unwrap();
    assert_eq!(y.shape(), [2, 1, 2]);
    close(&y, &[8.0, 40.0, 10.0, 23.0]);
    // A single vector, and no vectors.
    close(&linear.forward(&cx, &tensor(&[1.0, 2.0, 3.0], &[3])).unwrap(), &[8.0, 40.0]);
    let none = Tensor::zeros(&[0, 3], DType::F64).unwrap();
    assert_eq!(linear.forward(&cx, &none).unwrap().shape(), [0, 2]);
    let wrong = tensor(&[0.0; 4], &[2, 2]);
    assert_eq!(message(&linear, &params, &wrong), "linear: expected […, 3], got [2, 2]");
    let (linear, params) = drawn(|b| Linear::new(b, 3, 2));
    check(&linear, &params, &draw(&[2, 4, 3], 1), true);
    let (linear, params) = drawn(|b| Linear::without_bias(b, 3, 2));
    assert_eq!(state_dict(&params), [("weight", &[2, 3][..])]);
    check(&linear, &params, &draw(&[4, 3], 1), true);
}

#[test]
fn an_embedding_chooses_rows() {
    let (table, params) = build(|b| Embedding::new(b, 3, 2));
    assert_eq!(state_dict(&params), [("weight", &[3, 2][..])]);
    let rows = params.values()[0].to_f64_vec().unwrap();
    let indices = Tensor::from_slice(&[2i64, 0, 2, 1], &[2, 2]).unwrap();
    let y = table.forward(&Context::inference(&params), &indices).unwrap();
    assert_eq!(y.shape(), [2, 2, 2]);
    close(&y, &[rows[4], rows[5], rows[0], rows[1], rows[4], rows[5], rows[2], rows[3]]);
    check(&table, &params, &indices, false);
    let far = Tensor::from_slice(&[3i64], &[1]).unwrap();
    assert_eq!(
        message(&table, &params, &far),
        "embedding: the index 3 is not a row: there are 3, from 0 on"
    );
    assert!(message(&table, &params, &draw(&[1], 1)).contains("expected dtype i64"));
    // Normal with mean 0 and variance 1.
    let numbers = build(|b| Embedding::new(b, 200, 50)).1.values()[0].to_f64_vec().unwrap();
    let mean = |f: fn(f64) -> f64| numbers.iter().map(|&x| f(x)).sum::<f64>() / 10_000.0;
    assert!(mean(|x| x).abs() < 0.03 && (mean(|x| x * x) - 1.0).abs() < 0.05);
}

#[test]
fn windows_may_overlap() {
    let (_, params) = build(|_| ());
    let cx = Context::inference(&params);
    let data: Vec<f64> = (0..9).map(f64::from).collect();
    let x = tensor(&data, &[1, 1, 3, 3]);
    let max = MaxPool2d::new(2).stride(1);
    close(&max.forward(&cx, &x).unwrap(), &[4.0, 5.0, 7.0, 8.0]);
    let mean = AvgPool2d::new(2).stride(1);
    close(&mean.forward(&cx, &x).unwrap(), &[2.0, 3.0, 5.0, 6.0]);
    // By default they do not.
    close(&MaxPool2d::new(2).forward(&cx, &x).unwrap(), &[4.0]);
}

#[test]
fn networks_can_be_printed() {
    let (net, _) = build(|b| {
        Sequential::new()
            .then(Conv2d::new(&mut b.at(0), 1, 2, 3).dilation(2))
            .then(Function::new(|x| x.square()))
    });
    assert_eq!(format!("{net:?}"), "Sequential(2 layers)");
    assert_eq!(format!("{:?}", Function::new(|x| x.square())), "Function(..)");
    let (conv, _) = build(|b| Conv2d::new(b, 1, 2, 3).dilation(2));
    assert!(format!("{conv:?}").contains("dilation: 2"), "{conv:?}");
}

#[test]
fn flatten_makes_a_range_of_dimensions_one() {
    let (_, params) = build(|_| ());
    let cx = Context::inference(&params);
    let data: Vec<f64> = (0..24).map(f64::from).collect();
    // Maps are channels-last in memory; the order is by their indices all the same.
    let x = tensor(&data, &[2, 3, 2, 2]);
    let y = Flatten::new().forward(&cx, &x).unwrap();
    assert_eq!(y.shape(), [2, 12]);
    close(&y, &data);
    for (first, last, shape) in [(0, 3, &[24][..]), (0, 1, &[6, 2, 2]), (2, 2, &[2, 3, 2, 2])] {
        assert_eq!(Flatten::dims(first, last).forward(&cx, &x).unwrap().shape(), shape);
    }
    let vector = tensor(&data, &[24]);
    assert_eq!(
        message(&Flatten::new(), &params, &vector),
        "flatten: there are no dimensions 1 to 0 in [24]"
    );
    assert!(Flatten::dims(1, 4).forward(&cx, &x).is_err());
    check(&Flatten::new(), &params, &x, true);
}

#[test]
fn dropout_drops_a_fraction_and_keeps_the_mean() {
    for p in [-0.1, 1.0, f64::NAN] {
        assert!(Dropout::new(p).unwrap_err().to_string().contains("[0, 1)"));
    }
    let (_, params) = build(|_| ());
    let (dropout, x) =
        (Dropout::new(0.25).unwrap(), Tensor::ones(&[40, 1000], DType::F64).unwrap());
    let tape = Tape::new();
    let pass = |seed, step| Context::training(&params, &tape).with_seed(seed, step);
    let dropped = |cx: &Context, x: &Tensor| dropout.forward(cx, x).unwrap().to_f64_vec().unwrap();
    let y = dropped(&pass(1, 1), &x);
    let kept = y.iter().filter(|&&y| y != 0.0).count();
    assert!(y.iter().all(|&y| y == 0.0 || (y - 4.0 / 3.0).abs() < 1e-7));
    assert!((kept as f64 / 40_000.0 - 0.75).abs() < 0.01, "{kept}");
    // Others in another step, with another seed, and in the next layer of a pass.
    let cx = pass(1, 1);
    assert_eq!(dropped(&cx, &x), y);
    for other in [dropped(&cx, &x), dropped(&pass(1, 2), &x), dropped(&pass(2, 1), &x)] {
        assert_ne!(other, y);
    }
    // In evaluation, and without probability, the identity; in training there must be a seed.
    assert_eq!(dropped(&Context::inference(&params), &x), x.to_f64_vec().unwrap());
    let never = Dropout::new(0.0).unwrap();
    let unseeded = Context::training(&params, &tape);
    assert!(never.forward(&unseeded, &x).is_ok());
    let error = dropout.forward(&unseeded, &x).unwrap_err().to_string();
    assert!(error.contains("with_seed"), "{error}");
    check(&dropout, &params, &draw(&[3, 4], 1), true);
}

#[test]
fn dropout_drops_the_same_when_a_part_is_computed_again() {
    let build_net = |b: &mut Builder<'_>| Linear::without_bias(b, 4, 4);
    let (linear, params) = build(build_net);
    let linear = std::sync::Arc::new(linear);
    let x = draw(&[5, 4], 1);
    let step = |checkpoints: bool| {
        let tape = Tape::new();
        let cx = Context::training(&params, &tape).with_seed(1, 2).with_checkpoints(checkpoints);
        let mut y = x.clone();
        for _ in 0..2 {
            let linear = linear.clone();
            let part = move |cx: &Context, x: &Tensor| {
                Dropout::new(0.5)?.forward(cx, &linear.forward(cx, x)?.square()?)
            };
            y = cx.checkpoint(&y, part).unwrap();
        }
        // A layer after it sees the same stream in either case.
        let y = Dropout::new(0.5).unwrap().forward(&cx, &y).unwrap();
        let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
        let gradient = cx.finish().gradients(gradients).remove(0).unwrap();
        (y.to_f64_vec().unwrap(), gradient.to_f64_vec().unwrap())
    };
    let (value, gradient) = step(false);
    let (value_again, gradient_again) = step(true);
    assert_eq!(value_again, value);
    for (a, b) in gradient.iter().zip(&gradient_again) {
        assert!((a - b).abs() < 1e-12 * a.abs().max(1.0), "{a} {b}");
    }
}

/// The mean and the biased variance.
fn moments(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64)
}

#[test]
fn layer_norm_brings_the_last_dimensions_to_one_scale() {
    let (norm, params) = build(|b| LayerNorm::new(b, &[3, 2]));
    assert_eq!(state_dict(&params), [("weight", &[3, 2][..]), ("bias", &[3, 2])]);
    close(&params.values()[0], &[1.0; 6]);
    close(&params.values()[1], &[0.0; 6]);
    let wrong = draw(&[6, 2], 1);
    assert_eq!(
        message(&norm, &params, &wrong),
        "layer_norm: expected [3, 2] as the last dimensions of [6, 2]"
    );
    let (single, one) = build(|b| LayerNorm::new(b, &[1]));
    assert!(message(&single, &one, &draw(&[4, 1], 1)).contains("a single element"));

    let (norm, params) = drawn(|b| LayerNorm::new(b, &[3, 2]));
    let x = draw(&[4, 5, 3, 2], 1).affine(3.0, 2.0).unwrap();
    let y = norm.forward(&Context::inference(&params), &x).unwrap();
    let [weight, bias] = [0, 1].map(|i| params.values()[i].to_f64_vec().unwrap());
    let mut expected = Vec::new();
    for row in x.to_f64_vec().unwrap().chunks(6) {
        let (mean, var) = moments(row);
        let scaled = row.iter().map(|x| (x - mean) / (var + 1e-5).sqrt());
        expected.extend(scaled.zip(weight.iter().zip(&bias)).map(|(x, (w, b))| x * w + b));
    }
    close(&y, &expected);
    check(&norm, &params, &draw(&[4, 3, 2], 1), true);
    let empty = Tensor::zeros(&[0, 3, 2], DType::F64).unwrap();
    assert_eq!(norm.forward(&Context::inference(&params), &empty).unwrap().shape(), [0, 3, 2]);
}

#[test]
fn group_norm_brings_groups_of_channels_to_one_scale() {
    for groups in [0, 3, 8] {
        let result =
            Params::build(1, DType::F64, |b| Ok(GroupNorm::new(&mut b.at("n"), groups, 4)));
        let message = result.map(|_| ()).unwrap_err().to_string();
        assert_eq!(message, format!("n: {groups} groups do not divide 4 channels"));
    }
    let (norm, params) = drawn(|b| GroupNorm::new(b, 2, 4));
    assert_eq!(state_dict(&params), [("weight", &[4][..]), ("bias", &[4])]);
    let x = draw(&[3, 4, 2, 5], 1).affine(3.0, 2.0).unwrap();
    let y = norm.forward(&Context::inference(&params), &x).unwrap();
    let [weight, bias] = [0, 1].map(|i| params.values()[i].to_f64_vec().unwrap());
    let mut expected = Vec::new();
    for (group, row) in x.to_f64_vec().unwrap().chunks(2 * 10).enumerate() {
        let (mean, var) = moments(row);
        for (i, x) in row.iter().enumerate() {
            let channel = group % 2 * 2 + i / 10;
            expected.push((x - mean) / (var + 1e-5).sqrt() * weight[channel] + bias[channel]);
        }
    }
    close(&y, &expected);
    check(&norm, &params, &draw(&[2, 4, 3], 1), true);
    check(&norm, &params, &draw(&[2, 4, 3, 2], 1), true);
    check(&norm, &params, &draw(&[2, 4], 1), true);
    let wrong = draw(&[2, 3, 4], 1);
    assert_eq!(message(&norm, &params, &wrong), "group_norm: expected [N, 4, …], got [2, 3, 4]");
    let (channels, params) = build(|b| GroupNorm::new(b, 4, 4));
    assert!(message(&channels, &params, &draw(&[2, 4], 1)).contains("a single element"));
}

#[test]
fn an_input_of_another_dtype_names_the_layer() {
    type Made = (Box<dyn Module>, &'static [usize]);
    let layers: [fn(&mut Builder<'_>) -> Made; 8] = [
        |b| (Box::new(Linear::new(b, 2, 2)), &[3, 2]),
        |b| (Box::new(Conv2d::new(b, 2, 2, 1)), &[1, 2, 3, 3]),
        |b| (Box::new(ConvTranspose2d::new(b, 2, 2, 1)), &[1, 2, 3, 3]),
        |b| (Box::new(BatchNorm1d::new(b, 2)), &[3, 2]),
        |b| (Box::new(BatchNorm2d::new(b, 2)), &[1, 2, 3, 3]),
        |b| (Box::new(InstanceNorm2d::affine(b, 2)), &[1, 2, 3, 3]),
        |b| (Box::new(LayerNorm::new(b, &[2])), &[3, 2]),
        |b| (Box::new(GroupNorm::new(b, 1, 2)), &[3, 2]),
    ];
    for layer in layers {
        let ((layer, shape), params) =
            Params::build(1, DType::F32, |b| Ok(layer(&mut b.at("head")))).unwrap();
        let x = Tensor::ones(shape, DType::F64).unwrap();
        let error = layer.forward(&Context::inference(&params), &x).unwrap_err().to_string();
        let expected = "head: the input is of f64, the weights are of f32 in this pass";
        assert!(error.starts_with(expected), "{error}");
        let cx = Context::inference(&params).computing_in(Some(DType::F64));
        layer.forward(&cx, &x).unwrap();
    }
}

#[test]
fn an_input_of_another_shape_names_the_layer() {
    type Made = (Box<dyn Module>, &'static [usize]);
    let layers: [fn(&mut Builder<'_>) -> Made; 8] = [
        |b| (Box::new(Linear::new(b, 2, 2)), &[2, 3]),
        |b| (Box::new(Conv2d::new(b, 2, 2, 1)), &[1, 3, 4, 4]),
        |b| (Box::new(ConvTranspose2d::new(b, 2, 2, 1)), &[1, 3, 4, 4]),
        |b| (Box::new(BatchNorm1d::new(b, 2)), &[2, 3]),
        |b| (Box::new(BatchNorm2d::new(b, 2)), &[1, 3, 4, 4]),
        |b| (Box::new(InstanceNorm2d::affine(b, 2)), &[1, 2, 1, 1]),
        |b| (Box::new(LayerNorm::new(b, &[1])), &[2, 1]),
        |b| (Box::new(GroupNorm::new(b, 2, 2)), &[1, 2]),
    ];
    for layer in layers {
        let ((layer, shape), params) = build(|b| layer(&mut b.at("body").at(3)));
        let x = draw(shape, 1);
        for cx in [Context::inference(&params), Context::new(&params, Mode::Train, None)] {
            let error = layer.forward(&cx, &x).unwrap_err();
            assert!(error.to_string().ends_with(" (layer body.3)"), "{error}");
            assert!(matches!(error, Error::Engine(engine::Error::Shape { .. })));
        }
    }
    let (words, params) = build(|b| Embedding::new(&mut b.at("words"), 3, 2));
    let message = message(&words, &params, &Tensor::from_slice(&[3i64], &[1]).unwrap());
    assert!(message.ends_with("there are 3, from 0 on (layer words)"), "{message}");
}

#[test]
fn kernels_and_steps_of_no_length_are_refused() {
    let refused = |kernel, options| {
        let plain = Params::build(1, DType::F32, |b| {
            Ok(Conv2d::with_options(b, 2, 2, kernel, true, options))
        })
        .map(drop);
        let transposed = Params::build(1, DType::F32, |b| {
            Ok(ConvTranspose2d::with_options(b, 2, 2, kernel, true, options))
        });
        [plain, transposed.map(drop)].map(|made| made.unwrap_err().to_string())
    };
    let options = Conv2dOptions::default();
    for (kernel, options, what) in [
        (0, options, "kernel"),
        (3, Conv2dOptions { stride: 0, ..options }, "stride"),
        (3, Conv2dOptions { dilation: 0, ..options }, "dilation"),
    ] {
        for error in refused(kernel, options) {
            assert_eq!(error, format!("the model: the {what} must be at least 1, got 0"));
        }
    }
}

#[test]
fn batch_norm_follows_the_statistics_of_its_batches() {
    let (norm, mut params) = build(|b| BatchNorm2d::new(b, 2));
    let names = ["weight", "bias", "running_mean", "running_var"];
    assert_eq!(state_dict(&params), names.map(|name| (name, &[2][..])));
    let scale = [tensor(&[2.0, 3.0], &[2]), tensor(&[5.0, 7.0], &[2])];
    let buffers = [tensor(&[0.0, 0.0], &[2]), tensor(&[1.0, 1.0], &[2])];
    params = params.with_values([scale, buffers].concat()).unwrap();
    // The channels are (1, 5) and (3, 9): means 3 and 6, variances 4 and 9, unbiased 8 and 18.
    let x = tensor(&[1.0, 3.0, 5.0, 9.0], &[2, 2, 1, 1]);
    let tape = Tape::new();
    let cx = Context::training(&params, &tape);
    let y = norm.forward(&cx, &x).unwrap();
    let (a, b) = (2.0 / (4.0 + 1e-5f64).sqrt(), 3.0 / (9.0 + 1e-5f64).sqrt());
    close(&y, &[5.0 - 2.0 * a, 7.0 - 3.0 * b, 5.0 + 2.0 * a, 7.0 + 3.0 * b]);
    let pass = cx.finish();
    pass.update_buffers(&mut params).unwrap();
    close(&params.values()[2], &[0.3, 0.6]);
    close(&params.values()[3], &[0.9 + 0.8, 0.9 + 1.8]);
    // A second batch, which moves them from where they are.
    let cx = Context::training(&params, &tape);
    norm.forward(&cx, &x.scale(2.0).unwrap()).unwrap();
    cx.finish().update_buffers(&mut params).unwrap();
    close(&params.values()[2], &[0.27 + 0.6, 0.54 + 1.2]);
    close(&params.values()[3], &[1.53 + 3.2, 2.43 + 7.2]);
    let y = norm.forward(&Context::inference(&params), &x).unwrap();
    let (a, b) = (2.0 / (4.73 + 1e-5f64).sqrt(), 3.0 / (9.63 + 1e-5f64).sqrt());
    let expected = [0.13 * a + 5.0, 1.26 * b + 7.0, 4.13 * a + 5.0, 7.26 * b + 7.0];
    close(&y, &expected);
}

#[test]
fn batch_norm_of_sequences_is_that_of_maps_one_pixel_wide() {
    let (layers, params) =
        drawn(|b| (BatchNorm1d::new(&mut b.at("norm"), 3), BatchNorm2d::new(&mut b.at("maps"), 3)));
    let names: Vec<&str> = state_dict(&params).into_iter().map(|(name, _)| name).collect();
    let expected = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    assert_eq!(names[..4], expected);
    // The same values for both.
    let values = params.values();
    let values = [&values[..3], &[values[3].square().unwrap()]].concat();
    let mut params = params.with_values([&values[..], &values].concat()).unwrap();
    for shape in [&[4, 3][..], &[2, 3, 5]] {
        let x = draw(shape, 1).add(&draw(&[1; 2], 2)).unwrap();
        let maps = x.reshape(&[shape[0], 3, shape.get(2).copied().unwrap_or(1), 1]).unwrap();
        for mode in [Mode::Train, Mode::Eval] {
            let cx = Context::new(&params, mode, None);
            let y = layers.0.forward(&cx, &x).unwrap();
            assert_eq!(y.shape(), shape);
            close(&y, &layers.1.forward(&cx, &maps).unwrap().to_f64_vec().unwrap());
            cx.finish().update_buffers(&mut params).unwrap();
        }
    }
    let found = params.values();
    assert_ne!(found[2].to_f64_vec(), values[2].to_f64_vec());
    close(&found[2], &found[6].to_f64_vec().unwrap());
    close(&found[3], &found[7].to_f64_vec().unwrap());
    let (norm, params) = drawn(|b| BatchNorm1d::new(b, 3));
    let params = params.with_values(values).unwrap();
    check(&norm, &params, &draw(&[4, 3, 2], 3), true);
    let message = |x| message(&layers.0, &params, &x);
    assert_eq!(
        message(draw(&[3], 1)),
        "batch_norm: expected [N, C] or [N, C, L], got [3] (layer norm)"
    );
    assert!(message(draw(&[2, 3, 1, 1], 1)).ends_with("got [2, 3, 1, 1] (layer norm)"));
}

#[test]
fn norms_of_all_channels_and_of_each_are_layer_and_instance_norm() {
    let x = draw(&[2, 4, 3, 5], 1);
    let bits = |layer: &dyn Module, params: &Params| {
        layer.forward(&Context::inference(params), &x).unwrap().to_f64_vec().unwrap()
    };
    let ((group, group_params), (layer, layer_params)) =
        (build(|b| GroupNorm::new(b, 1, 4)), build(|b| LayerNorm::new(b, &[4, 3, 5])));
    assert_eq!(bits(&group, &group_params), bits(&layer, &layer_params));
    let (group, params) = build(|b| GroupNorm::new(b, 4, 4));
    let (affine, affine_params) = build(|b| InstanceNorm2d::affine(b, 4));
    let plain = bits(&InstanceNorm2d::new(), &params);
    assert_eq!(bits(&affine, &affine_params), plain);
    close(&tensor(&bits(&group, &params), &[120]), &plain);
    assert!(build(|_| InstanceNorm2d::new()).1.entries().is_empty());
}

#[test]
fn convolutions_have_the_defaults_of_pytorch() {
    let x = draw(&[1, 4, 8, 8], 1);
    let shape = |layer: &dyn Module, params: &Params| {
        layer.forward(&Context::inference(params), &x).unwrap().shape()[1..].to_vec()
    };
    let (conv, params) = build(|b| Conv2d::new(b, 4, 6, 3));
    assert_eq!(state_dict(&params), [("weight", &[6, 4, 3, 3][..]), ("bias", &[6])]);
    assert_eq!(shape(&conv, &params), [6, 6, 6]);
    let (conv, params) = build(|b| Conv2d::without_bias(b, 4, 6, 3).padding(1).stride(2));
    assert_eq!(state_dict(&params), [("weight", &[6, 4, 3, 3][..])]);
    assert_eq!(shape(&conv, &params), [6, 4, 4]);
    let (up, params) = build(|b| ConvTranspose2d::new(b, 4, 6, 4));
    assert_eq!(state_dict(&params), [("weight", &[4, 6, 4, 4][..]), ("bias", &[6])]);
    assert_eq!(shape(&up, &params), [6, 11, 11]);
    let (up, params) = build(|b| ConvTranspose2d::new(b, 4, 6, 4).stride(2).padding(1));
    assert_eq!(shape(&up, &params), [6, 16, 16]);

    // With groups, the fan-in of either is that of a group.
    let options = engine::Conv2dOptions { groups: 2, ..Default::default() };
    let (_, conv) = build(|b| Conv2d::with_options(b, 4, 200, 1, false, options));
    let (_, up) = build(|b| ConvTranspose2d::with_options(b, 200, 4, 1, false, options));
    assert_eq!(state_dict(&conv), [("weight", &[200, 2, 1, 1][..])]);
    assert_eq!(state_dict(&up), [("weight", &[200, 2, 1, 1][..])]);
    for params in [conv, up] {
        let largest = params.values()[0].to_f64_vec().unwrap().into_iter().fold(0.0, f64::max);
        assert!((0.95..1.0).contains(&(largest * 2f64.sqrt())), "{largest}");
    }
    let uneven = engine::Conv2dOptions { groups: 3, ..Default::default() };
    let error = Params::build(1, DType::F64, |b| {
        Ok(Conv2d::with_options(&mut b.at("c"), 4, 6, 1, true, uneven))
    });
    let message = error.map(|_| ()).unwrap_err().to_string();
    assert_eq!(message, "c: 3 groups do not divide [4, 6] channels");
}

#[test]
fn layers_report_their_costs() {
    let (layers, params) = build(|b| {
        Sequential::new()
            .then(Embedding::new(&mut b.at("table"), 7, 6))
            .then(LayerNorm::new(&mut b.at("norm"), &[6]))
            .then(Dropout::new(0.5).unwrap())
            .then(Flatten::new())
            .then(Linear::new(&mut b.at("head"), 18, 5))
    });
    let cx = Context::inference(&params);
    cx.count_costs();
    let x = Tensor::from_slice(&[1i64; 6], &[2, 3]).unwrap();
    layers.forward(&cx, &x).unwrap();
    let costs = cx.finish().costs;
    let lines: Vec<String> = costs
        .iter()
        .map(|c| format!("{} {} {} {}", c.path, c.kind, c.parameters, c.multiply_adds()))
        .collect();
    assert_eq!(
        lines,
        [
            "table embedding 42 0",
            "norm layer_norm 12 0",
            " dropout 0 0",
            " flatten 0 0",
            "head linear 95 180"
        ]
    );
    assert_eq!(costs.iter().map(|cost| cost.parameters).sum::<usize>(), params.count());
}

#[test]
fn vast_maps_without_elements_are_normalized() {
    let (_, params) = build(|_| ());
    let maps = Tensor::zeros(&[0, 1 << 40, 2, 2], DType::F32).unwrap();
    let y = InstanceNorm2d::new().forward(&Context::inference(&params), &maps).unwrap();
    assert_eq!(y.shape(), maps.shape());
}

#[test]
fn activations_are_those_of_pytorch() {
    let (_, params) = build(|_| ());
    let (cx, x) = (Context::inference(&params), tensor(&[-2.0, 0.0, 3.0], &[3]));
    let leaky = Activation::LeakyRelu(0.25);
    close(&leaky.forward(&cx, &x).unwrap(), &[-0.5, 0.0, 3.0]);
    let silu = [-2.0 / (1.0 + 2f64.exp()), 0.0, 3.0 / (1.0 + (-3f64).exp())];
    close(&Activation::Silu.forward(&cx, &x).unwrap(), &silu);
    assert_eq!([leaky, Activation::Silu].map(Activation::name), ["leaky_relu", "silu"]);
}

#[test]
fn a_function_is_a_layer_in_every_kind_of_pass() {
    let (net, params) = build(|b| {
        Sequential::new()
            .then(Function::new(|x| x.square()?.affine(1.0, 1.0)))
            .then(Linear::new(b, 3, 2))
            .then(Activation::Silu)
    });
    let x = draw(&[4, 3], 1);
    let cx = Context::inference(&params);
    cx.count_costs();
    let plain = net.forward(&cx, &x).unwrap().to_f64_vec().unwrap();
    let kinds: Vec<String> = cx.finish().costs.iter().map(|cost| cost.kind.to_string()).collect();
    assert_eq!(kinds, ["function", "linear", "silu"]);
    let run = |cx: &Context, x: &[Tensor]| Ok(vec![net.forward(cx, &x[0])?]);
    let inference = Context::inference(&params);
    let planned = inference.planned(std::slice::from_ref(&x), run).unwrap();
    let frozen = Frozen::new(&params, None, Numerics::default()).run(vec![x.clone()], run).unwrap();
    for y in [planned, frozen] {
        close(&y[0], &plain);
    }
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    let y = net.forward(&Context::training(&params, &tape), &leaf).unwrap();
    let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(gradients.get(&leaf).unwrap().shape(), x.shape());
}
