//! A plan computes the same values and gradients as the code, with fewer operations.

mod filters;

use super::*;
use crate::{Conv2dOptions, DType, Rng, Tape};

const SAME: Conv2dOptions = Conv2dOptions { stride: 1, padding: 1, dilation: 1, groups: 1 };

/// A computation on inputs.
type Code<'a> = dyn Fn(&[Tensor]) -> Result<Tensor> + 'a;

/// The names of the operations of the plan for `f` on `inputs`.
fn names(inputs: &[Tensor], f: &Code<'_>) -> Vec<&'static str> {
    let f = |inputs: &[Tensor]| Ok::<_, Error>(vec![f(inputs)?]);
    plan(inputs, f, &Constants::default()).unwrap().names()
}

/// Value and gradients of every input, computed by the code and by its plan.
fn both(inputs: &[Tensor], f: &Code<'_>) -> [Vec<f64>; 2] {
    [false, true].map(|as_planned| {
        let tape = Tape::new();
        let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
        let y = if as_planned { planned_one(&leaves, f) } else { f(&leaves) }.unwrap();
        let off_tape = if as_planned { planned_one(inputs, f) } else { f(inputs) }.unwrap();
        let gradients = tape.backward(&y.square().unwrap().sum_all().unwrap()).unwrap();
        let mut numbers = [y.to_f64_vec().unwrap(), off_tape.to_f64_vec().unwrap()].concat();
        for leaf in &leaves {
            numbers.extend(gradients.get(leaf).unwrap().to_f64_vec().unwrap());
        }
        numbers
    })
}

/// The plan of `f`, off the tape, has the operations `expected`; on it and off it, it gives the
/// same bits as the code.
#[track_caller]
fn check(inputs: &[Tensor], f: &Code<'_>, expected: &[&str]) {
    assert_eq!(names(inputs, f), expected);
    let [code, plan] = both(inputs, f);
    assert_eq!(code, plan);
}

/// Like [`check`], but where a rule changes the order of a sum.
#[track_caller]
fn check_closely(inputs: &[Tensor], f: &Code<'_>, expected: &[&str]) {
    assert_eq!(names(inputs, f), expected);
    let [code, plan] = both(inputs, f);
    assert_eq!(code.len(), plan.len());
    for (a, b) in code.iter().zip(&plan) {
        assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} and {b}");
    }
}

/// Random tensors of these shapes.
fn draw<const N: usize>(shapes: [&[usize]; N]) -> Vec<Tensor> {
    let mut rng = Rng::new(1);
    shapes.iter().map(|shape| Tensor::randn(shape, DType::F64, &mut rng).unwrap()).collect()
}

#[test]
fn a_residual_block_is_two_convolutions() {
    let x = draw([&[2, 8, 9, 7], &[8, 8, 3, 3], &[8], &[8, 8, 3, 3]]);
    let block = |x: &[Tensor]| {
        x[0].conv2d(&x[1], Some(&x[2]), SAME)?.gelu()?.conv2d(&x[3], None, SAME)?.add(&x[0])
    };
    check(&x, &block, &["conv2d", "conv2d"]);
}

#[test]
fn a_result_with_other_readers_is_not_fused() {
    let x = draw([&[1, 8, 6, 6], &[8, 8, 3, 3]]);
    let twice = |x: &[Tensor]| {
        let y = x[0].conv2d(&x[1], None, SAME)?;
        y.gelu()?.mul(&y)
    };
    check(&x, &twice, &["conv2d", "gelu", "mul"]);
    let y = planned(&x, |x| {
        let y = x[0].conv2d(&x[1], None, SAME)?;
        Ok::<_, Error>(vec![y.clone(), y.gelu()?])
    });
    let [y, gelu] = <[Tensor; 2]>::try_from(y.unwrap()).unwrap();
    assert_eq!(y.gelu().unwrap().to_f64_vec().unwrap(), gelu.to_f64_vec().unwrap());
}

