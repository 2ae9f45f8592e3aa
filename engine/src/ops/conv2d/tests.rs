//! The convolution against the six loops that define it.

use super::samples::sample_settings;
use super::*;
use crate::DType;
use crate::Rng;
use crate::checks::{SampleGenerator, Values};
use crate::ops::dyn_op;
use proptest::prelude::*;

/// The definition, written down.
fn naive(x: &Tensor, w: &Tensor, b: Option<&Tensor>, o: Conv2dOptions) -> Vec<f64> {
    let [n, c, h, width] = x.dims4("naive").unwrap();
    let [c_out, per_group, kh, kw] = w.dims4("naive").unwrap();
    let (xs, ws, bs) =
        (x.to_f64_vec().unwrap(), w.to_f64_vec().unwrap(), b.map(|b| b.to_f64_vec().unwrap()));
    let out =
        |size: usize, k: usize| (size + 2 * o.padding - o.dilation * (k - 1) - 1) / o.stride + 1;
    let mut y = Vec::new();
    for (n, out_c) in (0..n).flat_map(|n| (0..c_out).map(move |o| (n, o))) {
        for (r, col) in (0..out(h, kh)).flat_map(|r| (0..out(width, kw)).map(move |c| (r, c))) {
            let mut sum = bs.as_ref().map_or(0.0, |b| b[out_c]);
            for (i, k, l) in
                (0..per_group).flat_map(|i| (0..kh * kw).map(move |e| (i, e / kw, e % kw)))
            {
                let row = (r * o.stride + k * o.dilation).wrapping_sub(o.padding);
                let column = (col * o.stride + l * o.dilation).wrapping_sub(o.padding);
                if row < h && column < width {
                    let channel = out_c / (c_out / o.groups) * per_group + i;
                    sum += ws[((out_c * per_group + i) * kh + k) * kw + l]
                        * xs[((n * c + channel) * h + row) * width + column];
                }
            }
            y.push(sum);
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_with_its_definition(
            list in prop::collection::vec(any::<u32>(), 24), seed in any::<u64>()
        ) {
        let mut c = SampleGenerator::from_list(list, seed);
        let (options, x, [to, kernel]) = sample_settings(&mut c);
        let x = c.tensor(&x, Values::Normal);
        let w = c.tensor(
            &[to, x.shape()[1] / options.groups, kernel / 16, kernel % 16], Values::Normal
        );
        let b = c.tensor(&[to], Values::Normal);
        let y = x.conv2d(&w, Some(&b), options).unwrap().to_f64_vec().unwrap();
        for (y, expected) in y.iter().zip(naive(&x, &w, Some(&b), options)) {
            prop_assert!((y - expected).abs() < 1e-12 * expected.abs().max(1.0));
        }
    }
}

#[test]
fn wide_maps_and_many_channels_agree_too() {
    // Several bands of rows, several blocks of channels, a tile that overlaps the one before.
    let mut rng = Rng::new(5);
    let x = Tensor::randn(&[2, 19, 71, 65], DType::F64, &mut rng).unwrap();
    let w = Tensor::randn(&[21, 19, 3, 3], DType::F64, &mut rng).unwrap();
    let options = Conv2dOptions { padding: 1, ..Default::default() };
    let y = x.conv2d(&w, None, options).unwrap().to_f64_vec().unwrap();
    for (y, expected) in y.iter().zip(naive(&x, &w, None, options)) {
        assert!((y - expected).abs() < 1e-10);
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let mut rng = Rng::new(6);
    let x = Tensor::randn(&[3, 16, 40, 33], DType::F32, &mut rng).unwrap();
    let w = Tensor::randn(&[24, 16, 3, 3], DType::F32, &mut rng).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let tape = crate::Tape::new();
            let (x, w) = (tape.leaf(&x), tape.leaf(&w));
            let y = x.conv2d(&w, None, Conv2dOptions { padding: 1, ..Default::default() }).unwrap();
            let gradients = tape.backward(&y.mul(&y).unwrap().sum_all().unwrap()).unwrap();
            [&y, gradients.get(&x).unwrap(), gradients.get(&w).unwrap()]
                .map(|t| t.to_vec::<f32>().unwrap())
        })
    };
    assert_eq!(run(1), run(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The same bits as with a residual; in its memory if and only if nothing else holds that.
    #[test]
    fn a_sum_made_in_the_memory_of_its_residual_is_the_same(
        list in proptest::collection::vec(any::<u32>(), 12),
        seed: u64,
    ) {
        let mut c = SampleGenerator::from_list(list, seed);
        let (mut options, x, [mut to, mut kernel]) = sample_settings(&mut c);
        let mut x = x;
        if c.flag() {
            // For Winograd's algorithm.
            (options, kernel) = (
                Conv2dOptions { padding: c.size(0..=2), ..Default::default() }, 3 * 16 + 3
            );
            (x[1], x[2], x[3], to) = (
                c.size(8..=35), c.size(3..=21), c.size(3..=21), c.size(1..=35)
            );
        }
        let mut draw = |shape: &[usize]| c
            .tensor(shape, Values::Normal)
            .to_dtype(DType::F32)
            .unwrap();
        let x = draw(&x);
        let w = draw(&[to, x.shape()[1] / options.groups, kernel / 16, kernel % 16]);
        let b = draw(&[to]);
        let residual = draw(x.conv2d(&w, None, options).unwrap().shape()).contiguous().unwrap();
        let before = residual.to_vec::<f32>().unwrap();
        let plain = Conv2d::new(options, true).with_residual().unwrap();
        for op in [plain.clone(), plain.with_gelu_input().unwrap(), plain.with_gelu().unwrap()] {
            let expected = apply(op.clone(), &[&x, &w, &b, &residual]).unwrap();
            let expected = expected.to_vec::<f32>().unwrap();
            let joined = |residual: Tensor| {
                let out = residual.meta();
                let inputs = vec![x.clone(), w.clone(), b.clone(), residual];
                dyn_op(op.clone()).compute(inputs, &[out]).unwrap().swap_remove(0)
            };
            let shared = joined(residual.clone());
            prop_assert_eq!(&shared.to_vec::<f32>().unwrap(), &expected);
            prop_assert_eq!(&residual.to_vec::<f32>().unwrap(), &before);
            let own = Tensor::from_slice(&before, residual.shape()).unwrap();
            let address = own.dense_data::<f32>("test").unwrap().as_ptr();
            let y = joined(own);
            prop_assert_eq!(y.dense_data::<f32>("test").unwrap().as_ptr(), address);
            prop_assert_eq!(&y.to_vec::<f32>().unwrap(), &expected);
        }
    }
}

#[test]
fn a_residual_on_a_tape_is_left_alone_and_gets_its_gradient() {
    let mut rng = Rng::new(7);
    let x = Tensor::randn(&[1, 8, 6, 6], DType::F64, &mut rng).unwrap();
    let w = Tensor::randn(&[8, 8, 3, 3], DType::F64, &mut rng).unwrap();
    let options = Conv2dOptions { padding: 1, ..Default::default() };
    let op = Conv2d::new(options, false).with_residual().unwrap();
    let tape = crate::Tape::new();
    let (leaf, w) = (tape.leaf(&x), tape.leaf(&w));
    let y = apply(op.clone(), &[&x, &w, &leaf]).unwrap();
    let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(gradients.get(&leaf).unwrap().to_f64_vec().unwrap(), vec![1.0; x.numel()]);
    assert!(gradients.get(&w).is_some());
    // Nobody else holds this one, but the weight is on a tape.
    let tape = crate::Tape::new();
    let w = tape.leaf(&w.detach());
    let inputs = vec![x.clone(), w.clone(), Tensor::zeros(x.shape(), DType::F64).unwrap()];
    let y = dyn_op(op.clone()).compute(inputs, &[x.meta()]).unwrap().swap_remove(0);
    assert!(tape.backward(&y.sum_all().unwrap()).unwrap().get(&w).is_some());
    let wrong = apply(op, &[&x, &w.detach(), &Tensor::zeros(&[1, 8, 6, 5], DType::F64).unwrap()]);
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "conv2d: residual [1, 8, 6, 5] does not fit the output [1, 8, 6, 6]"
    );
}

#[test]
fn mismatched_shapes_are_reported() {
    let x = Tensor::zeros(&[1, 3, 8, 8], DType::F32).unwrap();
    let w = Tensor::zeros(&[32, 6, 3, 3], DType::F32).unwrap();
    let refuse =
        |x: &Tensor, w: &Tensor, b: Option<&Tensor>, o| x.conv2d(w, b, o).unwrap_err().to_string();
    let plain = Conv2dOptions::default();
    assert_eq!(
        refuse(&x, &w, None, plain),
        "conv2d: input has 3 channels, weight [32, 6, 3, 3] with 1 group expects 6"
    );
    let w = Tensor::zeros(&[4, 3, 9, 9], DType::F32).unwrap();
    assert!(refuse(&x, &w, None, plain).contains("does not fit a 8×8 input"));
    assert!(refuse(&x, &w, None, Conv2dOptions { stride: 0, ..plain }).contains("at least 1"));
    let w = Tensor::zeros(&[4, 3, 1, 1], DType::F32).unwrap();
    assert!(refuse(&x, &w, Some(&w), plain).contains("bias [4, 3, 1, 1]"));
    assert!(refuse(&x.reshape(&[3, 64]).unwrap(), &w, None, plain).contains("4 dimensions"));
}
