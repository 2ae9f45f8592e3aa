//! What follows a dynamic filter is joined to it, and nothing else is.

use super::*;
use crate::Border;

/// `f` of a map, the taps of a filter and a third tensor is planned as the operations `small` and
/// one filter, which alone makes a map, off the tape and on it; it gives the same values and
/// gradients as the code, but for rounding.
#[track_caller]
fn check_one_filter(inputs: &[Tensor], f: &Code<'_>, small: &[&str]) {
    check_closely(inputs, f, &[small, &["dynamic_filter"]].concat());
    let tape = Tape::new();
    let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
    let map = planned_one(&leaves, f).unwrap().meta().to_string();
    let records = tape.to_string();
    assert_eq!(records.lines().filter(|record| record.contains(&map)).count(), 1, "{records}");
}

/// The operations that repeat the taps of a group for each of its channels.
const SEPARATED: [&str; 3] = ["reshape", "broadcast_to", "reshape"];

#[test]
fn a_filter_times_a_number_for_each_channel_has_other_taps() {
    let separated = [&SEPARATED[..], &["mul"]].concat();
    let cases: [(usize, [usize; 4], &[&str]); 5] = [
        (4, [2, 8, 1, 1], &separated),
        (4, [1, 8, 1, 1], &separated),
        (4, [2, 1, 1, 1], &["mul"]),
        (4, [1, 1, 1, 1], &["mul"]),
        (8, [1, 8, 1, 1], &["mul"]),
    ];
    for (groups, factor, small) in cases {
        let x = draw([&[2, 8, 5, 7], &[2, groups, 3, 3], &factor]);
        for border in [Border::Reflect, Border::Zero] {
            let times = |x: &[Tensor]| x[0].dynamic_filter(&x[1], border)?.mul(&x[2]);
            check_one_filter(&x, &times, small);
            let turned = |x: &[Tensor]| x[2].mul(&x[0].dynamic_filter(&x[1], border)?);
            check_one_filter(&x, &turned, small);
        }
    }
}

#[test]
fn a_filter_plus_or_minus_a_number_for_each_channel_is_one_pass() {
    let x = draw([&[2, 8, 5, 7], &[2, 4, 3, 3], &[2, 8, 1, 1]]);
    let plus = |x: &[Tensor]| x[0].dynamic_filter(&x[1], Border::Reflect)?.add(&x[2]);
    check_one_filter(&x, &plus, &["reshape"]);
    let minus = |x: &[Tensor]| x[0].dynamic_filter(&x[1], Border::Zero)?.sub(&x[2]);
    check_one_filter(&x, &minus, &["reshape", "affine"]);
    // One number for every image.
    let x = draw([&[2, 8, 5, 7], &[2, 4, 3, 3], &[1, 8, 1, 1]]);
    check_one_filter(&x, &plus, &["reshape", "broadcast_to"]);
    // The second one is added to the first, and both are scaled.
    let x = draw([&[2, 8, 5, 7], &[2, 8, 3, 3], &[2, 8, 1, 1], &[1, 8, 1, 1]]);
    let twice = |x: &[Tensor]| {
        x[0].dynamic_filter(&x[1], Border::Reflect)?.add(&x[2])?.sub(&x[3])?.mul(&x[3])
    };
    let small = ["reshape", "reshape", "affine", "add", "mul", "reshape", "mul"];
    check_one_filter(&x, &twice, &small);
}