#[test]
fn of_two_convolutions_the_later_one_adds_the_other() {
    let x = draw([&[1, 8, 6, 6], &[8, 8, 3, 3], &[8, 8, 1, 1]]);
    let plain = Conv2dOptions::default();
    // What the later one reads is made between the two.
    let both = |x: &[Tensor]| {
        let earlier = x[0].conv2d(&x[1], None, SAME)?;
        Ok::<_, Error>([earlier, x[0].scale(2.0)?.conv2d(&x[2], None, plain)?])
    };
    let expected = ["conv2d", "affine", "conv2d"];
    check_closely(&x, &|x| both(x).and_then(|[a, b]| a.add(&b)?.gelu()), &expected);
    check_closely(&x, &|x| both(x).and_then(|[a, b]| b.add(&a)?.gelu()), &expected);
}

#[test]
fn a_recorded_convolution_takes_the_gelu_before_it() {
    let x = draw([&[1, 8, 6, 6], &[8, 8, 3, 3], &[8, 8, 3, 3]]);
    let block = |x: &[Tensor]| x[0].conv2d(&x[1], None, SAME)?.gelu()?.conv2d(&x[2], None, SAME);
    let [code, plan] = [false, true].map(|as_planned| {
        let tape = Tape::new();
        let leaves: Vec<Tensor> = x.iter().map(|x| tape.leaf(x)).collect();
        if as_planned { planned_one(&leaves, block) } else { block(&leaves) }.unwrap();
        (tape.operations(), tape.saved_bytes())
    });
    assert_eq!(plan.0, ["conv2d", "conv2d"]);
    // Of the GELU, its input alone is kept, and not the map it makes, of 8·6·6 numbers.
    assert_eq!(plan.1 + 8 * 6 * 6 * 8, code.1);
    // A GELU that something else needs as well runs by itself.
    let shared = |x: &[Tensor]| {
        let y = x[0].gelu()?;
        y.conv2d(&x[1], None, SAME)?.add(&y)
    };
    let tape = Tape::new();
    let leaves: Vec<Tensor> = x.iter().map(|x| tape.leaf(x)).collect();
    planned_one(&leaves, shared).unwrap();
    assert_eq!(tape.operations(), ["gelu", "conv2d"]);
    // One that is a result as well is left to the convolution before it.
    let tape = Tape::new();
    let leaves: Vec<Tensor> = x.iter().map(|x| tape.leaf(x)).collect();
    let results = planned(&leaves, |x| {
        let y = x[0].conv2d(&x[1], None, SAME)?.gelu()?;
        Ok::<_, Error>(vec![y.conv2d(&x[2], None, SAME)?, y])
    });
    assert_eq!(results.unwrap().len(), 2);
    assert_eq!(tape.operations(), ["conv2d", "conv2d"]);
}

#[test]
fn a_broadcast_sum_is_left_alone() {
    let x = draw([&[2, 8, 6, 6], &[8, 8, 3, 3], &[1, 8, 1, 1]]);
    let sum = |x: &[Tensor]| x[0].conv2d(&x[1], None, SAME)?.add(&x[2]);
    check(&x, &sum, &["conv2d", "add"]);
}

#[test]
fn joined_maps_are_convolved_one_by_one() {
    let x = draw([&[2, 5, 6, 6], &[2, 3, 6, 6], &[7, 8, 3, 3], &[7]]);
    let joined = |x: &[Tensor]| {
        Tensor::concat(&[&x[0].scale(2.0)?, &x[1]], 1)?.conv2d(&x[2], Some(&x[3]), SAME)?.gelu()
    };
    // The map that exists first is convolved before the other is made.
    check_closely(&x, &joined, &["slice", "conv2d", "affine", "slice", "conv2d"]);
}

