use super::*;
use engine::DType;

fn one(value: f64) -> (Params, impl Fn(f64) -> Vec<Option<Tensor>>) {
    let (_, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[1], value))).unwrap();
    (params, |g| vec![Some(Tensor::full(&[1], g, DType::F64).unwrap())])
}

fn value(params: &Params) -> f64 {
    params.entries()[0].value.item().unwrap()
}

#[test]
fn the_first_step_of_adam_has_the_length_of_the_learning_rate() {
    let (mut params, gradient) = one(1.0);
    let mut adam = Optimizer::new(Rule::adam(), &params);
    adam.step(&mut params, &gradient(5.0), 0.1).unwrap();
    assert!((value(&params) - 0.9).abs() < 1e-9);
    // Second step, by hand: m = 0.45 + 0.1·(−1), v = 0.999·0.025 + 0.001.
    adam.step(&mut params, &gradient(-1.0), 0.1).unwrap();
    let (m, v) = (0.9 * 0.5 - 0.1, 0.999 * 0.025 + 0.001);
    let expected = 0.9 - 0.1 / (1.0 - 0.81) * m / ((v / (1.0 - 0.999f64.powi(2))).sqrt() + 1e-8);
    assert!((value(&params) - expected).abs() < 1e-9);
}

#[test]
fn the_decay_of_adam_w_acts_on_the_value() {
    let (mut params, gradient) = one(1.0);
    let mut optimizer = Optimizer::new(Rule::adam_w(), &params);
    optimizer.step(&mut params, &gradient(0.0), 0.1).unwrap();
    assert!((value(&params) - 0.999).abs() < 1e-12);
}

#[test]
fn the_decay_of_sgd_and_adam_acts_on_the_gradient() {
    let sgd = Rule::Sgd { momentum: 0.0, weight_decay: 0.5 };
    let adam = Rule::Adam { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.75 };
    // The gradients are 1 + 0.5·2, and −1 + 0.75·2, which is that of a step of Adam downwards.
    for (rule, drawn, expected) in [(sgd, 1.0, 1.8), (adam, -1.0, 1.9)] {
        let (mut params, gradient) = one(2.0);
        let mut optimizer = Optimizer::new(rule, &params);
        optimizer.step(&mut params, &gradient(drawn), 0.1).unwrap();
        assert!((value(&params) - expected).abs() < 1e-8, "{rule:?}: {}", value(&params));
    }
}

#[test]
fn parameters_count_their_own_steps() {
    let (_, mut params) = Params::build(0, DType::F64, |b| {
        Ok((b.constant("v", &[1], 1.0), b.constant("w", &[1], 1.0)))
    })
    .unwrap();
    let mut adam = Optimizer::new(Rule::adam(), &params);
    let gradient = || Some(Tensor::full(&[1], 0.5, DType::F64).unwrap());
    for second in [None, None, gradient()] {
        adam.step(&mut params, &[gradient(), second], 0.1).unwrap();
    }
    assert_eq!(adam.steps(), [3, 1]);
    // The first step of either has the length of the learning rate, whenever it is taken.
    assert!((params.entries()[1].value.item().unwrap() - 0.9).abs() < 1e-8);
}

#[test]
fn momentum_remembers() {
    let (mut params, gradient) = one(0.0);
    let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.5, weight_decay: 0.0 }, &params);
    sgd.step(&mut params, &gradient(1.0), 0.1).unwrap();
    sgd.step(&mut params, &gradient(1.0), 0.1).unwrap();
    assert!((value(&params) + 0.1 + 0.15).abs() < 1e-12);
}

#[test]
fn saved_and_resumed_it_takes_the_same_step() {
    let (mut params, gradient) = one(1.0);
    let mut first = Optimizer::new(Rule::adam(), &params);
    first.step(&mut params, &gradient(0.3), 0.1).unwrap();
    let tensors = first.tensors(&params).into_iter().collect();
    let mut second =
        Optimizer::resume(Rule::adam(), &params, first.steps().to_vec(), &tensors).unwrap();
    let mut twin = params.clone();
    first.step(&mut params, &gradient(-0.2), 0.1).unwrap();
    second.step(&mut twin, &gradient(-0.2), 0.1).unwrap();
    assert_eq!(value(&params).to_bits(), value(&twin).to_bits());
    assert!(Optimizer::resume(Rule::adam(), &params, vec![1], &HashMap::new()).is_err());
}

