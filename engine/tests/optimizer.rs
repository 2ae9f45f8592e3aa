//! Steps that cannot be taken: each is an error before the first parameter moves.

use engine::optimizer::{
    Clip, Parameter, Rule, Scalars, StepScalars, average, decay_scalars, step,
};
use engine::{DType, Error, Result, Tensor};

const F32: DType = DType::F32;
const F64: DType = DType::F64;

/// Two elements of `value`.
fn two(value: f64, dtype: DType) -> Tensor {
    Tensor::full(&[2], value, dtype).unwrap()
}

/// Such a tensor of a trace that has ended.
fn traced() -> Tensor {
    let mut leaked = None;
    engine::infer(&[&two(1.0, F64)], |x| {
        leaked = Some(x[0].clone());
        Ok::<_, Error>(Vec::new())
    })
    .unwrap();
    leaked.unwrap()
}

/// The error of a step of two parameters, the second with this gradient and these slots, after
/// which the first is where it was.
#[track_caller]
fn refused(
    rule: Rule,
    [value, gradient]: [&Tensor; 2],
    slots: &[Tensor],
    numbers: Scalars,
    clip: Option<Clip<'_>>,
) -> String {
    let (mut values, mut slots) = ([two(1.0, F64), value.clone()], [vec![], slots.to_vec()]);
    let before = slots.clone().map(|slots| slots.len());
    let mut scalars = StepScalars::default();
    scalars.set(vec![rule.scalars(1, 0.1), numbers]).unwrap();
    let gradients = [&two(1.0, F64), gradient];
    let parameters = values.iter_mut().zip(&mut slots).zip(gradients).enumerate();
    let mut parameters: Vec<Parameter<'_>> = parameters
        .map(|(scalars, ((value, slots), gradient))| Parameter { value, gradient, slots, scalars })
        .collect();
    let found = step(rule, &mut scalars, &mut parameters, clip, false).unwrap_err();
    assert_eq!(values[0].to_f64_vec().unwrap(), [1.0, 1.0]);
    assert_eq!(slots.map(|slots| slots.len()), before);
    found.to_string()
}

#[test]
fn state_that_does_not_fit_is_refused() {
    let (rule, x) = (Rule::adam_w(), two(1.0, F64));
    let message = |value: &Tensor, gradient: &Tensor, slots: &[Tensor]| {
        refused(rule, [value, gradient], slots, rule.scalars(1, 0.1), None)
    };
    let wide = Tensor::zeros(&[3, 2], F64).unwrap();
    for slots in [vec![x.clone()], vec![wide.clone(), wide], vec![two(0.0, F32), two(0.0, F32)]] {
        let found = message(&x, &x, &slots);
        assert!(found.starts_with("optimizer: the state of a parameter [2] f64 is"), "{found}");
    }
    assert_eq!(
        message(&x, &Tensor::zeros(&[1], F64).unwrap(), &[]),
        "optimizer: the gradient of a parameter [2] is [1]"
    );
    let none = traced();
    let no_elements = "optimizer: a traced tensor has a shape and no values";
    assert_eq!(message(&none, &x, &[]), no_elements);
    assert_eq!(message(&x, &none, &[]), no_elements);
    assert_eq!(message(&x, &x, &[x.clone(), none.clone()]), no_elements);
    let half = two(1.0, DType::F16);
    assert_eq!(message(&half, &half, &[]), "optimizer: expected dtype f32, got f16");
    assert!(message(&x, &two(1.0, DType::I64), &[]).ends_with("got i64"));
    let clip = Some(Clip { norm: &none, limit: 1.0 });
    assert_eq!(refused(rule, [&x, &x], &[], rule.scalars(1, 0.1), clip), no_elements);
}

#[test]
fn numbers_that_spoil_the_values_are_refused() {
    let (x, adam) = (two(1.0, F64), Rule::adam());
    let with = |betas, eps, weight_decay| Rule::Adam { betas, eps, weight_decay };
    for (rule, part) in [
        (with((1.0, 0.999), 1e-8, 0.0), "a beta must be in [0, 1), got 1"),
        (with((0.9, -0.1), 1e-8, 0.0), "a beta must be in [0, 1), got -0.1"),
        (with((0.9, f64::NAN), 1e-8, 0.0), "a beta must be in [0, 1), got NaN"),
        (with((0.9, 0.999), 0.0, 0.0), "eps must be finite and positive, got 0"),
        (with((0.9, 0.999), f64::INFINITY, 0.0), "eps must be finite and positive, got inf"),
        (with((0.9, 0.999), 1e-8, -1.0), "weight_decay must be finite and not negative, got -1"),
        (
            Rule::AdamW { betas: (0.9, 0.999), eps: 1e-8, weight_decay: f64::NAN },
            "weight_decay must be finite and not negative, got NaN",
        ),
        (
            Rule::Sgd { momentum: f64::INFINITY, weight_decay: 0.0 },
            "momentum must be finite and not negative, got inf",
        ),
    ] {
        let expected = format!("optimizer: {part}");
        assert_eq!(rule.check().unwrap_err().to_string(), expected);
        assert_eq!(refused(rule, [&x, &x], &[], adam.scalars(1, 0.1), None), expected);
    }
    for rate in [f64::NAN, f64::INFINITY, -0.1] {
        let found = refused(adam, [&x, &x], &[], adam.scalars(1, rate), None);
        assert!(found.contains("a step needs finite numbers, and a rate not below 0"), "{found}");
    }
    // Before the first step there are no corrections.
    refused(adam, [&x, &x], &[], adam.scalars(0, 0.1), None);
    for limit in [f64::NAN, -1.0] {
        let clip = Some(Clip { norm: &Tensor::scalar(1.0, F64).unwrap(), limit });
        let found = refused(adam, [&x, &x], &[], adam.scalars(1, 0.1), clip);
        assert!(found.contains("the limit of the norm must not be negative, got"), "{found}");
    }
}

#[test]
fn averages_that_cannot_follow_are_refused() {
    let follow = |value: &Tensor, decay: f64| -> Result<()> {
        let (mut averages, first) = ([two(0.0, F64), two(0.0, F64)], two(1.0, F64));
        let mut scalars = StepScalars::default();
        scalars.set(vec![decay_scalars(decay)])?;
        let found = average(&mut scalars, &mut averages, &[&first, value], None, false);
        assert!(found.is_ok() || averages[0].to_f64_vec()? == [0.0, 0.0]);
        found
    };
    follow(&two(1.0, F64), 0.9).unwrap();
    assert_eq!(follow(&traced(), 0.9), Err(Error::Traced { op: "average" }));
    for decay in [f64::NAN, -0.1, 1.5] {
        let message = follow(&two(1.0, F64), decay).unwrap_err().to_string();
        assert_eq!(message, format!("average: a decay must be in [0, 1], got {decay}"));
    }
    assert!(follow(&two(1.0, F32), 0.9).is_err());
}