#[test]
fn maps_joined_along_another_dimension_are_convolved_together() {
    let x = draw([&[2, 5, 6, 6], &[1, 5, 6, 6], &[7, 5, 3, 3]]);
    let images = |x: &[Tensor]| Tensor::concat(&[&x[0], &x[1]], 0)?.conv2d(&x[2], None, SAME);
    check(&x, &images, &["concat", "conv2d"]);
    let x = draw([&[2, 5, 6, 6], &[2, 5, 2, 6], &[7, 5, 3, 3]]);
    let rows = |x: &[Tensor]| Tensor::concat(&[&x[0], &x[1]], 2)?.conv2d(&x[2], None, SAME);
    check(&x, &rows, &["concat", "conv2d"]);
}

#[test]
fn enlarged_maps_are_added_in_one_pass() {
    let x = draw([&[1, 3, 8, 12], &[1, 3, 4, 6], &[1, 3, 2, 3]]);
    let sum = |x: &[Tensor]| {
        let enlarged = |x: &Tensor| x.bilinear(8, 12, true);
        x[0].add(&enlarged(&x[1])?)?.add(&enlarged(&x[2])?)?.gelu()
    };
    check_closely(&x, &sum, &["add_bilinear"]);
}

#[test]
fn pools_of_one_map_are_made_of_each_other() {
    let x = draw([&[1, 3, 24, 17]]);
    let pools = |x: &[Tensor]| {
        let eighth = x[0].avg_pool2d(8, 8)?.sum_all()?;
        eighth.add(&x[0].avg_pool2d(4, 4)?.sum_all()?)?.add(&x[0].avg_pool2d(2, 2)?.sum_all()?)
    };
    let pools_alone = |names: Vec<&'static str>| {
        names.into_iter().filter(|name| name.contains("pool")).collect::<Vec<_>>()
    };
    assert_eq!(pools_alone(names(&x, &pools)), ["avg_pool2d"; 3]);
    let [code, plan] = both(&x, &pools);
    code.iter().zip(&plan).for_each(|(a, b)| assert!((a - b).abs() < 1e-11 * a.abs().max(1.0)));
    // Windows of 4 do not lie in windows of 6.
    let apart =
        |x: &[Tensor]| x[0].max_pool2d(6, 6)?.sum_all()?.add(&x[0].max_pool2d(4, 4)?.sum_all()?);
    let [code, plan] = both(&x, &apart);
    assert_eq!(code, plan);
}

/// A convolution, then batch normalization by running statistics.
fn normalized(x: &Tensor, c: &[Tensor]) -> Result<Tensor> {
    let y = x.conv2d(&c[0].to_dtype(x.dtype())?, Some(&c[1].to_dtype(x.dtype())?), SAME)?;
    let [weight, bias] = [&c[4], &c[5]].map(|c| c.to_dtype(x.dtype()));
    y.batch_norm_eval(&c[2], &c[3], &weight?, &bias?, 1e-5)
}

#[test]
fn normalization_by_constants_is_folded_and_shared_by_plans() {
    let mut rng = Rng::new(2);
    let mut c = draw([&[4, 8, 3, 3], &[4], &[4], &[4], &[4], &[4]]);
    c[3] = c[3].square().unwrap();
    let planner = Planner::new(&c);
    for size in [6, 9, 6] {
        let x = Tensor::randn(&[1, 8, size, size], DType::F64, &mut rng).unwrap();
        let run = |x: &[Tensor]| Ok::<_, Error>(vec![normalized(&x[0], &c)?]);
        let y = planner.run(vec![x.clone()], run).unwrap().swap_remove(0).to_f64_vec().unwrap();
        let expected = normalized(&x, &c).unwrap().to_f64_vec().unwrap();
        y.iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} and {b}"));
    }
    let plans = planner.plans.lock().unwrap();
    assert_eq!(plans.len(), 2);
    assert!(plans.iter().all(|(_, plan)| plan.names() == ["conv2d"]));
    // One weight, packed once for both; it and the bias are folded, and what led to them is gone.
    assert_eq!(planner.constants.packed_weights(), 1);
    assert_eq!(planner.constants.folded_tensors(), 2);
}