#[test]
fn a_filter_plus_or_minus_its_input_has_another_center() {
    for k in [1, 3, 5] {
        let x = draw([&[2, 8, 5, 7], &[2, 4, k, k]]);
        for border in [Border::Reflect, Border::Zero] {
            let plus = |x: &[Tensor]| x[0].dynamic_filter(&x[1], border)?.add(&x[0]);
            check_one_filter(&x, &plus, &["add"]);
            let turned = |x: &[Tensor]| x[0].add(&x[0].dynamic_filter(&x[1], border)?);
            check_one_filter(&x, &turned, &["add"]);
            let minus = |x: &[Tensor]| x[0].dynamic_filter(&x[1], border)?.sub(&x[0]);
            check_one_filter(&x, &minus, &["add"]);
        }
    }
    // The input times a number for each channel, or for each image.
    let separated = [&SEPARATED[..], &["pad_zeros", "add"]].concat();
    let cases: [([usize; 4], &[&str]); 2] =
        [([1, 8, 1, 1], &separated), ([2, 1, 1, 1], &["pad_zeros", "add"])];
    for (factor, small) in cases {
        let x = draw([&[2, 8, 5, 7], &[2, 4, 3, 3], &factor]);
        let filter = |x: &[Tensor]| x[0].dynamic_filter(&x[1], Border::Reflect);
        check_one_filter(&x, &|x| filter(x)?.add(&x[0].mul(&x[2])?), small);
        check_one_filter(&x, &|x| x[2].mul(&x[0])?.add(&filter(x)?), small);
    }
    // A map of one pixel is itself a number for each channel.
    let x = draw([&[2, 8, 1, 1], &[2, 4, 3, 3]]);
    let pixel = |x: &[Tensor]| x[0].dynamic_filter(&x[1], Border::Zero)?.add(&x[0]);
    check_one_filter(&x, &pixel, &["reshape"]);
}

#[test]
fn a_filter_is_joined_to_nothing_else() {
    let filter = |x: &[Tensor]| x[0].dynamic_filter(&x[1], Border::Reflect);
    let with = |third: &[usize]| draw([&[2, 8, 5, 7], &[2, 4, 3, 3], third]);
    // Another reader needs the map.
    let x = with(&[1, 8, 1, 1]);
    let read_twice = |x: &[Tensor]| {
        let y = filter(x)?;
        y.mul(&x[2])?.add(&y)
    };
    check(&x, &read_twice, &["dynamic_filter", "mul", "add"]);
    // The filter is subtracted.
    check(&x, &|x| x[2].sub(&filter(x)?), &["dynamic_filter", "sub"]);
    check(&x, &|x| x[2].mul(&x[0].sub(&filter(x)?)?), &["dynamic_filter", "sub", "mul"]);
    // Numbers that differ within a map.
    for third in [[2, 8, 5, 7], [1, 8, 1, 7], [2, 1, 5, 1]] {
        let x = with(&third);
        check(&x, &|x| filter(x)?.mul(&x[2]), &["dynamic_filter", "mul"]);
        check(&x, &|x| filter(x)?.add(&x[2]), &["dynamic_filter", "add"]);
        let scaled = |x: &[Tensor]| filter(x)?.add(&x[0].mul(&x[2])?);
        check(&x, &scaled, &["dynamic_filter", "mul", "add"]);
    }
    // Numbers for more images than the filter has.
    let x = draw([&[1, 8, 5, 7], &[1, 4, 3, 3], &[2, 8, 1, 1]]);
    check(&x, &|x| filter(x)?.mul(&x[2]), &["dynamic_filter", "mul"]);
    check(&x, &|x| filter(x)?.add(&x[2]), &["dynamic_filter", "add"]);
    check(&x, &|x| filter(x)?.add(&x[0].mul(&x[2])?), &["dynamic_filter", "mul", "add"]);
}

#[test]
fn a_modulated_filter_and_its_residual_are_one_pass() {
    // f·(A∗x) − v·mean(x) + g·x, as in a local attention module.
    let x = draw([&[2, 8, 5, 7], &[2, 4, 3, 3], &[1, 8, 1, 1], &[1, 8, 1, 1], &[1, 8, 1, 1]]);
    let module = |x: &[Tensor]| {
        let (low, mean) = (x[0].dynamic_filter(&x[1], Border::Reflect)?, x[0].global_avg_pool()?);
        low.mul(&x[2])?.sub(&mean.mul(&x[3])?)?.add(&x[0].mul(&x[4])?)
    };
    let small = [&["sum", "affine"], &SEPARATED[..], &["mul", "mul", "reshape", "affine"]].concat();
    check_one_filter(&x, &module, &[&small[..], &["pad_zeros", "add"]].concat());
    // In any dtype; and constant numbers are padded when the plan is made.
    for dtype in [DType::F64, DType::F32] {
        let x: Vec<Tensor> = x.iter().map(|x| x.to_dtype(dtype).unwrap()).collect();
        let frozen = |inputs: &[Tensor]| module(&[inputs, &x[2..]].concat());
        let expected = [&small[..], &["add", "dynamic_filter"]].concat();
        assert_eq!(names(&x[..2], &frozen), expected);
    }
}