#[test]
fn counts_do_not_overflow() {
    let (mut params, gradient) = one(1.0);
    let slots = ["exp_avg", "exp_avg_sq"].map(|slot| (format!("{slot}.w"), gradient(0.5)));
    let slots = slots.map(|(name, mut x)| (name, x.remove(0).unwrap())).into();
    let steps = vec![u64::MAX];
    let mut adam = Optimizer::resume(Rule::adam(), &params, steps, &slots).unwrap();
    adam.step(&mut params, &gradient(0.5), 0.1).unwrap();
    assert_eq!(adam.steps(), [u64::MAX]);
    // The corrections of the first steps have long gone: m/√v.
    let expected = 1.0 - 0.1 * 0.5 / (0.999f64 * 0.5 + 0.001 * 0.25).sqrt();
    assert!((value(&params) - expected).abs() < 1e-8, "{}", value(&params));
}

#[test]
fn clipping_scales_all_gradients_together() {
    let mut gradients = vec![
        Some(Tensor::full(&[1], 3.0, DType::F64).unwrap()),
        None,
        Some(Tensor::full(&[1], 4.0, DType::F64).unwrap()),
    ];
    assert_eq!(clip_global_norm(&mut gradients, 10.0).unwrap(), 5.0);
    assert_eq!(gradients[0].as_ref().unwrap().item().unwrap(), 3.0);
    clip_global_norm(&mut gradients, 1.0).unwrap();
    assert!((global_norm(&gradients).unwrap() - 1.0).abs() < 1e-6);
}

#[test]
fn an_optimizer_of_another_model_is_refused() {
    let (mut params, _) = one(1.0);
    let (_, other) = Params::build(0, DType::F64, |b| {
        Ok((b.constant("v", &[1], 1.0), b.constant("w", &[1], 1.0)))
    })
    .unwrap();
    let mut adam = Optimizer::new(Rule::adam(), &other);
    let gradients = vec![Some(Tensor::full(&[1], 1.0, DType::F64).unwrap())];
    let message = adam.step(&mut params, &gradients, 0.1).unwrap_err().to_string();
    assert_eq!(
        message,
        "the optimizer's state is for a model with 2 entries, not for one with 1 parameter \
         and 0 buffers"
    );
    assert_eq!(value(&params), 1.0);
}

#[test]
fn a_resumed_optimizer_is_off_the_tape() {
    let (mut params, gradient) = one(1.0);
    let tape = engine::Tape::new();
    let slot = |name: &str| (format!("{name}.w"), tape.leaf(&gradient(0.5).remove(0).unwrap()));
    let slots = ["exp_avg", "exp_avg_sq"].map(slot).into();
    let mut adam = Optimizer::resume(Rule::adam(), &params, vec![1], &slots).unwrap();
    adam.step(&mut params, &gradient(0.5), 0.1).unwrap();
    assert!(tape.operations().is_empty());
    let wrong = Rule::Sgd { momentum: f64::NAN, weight_decay: 0.0 };
    assert!(Optimizer::resume(wrong, &params, vec![1], &slots).is_err());
}

#[test]
fn a_step_in_another_dtype_changes_nothing() {
    let (mut params, _) = one(1.0);
    params = params.to_dtype(DType::F32).unwrap();
    let mut adam = Optimizer::new(Rule::adam_w(), &params);
    let gradient = |dtype| vec![Some(Tensor::full(&[1], 0.5, dtype).unwrap())];
    adam.step(&mut params, &gradient(DType::F32), 0.1).unwrap();
    let mut params = params.to_dtype(DType::F64).unwrap();
    let before = value(&params);
    assert!(adam.step(&mut params, &gradient(DType::F64), 0.1).is_err());
    assert_eq!(value(&params), before);
}

#[test]
fn a_limit_out_of_range_is_refused() {
    let (_, gradient) = one(1.0);
    for limit in [f64::NAN, -1.0] {
        let mut gradients = gradient(3.0);
        assert!(clip_global_norm(&mut gradients, limit).is_err());
        assert_eq!(gradients[0].as_ref().unwrap().item().unwrap(), 3.0);
    }
}