#[test]
fn values_cannot_be_asked_for() {
    let x = draw([&[2, 3]]);
    let asked = planned(&x, |x| {
        let sum = x[0].sum_all()?;
        let number = sum.item()?;
        Ok::<_, Error>(vec![sum.scale(number)?])
    });
    assert_eq!(asked.unwrap_err().to_string(), "item: a traced tensor has a shape and no values");
    // A tensor without values that was carried out of its computation.
    let mut carried = None;
    planned_one(&x, |x| {
        carried = Some(x[0].clone());
        x[0].scale(2.0)
    })
    .unwrap();
    let message = carried.unwrap().scale(1.0).unwrap_err().to_string();
    assert_eq!(message, "scale: a traced tensor has a shape and no values");
}

#[test]
fn shapes_are_found_without_computing() {
    let x = Tensor::zeros(&[1, 8, 64, 64], DType::F32).unwrap();
    let w = Tensor::zeros(&[16, 8, 3, 3], DType::F32).unwrap();
    let metas = infer(&[&x], |x| Ok::<_, Error>(vec![x[0].conv2d(&w, None, SAME)?.gelu()?]));
    assert_eq!(metas.unwrap(), [Meta { shape: vec![1, 16, 64, 64], dtype: DType::F32 }]);
    let wrong = infer(&[&x], |x| Ok::<_, Error>(vec![x[0].add(&w)?]));
    assert!(wrong.unwrap_err().to_string().starts_with("add: shapes"));
}

#[test]
fn gradients_stop_where_the_code_detaches() {
    let x = draw([&[3]]);
    let tape = Tape::new();
    let leaf = tape.leaf(&x[0]);
    let y =
        planned_one(std::slice::from_ref(&leaf), |x| x[0].mul(&x[0].detach())?.sum_all()).unwrap();
    let gradients = tape.backward(&y).unwrap();
    let gradient = gradients.get(&leaf).unwrap().to_f64_vec().unwrap();
    assert_eq!(gradient, x[0].to_f64_vec().unwrap());
}

#[test]
fn a_cast_weight_of_joined_maps_is_packed_at_planning() {
    // As a network in another precision has it: each layer casts its weight when it is called.
    let c = draw([&[8, 16, 3, 3]]);
    let planner = Planner::new(&c);
    let run = |x: &[Tensor]| {
        let joined = Tensor::concat(&[&x[0].scale(2.0)?, &x[0]], 1)?;
        Ok::<_, Error>(vec![joined.conv2d(&c[0].to_dtype(DType::F32)?, None, SAME)?])
    };
    let x = draw([&[1, 8, 6, 6]])[0].to_dtype(DType::F32).unwrap();
    planner.run(vec![x], run).unwrap();
    let plans = planner.plans.lock().unwrap();
    assert_eq!(plans[0].1.names(), ["conv2d", "affine", "conv2d"]);
    assert_eq!(planner.constants.packed_weights(), 2);
    // The slices of the weight, and not the weight that they were cut from.
    assert_eq!(planner.constants.folded_tensors(), 2);
}

#[test]
fn equal_maxima_keep_their_gradient() {
    // In the window of 4 the first of the two largest is (0, 3); in windows of 2 it is (1, 0).
    let mut data = vec![0.0; 16];
    (data[3], data[4]) = (1.0, 1.0);
    let x = Tensor::from_slice(&data, &[1, 1, 4, 4]).unwrap();
    let pools =
        |x: &[Tensor]| x[0].max_pool2d(4, 4)?.sum_all()?.add(&x[0].max_pool2d(2, 2)?.sum_all()?);
    let [code, plan] = both(&[x], &pools);
    assert_eq!(code, plan);
}

