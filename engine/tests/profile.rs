//! The profile from outside. It is the process's, so these tests take turns, and lie in a process
//! of their own.

use engine::ops::{Op, apply};
use engine::profile::{self, Profile, Sum};
use engine::{Conv2dOptions, DType, Meta, Result, Rng, Tape, Tensor, checkpoint};
use std::sync::{Mutex, MutexGuard, PoisonError};

static PROFILE: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    PROFILE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn randn(shape: &[usize]) -> Tensor {
    Tensor::randn(shape, DType::F32, &mut Rng::new(1)).unwrap()
}

fn profiled(work: impl FnOnce()) -> Profile {
    profile::start();
    work();
    profile::stop()
}

/// The time of the operation that prints as `name`.
fn sum(profile: &Profile, name: &str) -> Option<Sum> {
    profile
        .operations()
        .into_iter()
        .find(|entry| entry.kind.to_string() == name)
        .map(|entry| entry.sum)
}

/// How often the operation that prints as `name` ran, and its floating-point operations.
fn cost(profile: &Profile, name: &str) -> Option<(u64, u64)> {
    sum(profile, name).map(|sum| (sum.calls, sum.flops))
}

#[test]
fn without_a_start_there_is_nothing() {
    let _turn = turn();
    let x = randn(&[4]);
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    let loss = leaf.exp().unwrap().sum_all().unwrap();
    assert!(profile::stop().entries.is_empty());
    // Operations recorded before are not counted in the backward pass, nor is anything after the
    // end.
    let profile = profiled(|| drop(tape.backward(&loss).unwrap()));
    assert!(profile.entries.is_empty(), "{profile:?}");
    x.exp().unwrap();
    let again = profile::stop();
    assert!(again.entries.is_empty() && again.wall.is_zero(), "{again:?}");
}

#[test]
fn calls_are_counted_by_operation_and_by_shape() {
    let _turn = turn();
    let profile = profiled(|| {
        for side in [6, 6, 9] {
            let y = randn(&[2, 4, side, side]).conv2d(
                &randn(&[8, 2, 3, 3]),
                None,
                Conv2dOptions { groups: 2, ..Default::default() },
            );
            y.unwrap().gelu().unwrap();
        }
    });
    // Two multiply-adds for each output and each of the 2·3·3 weights that it sees.
    let flops = |outputs: u64| 2 * outputs * 18;
    assert_eq!(cost(&profile, "conv2d"), Some((3, flops(2 * 8 * (16 + 16 + 49)))));
    assert_eq!(cost(&profile, "gelu"), Some((3, 0)));
    assert_eq!((profile.operations().len(), profile.entries.len()), (2, 4));
    let kinds: Vec<String> = profile.entries.iter().map(|entry| entry.kind.to_string()).collect();
    assert!(kinds.contains(&"conv2d 2×4×9×9 · 8×2×3×3 → 2×8×7×7".to_string()), "{kinds:?}");
    assert_eq!(profile.total().calls, 6);
    assert!(
        sum(&profile, "gelu").unwrap().gflops().is_none()
            && sum(&profile, "conv2d").unwrap().gflops().is_some()
    );
    assert!(profile.entries.is_sorted_by(|a, b| a.sum.time >= b.sum.time));
}

#[test]
fn products_count_by_their_definitions() {
    let _turn = turn();
    let profile = profiled(|| {
        randn(&[5, 2, 3]).matmul(&randn(&[3, 7])).unwrap();
        let options = Conv2dOptions { stride: 2, padding: 1, ..Default::default() };
        randn(&[1, 3, 5, 5]).conv_transpose2d(&randn(&[3, 4, 4, 4]), None, options).unwrap();
        randn(&[1, 4, 6, 6]).dynamic_filter(&randn(&[1, 2, 3, 3]), engine::Border::Zero).unwrap();
    });
    assert_eq!(cost(&profile, "matmul"), Some((1, 2 * 5 * 2 * 3 * 7)));
    assert_eq!(cost(&profile, "conv_transpose2d"), Some((1, 2 * 75 * 64)));
    assert_eq!(cost(&profile, "dynamic_filter"), Some((1, 2 * 144 * 9)));
}

#[test]
fn gradients_are_lines_of_their_own_and_cost_as_many_as_are_wanted() {
    let _turn = turn();
    let step = |input: bool| {
        profiled(|| {
            let tape = Tape::new();
            let x = randn(&[1, 3, 8, 8]);
            let x = if input { tape.leaf(&x) } else { x };
            let (w, b) = (tape.leaf(&randn(&[5, 3, 3, 3])), tape.leaf(&randn(&[5])));
            let y = x.conv2d(&w, Some(&b), Conv2dOptions::default()).unwrap();
            let dy = y.detach();
            tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
        })
    };
    let flops = 2 * 5 * 36 * 27;
    for (input, gradients) in [(false, 1), (true, 2)] {
        let profile = step(input);
        assert_eq!(cost(&profile, "conv2d"), Some((1, flops)));
        assert_eq!(cost(&profile, "conv2d backward"), Some((1, gradients * flops)));
        // The bias' gradient is a sum and a reshape.
        assert_eq!(cost(&profile, "sum"), Some((1, 0)));
    }
}

#[test]
fn gradients_that_add_up_are_counted_too() {
    let _turn = turn();
    let profile = profiled(|| {
        let tape = Tape::new();
        let x = tape.leaf(&randn(&[10]));
        tape.backward(&x.mul(&x).unwrap().sum_all().unwrap()).unwrap();
    });
    assert_eq!(cost(&profile, "accumulate"), Some((1, 0)));
    assert_eq!(cost(&profile, "mul backward").map(|(calls, _)| calls), Some(1));
}

#[test]
fn a_checkpoint_runs_forward_twice() {
    let _turn = turn();
    let profile = profiled(|| {
        let tape = Tape::new();
        let x = tape.leaf(&randn(&[10]));
        let y = checkpoint(&[&x], |x| Ok(vec![x[0].tanh()?])).unwrap().remove(0);
        tape.backward(&y.sum_all().unwrap()).unwrap();
    });
    assert_eq!(cost(&profile, "tanh").map(|(calls, _)| calls), Some(2));
    assert_eq!(cost(&profile, "tanh backward").map(|(calls, _)| calls), Some(1));
}

/// tanh as many times as it says, each inside the one before.
struct Deep(usize);

impl Op for Deep {
    const NAME: &'static str = "deep";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        let y = match self.0 {
            0 => x[0].tanh()?,
            depth => apply(Deep(depth - 1), &[x[0]])?.tanh()?,
        };
        Ok((y, ()))
    }

    fn backward(&self, (): (), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.clone())])
    }
}

#[test]
fn a_nested_operation_is_not_counted_twice() {
    let _turn = turn();
    let x = randn(&[1 << 18]);
    let profile = profiled(|| drop(apply(Deep(9), &[&x]).unwrap()));
    let calls = |name| cost(&profile, name).map(|(calls, _)| calls);
    assert_eq!((calls("deep"), calls("tanh")), (Some(10), Some(10)));
    // Were the outer ones given the time of the inner ones, the ten would add up to several times
    // the wall time.
    assert!(profile.total().time <= profile.wall, "{profile:?}");
    assert_eq!(profile.total().time + profile.outside(), profile.wall);
}