#[test]
fn statistics_of_another_type_are_left_to_the_operation() {
    let mut c = draw([&[4, 8, 3, 3], &[4], &[4], &[4], &[4], &[4]]);
    c[3] = c[3].square().unwrap();
    for i in [0, 1, 4, 5] {
        c[i] = c[i].to_dtype(DType::F32).unwrap();
    }
    let x = draw([&[1, 8, 6, 6]])[0].to_dtype(DType::F32).unwrap();
    let y = planned_one(std::slice::from_ref(&x), |x| normalized(&x[0], &c)).unwrap();
    let expected = normalized(&x, &c).unwrap().to_f64_vec().unwrap();
    assert_eq!(y.to_f64_vec().unwrap(), expected);
}

#[test]
fn unneeded_operations_are_not_run_and_keep_nothing_from_being_fused() {
    let x = draw([&[1, 8, 6, 6], &[8, 8, 3, 3]]);
    let code = |x: &[Tensor]| {
        let y = x[0].conv2d(&x[1], None, SAME)?;
        y.square()?;
        y.gelu()
    };
    check(&x, &code, &["conv2d"]);
}

#[test]
fn a_plan_that_is_recorded_is_not_kept() {
    let x = draw([&[3]]);
    let planner = Planner::default();
    for _ in 0..2 {
        let tape = Tape::new();
        let leaf = tape.leaf(&x[0]);
        let run = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].mul(&leaf)?.sum_all()?]);
        let y = planner.run(vec![x[0].clone()], run).unwrap().swap_remove(0);
        let gradients = tape.backward(&y).unwrap();
        assert_eq!(gradients.get(&leaf).unwrap().to_f64_vec().unwrap(), x[0].to_f64_vec().unwrap());
    }
    assert!(planner.plans.lock().unwrap().is_empty());
}

#[test]
fn a_plan_of_a_pass_off_the_tape_does_not_serve_one_on_it() {
    // Of equal maxima, a nested pool gives another one the gradient.
    let mut data = vec![0.0; 16];
    (data[3], data[4]) = (1.0, 1.0);
    let x = Tensor::from_slice(&data, &[1, 1, 4, 4]).unwrap();
    let pools = |x: &[Tensor]| {
        let whole = x[0].max_pool2d(4, 4)?.sum_all()?.scale(2.0)?;
        Ok::<_, Error>(vec![whole.add(&x[0].max_pool2d(2, 2)?.sum_all()?)?])
    };
    let planner = Planner::default();
    planner.run(vec![x.clone()], pools).unwrap();
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    let y = planner.run(vec![leaf.clone()], pools).unwrap().swap_remove(0);
    let gradient = tape.backward(&y).unwrap().get(&leaf).unwrap().to_f64_vec().unwrap();
    let mut expected = vec![0.0; 16];
    // The corners of the windows without a 1 come first in theirs.
    (expected[3], expected[4], expected[8], expected[10]) = (3.0, 1.0, 1.0, 1.0);
    assert_eq!(gradient, expected);
}

#[test]
fn the_plan_that_was_used_least_lately_makes_room() {
    let planner = Planner::default();
    let run = |len: usize| {
        let x = Tensor::zeros(&[len], DType::F64).unwrap();
        planner.run(vec![x], |x| Ok::<_, Error>(vec![x[0].exp()?])).unwrap();
    };
    (1..=PLANS).for_each(run);
    // The first is used again, so that the second has waited longest.
    run(1);
    run(PLANS + 1);
    let plans = planner.plans.lock().unwrap();
    let kept: Vec<usize> = plans.iter().map(|(keys, _)| keys[0].0.shape[0]).collect();
    let expected: Vec<usize> = (3..=PLANS).chain([1, PLANS + 1]).collect();
    assert_eq!(kept, expected);
}

#[test]
fn constants_with_other_settings_are_others() {
    let c = draw([&[8, 8, 3, 3]]);
    let planner = Planner::new(&c);
    let wide = Conv2dOptions { padding: 2, dilation: 2, ..SAME };
    let code = |x: &[Tensor]| {
        let [half, third] = [0.5, 0.25].map(|factor| c[0].scale(factor));
        let y = x[0].conv2d(&half?, None, SAME)?.conv2d(&third?, None, SAME)?;
        Ok::<_, Error>(vec![y.conv2d(&c[0], None, SAME)?.conv2d(&c[0], None, wide)?])
    };
    let x = draw([&[1, 8, 6, 6]]);
    let y = planner.run(x.clone(), code).unwrap().swap_remove(0).to_f64_vec().unwrap();
    assert_eq!(y, code(&x).unwrap()[0].to_f64_vec().unwrap());
}

#[test]
fn the_most_bytes_are_those_of_the_fullest_step() {
    let constant = draw([&[100]]).swap_remove(0);
    let bytes = |f: &Code<'_>| {
        let x = draw([&[100]]);
        let f = |x: &[Tensor]| Ok::<_, Error>(vec![f(x)?]);
        Planner::default().peak_bytes(&x, f).unwrap() / 800
    };
    // The input, and the result beside it.
    assert_eq!(bytes(&|x| x[0].exp()), 2);
    // Each map is dropped after its last reader, and constants do not count.
    assert_eq!(bytes(&|x| x[0].exp()?.exp()?.exp()?.mul(&constant)), 2);
    // The last reader of a constant frees nothing: y, its exponential, the root and a sum.
    let early = |x: &[Tensor]| {
        let y = x[0].mul(&constant)?;
        let e = y.exp()?;
        e.sqrt()?.add(&e)?.add(&y)
    };
    assert_eq!(bytes(&early), 4);
    // In the middle there are x, its root and the root's; at the end two.
    let middle = |x: &[Tensor]| x[0].sqrt()?.sqrt()?.add(&x[0])?.sqrt();
    assert_eq!(bytes(&middle), 3);
    // A small result does not hide the maps before it.
    assert_eq!(bytes(&|x| x[0].exp()?.add(&x[0])?.sum_all()), 3);
}

#[test]
fn a_value_that_is_read_twice_by_one_operation_is_there_twice() {
    let x = draw([&[2, 3]]);
    check(&x, &|x| x[0].exp()?.mul(&x[0].exp()?), &["exp", "exp", "mul"]);
    let square = |x: &[Tensor]| {
        let y = x[0].exp()?;
        y.mul(&y)
    };
    check(&x, &square, &["exp", "mul"]);
}

#[test]
fn equal_nodes_of_two_tapes_are_not_one_tensor() {
    let x = Tensor::from_slice(&[3.0], &[1]).unwrap();
    let tapes = [Tape::new(), Tape::new()];
    let [p, q] = [tapes[0].leaf(&x), tapes[1].leaf(&x)];
    let product = planned(&[], |_| Ok::<_, Error>(vec![p.mul(&q)?]));
    assert!(product.unwrap_err().to_string().contains("different tapes"));
}

#[test]
fn a_copy_is_off_the_tape_in_a_plan_as_well() {
    let inputs = draw([&[2, 3], &[2, 3]]);
    let f: &Code<'_> = &|x| x[0].copy()?.mul(&x[1]);
    assert_eq!(names(&inputs, f), ["copy", "mul"]);
    for as_planned in [false, true] {
        let tape = Tape::new();
        let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
        let y = if as_planned { planned_one(&leaves, f) } else { f(&leaves) }.unwrap();
        assert_eq!(y.to_f64_vec(), f(&inputs).unwrap().to_f64_vec());
        let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
        assert!(gradients.get(&leaves[0]).is_none());
        assert_eq!(gradients.get(&leaves[1]).unwrap().to_f64_vec(), inputs[0].to_f64_vec());
    }
}
