use super::*;
use crate::optim::{Rule, clip_global_norm, norm};
use crate::{Context, Mode, ParamId};
use engine::DType;

/// A parameter of this value, a buffer of 0, and gradients for them.
fn one(value: f64) -> (ParamId, Params, impl Fn(f64) -> Vec<Option<Tensor>>) {
    let (buffer, params) = Params::build(0, DType::F64, |b| {
        b.constant("w", &[1], value);
        Ok(b.buffer("mean", &[1], 0.0))
    })
    .unwrap();
    (buffer, params, |g| vec![Some(Tensor::full(&[1], g, DType::F64).unwrap()), None])
}

/// A pass that recorded this value for the buffer.
fn pass(params: &Params, buffer: ParamId, value: f64) -> Pass {
    let cx = Context::new(params, Mode::Train, None);
    cx.update_buffer(buffer, Tensor::full(&[1], value, DType::F64).unwrap());
    cx.finish()
}

fn values(params: &Params) -> Vec<f64> {
    params.values().iter().map(|value| value.item().unwrap()).collect()
}

#[test]
fn a_step_moves_parameters_buffers_and_the_average() {
    let (buffer, mut params, gradients) = one(1.0);
    let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.0, weight_decay: 0.0 }, &params);
    let mut ema = Ema::new(&params, 0.5).unwrap();
    let noted = pass(&params, buffer, 7.0);
    let mut step = TrainingStep::begin(&mut sgd, Some(&mut ema), 0.5).unwrap();
    step.apply(&mut params, &gradients(1.0), noted, None).unwrap();
    step.commit();
    assert_eq!(values(&params), [0.5, 7.0]);
    // The first update's decay is 1/10.
    assert!((ema.values()[0].item().unwrap() - 0.55).abs() < 1e-15);
    assert_eq!((sgd.steps(), ema.updates()), (&[1, 0][..], 1));
}

#[test]
fn a_replayed_step_is_the_same_step() {
    let (buffer, mut params, gradients) = one(1.0);
    let mut first = Optimizer::new(Rule::adam(), &params);
    first.step(&mut params, &gradients(0.3), 0.1).unwrap();
    let (mut second, mut twin) = (first.clone(), params.clone());
    first.step(&mut params, &gradients(-0.2), 0.05).unwrap();
    let noted = pass(&twin, buffer, 0.0);
    let mut step = TrainingStep::begin_replayed(&mut second, None, 0.05).unwrap();
    step.apply(&mut twin, &gradients(-0.2), noted, None).unwrap();
    step.commit();
    assert_eq!(values(&params)[0].to_bits(), values(&twin)[0].to_bits());
    assert_eq!(first.steps(), second.steps());
}

#[test]
fn a_clipped_step_is_one_with_clipped_gradients() {
    for limit in [1.0, 10.0] {
        let (buffer, mut params, gradients) = one(1.0);
        let sgd = Rule::Sgd { momentum: 0.9, weight_decay: 0.1 };
        let (mut first, mut second) = (Optimizer::new(sgd, &params), Optimizer::new(sgd, &params));
        let mut twin = params.clone();
        let norm = norm(&gradients(-3.0)).unwrap();
        let (clip, noted) = (Clip { norm: &norm, limit }, pass(&params, buffer, 0.0));
        let mut step = TrainingStep::begin(&mut first, None, 0.1).unwrap();
        step.apply(&mut params, &gradients(-3.0), noted, Some(clip)).unwrap();
        step.commit();
        let mut clipped = gradients(-3.0);
        assert_eq!(clip_global_norm(&mut clipped, limit).unwrap(), norm.item().unwrap());
        second.step(&mut twin, &clipped, 0.1).unwrap();
        assert_eq!(values(&params)[0].to_bits(), values(&twin)[0].to_bits());
    }
}

#[test]
fn a_step_without_a_finite_norm_changes_nothing_and_is_rolled_back() {
    let (buffer, mut params, gradients) = one(1.0);
    let mut adam = Optimizer::new(Rule::adam(), &params);
    let mut ema = Ema::new(&params, 0.5).unwrap();
    let norm = norm(&gradients(f64::NAN)).unwrap();
    // The first step counts as it is applied, the second when it begins.
    for begun in [false, true] {
        let (clip, noted) = (Clip { norm: &norm, limit: 1.0 }, pass(&params, buffer, 7.0));
        let mut step = TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap();
        assert_eq!(step.counted, begun);
        step.apply(&mut params, &gradients(f64::NAN), noted, Some(clip)).unwrap();
        step.rollback();
        assert_eq!(values(&params), [1.0, 0.0]);
        assert_eq!((adam.steps(), ema.updates()), (&[0, 0][..], 0));
    }
    adam.step(&mut params, &gradients(5.0), 0.1).unwrap();
    assert!((values(&params)[0] - 0.9).abs() < 1e-9);
}

fn begin<'a>(replayed: bool, optimizer: &'a mut Optimizer, ema: &'a mut Ema) -> TrainingStep<'a> {
    match replayed {
        false => TrainingStep::begin(optimizer, Some(ema), 0.1).unwrap(),
        true => TrainingStep::begin_replayed(optimizer, Some(ema), 0.1).unwrap(),
    }
}

#[test]
fn values_and_counts_stay_together_when_a_step_is_dropped() {
    let (buffer, mut params, gradients) = one(1.0);
    let mut adam = Optimizer::new(Rule::adam(), &params);
    let mut ema = Ema::new(&params, 0.5).unwrap();
    let (_, mut twin, _) = one(1.0);
    let mut by_hand = Optimizer::new(Rule::adam(), &twin);
    // Before the first step, and after one.
    for step_count in 1..=2 {
        let state = |params: &Params, adam: &Optimizer, ema: &Ema| {
            let average = [0, 1].map(|i| ema.values()[i].item().unwrap());
            (values(params), average, adam.steps().to_vec(), ema.updates())
        };
        let before = state(&params, &adam, &ema);
        for replayed in [false, true] {
            // One that fails: the buffer is of another model, or the gradient of another shape.
            let (foreign, other, _) = one(1.0);
            let wrong = vec![Some(Tensor::zeros(&[2], DType::F64).unwrap()), None];
            for (noted, gradients) in
                [(pass(&other, foreign, 7.0), gradients(2.0)), (pass(&params, buffer, 7.0), wrong)]
            {
                let mut step = begin(replayed, &mut adam, &mut ema);
                assert!(step.apply(&mut params, &gradients, noted, None).is_err());
                drop(step);
                assert_eq!(state(&params, &adam, &ema), before);
            }
        }
        // One that is applied is taken, committed or not.
        let noted = pass(&params, buffer, 3.0);
        let mut step = begin(false, &mut adam, &mut ema);
        step.apply(&mut params, &gradients(5.0), noted, None).unwrap();
        match step_count {
            1 => drop(step),
            _ => step.rollback(),
        }
        by_hand.step(&mut twin, &gradients(5.0), 0.1).unwrap();
        assert_eq!(values(&params), [values(&twin)[0], 3.0]);
        assert_eq!((adam.steps(), ema.updates()), (by_hand.steps(), step_count));
    }
}

#[test]
fn a_step_that_is_dropped_before_it_is_applied_is_not_counted() {
    let (_, mut params, gradients) = one(1.0);
    let mut adam = Optimizer::new(Rule::adam(), &params);
    let mut ema = Ema::new(&params, 0.5).unwrap();
    drop(TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap());
    adam.step(&mut params, &gradients(5.0), 0.1).unwrap();
    drop(TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap());
    assert_eq!((adam.steps(), ema.updates()), (&[1, 0][..], 0));
}

#[test]
fn a_replayed_step_counts_where_a_recording_applies_it() {
    let (_, mut params, gradients) = one(1.0);
    let mut adam = Optimizer::new(Rule::adam(), &params);
    let mut ema = Ema::new(&params, 0.5).unwrap();
    // Before any step there is no recording.
    TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap().commit();
    assert_eq!((adam.steps(), ema.updates()), (&[0, 0][..], 0));
    adam.step(&mut params, &gradients(5.0), 0.1).unwrap();
    TrainingStep::begin_replayed(&mut adam, Some(&mut ema), 0.1).unwrap().commit();
    assert_eq!((adam.steps(), ema.updates()), (&[2, 0][..], 1));
}

/// Two parameters, and gradients for those that are named.
fn two() -> (Params, impl Fn([bool; 2]) -> Vec<Option<Tensor>>) {
    let (_, params) = Params::build(0, DType::F64, |b| {
        b.constant("v", &[1], 1.0);
        Ok(b.constant("w", &[1], 1.0))
    })
    .unwrap();
    let one = Tensor::ones(&[1], DType::F64).unwrap();
    (params, move |of| of.map(|of| of.then(|| one.clone())).to_vec())
}

fn nothing(params: &Params) -> Pass {
    Context::inference(params).finish()
}

#[test]
fn a_step_is_applied_once() {
    let (mut params, gradients) = two();
    let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.0, weight_decay: 0.0 }, &params);
    let mut step = TrainingStep::begin(&mut sgd, None, 0.5).unwrap();
    let [first, second] = [nothing(&params), nothing(&params)];
    step.apply(&mut params, &gradients([true; 2]), first, None).unwrap();
    let again = step.apply(&mut params, &gradients([true; 2]), second, None);
    assert!(again.unwrap_err().to_string().contains("applied once"));
    step.commit();
    assert_eq!((values(&params), sgd.steps()), (vec![0.5, 0.5], &[1, 1][..]));
    // After one that failed, even if it is committed: nothing has moved or counts.
    let mut step = TrainingStep::begin(&mut sgd, None, 0.5).unwrap();
    let [first, second] = [nothing(&params), nothing(&params)];
    assert!(step.apply(&mut params, &[], first, None).is_err());
    assert!(step.apply(&mut params, &gradients([true; 2]), second, None).is_err());
    step.commit();
    // Nor if it is not applied at all.
    TrainingStep::begin(&mut sgd, None, 0.5).unwrap().commit();
    assert_eq!((values(&params), sgd.steps()), (vec![0.5, 0.5], &[1, 1][..]));
}

#[test]
fn a_replayed_step_moves_the_same_parameters() {
    let (mut params, gradients) = two();
    let mut adam = Optimizer::new(Rule::adam(), &params);
    // One that fails does not say which parameters move.
    let nan = Tensor::scalar(1.0, DType::F64).unwrap();
    let clip = Some(Clip { norm: &nan, limit: f64::NAN });
    let mut step = TrainingStep::begin(&mut adam, None, 0.1).unwrap();
    let pass = nothing(&params);
    assert!(step.apply(&mut params, &gradients([true; 2]), pass, clip).is_err());
    drop(step);
    for of in [[true, false], [true, true], [false, false], [false, true], [true, false]] {
        let pass = nothing(&params);
        let mut step = TrainingStep::begin_replayed(&mut adam, None, 0.1).unwrap();
        let applied = step.apply(&mut params, &gradients(of), pass, None);
        assert_eq!(applied.is_ok(), of == [true, false], "{of:?}");
        if let Err(error) = applied {
            let message = error.to_string();
            assert!(message.starts_with("a replayed step moves the parameters"), "{message}");
        }
        step.commit();
    }
    assert_eq!(adam.steps(), [2, 0]);
    assert_eq!(values(&params)[1], 1.0);
}

#[test]
fn settings_that_spoil_the_values_are_refused() {
    let (params, _) = two();
    let mut ema = Ema::new(&params, 0.5).unwrap();
    let mut refused = |rule, lr: f64| {
        let mut optimizer = Optimizer::new(rule, &params);
        for replayed in [false, true] {
            let begun = match replayed {
                false => TrainingStep::begin(&mut optimizer, Some(&mut ema), lr),
                true => TrainingStep::begin_replayed(&mut optimizer, Some(&mut ema), lr),
            };
            assert!(begun.is_err());
        }
        assert_eq!((optimizer.steps(), ema.updates()), (&[0, 0][..], 0));
    };
    for lr in [f64::NAN, f64::INFINITY, -0.1] {
        refused(Rule::adam(), lr);
    }
    refused(Rule::Adam { betas: (0.9, 1.0), eps: 1e-8, weight_decay: 0.0 }, 0.1);
    refused(Rule::Sgd { momentum: f64::NAN, weight_decay: 0.0 }, 0.1);
}

#[test]
fn only_buffers_are_updated_and_only_by_values_with_elements() {
    let (buffer, mut params, gradients) = one(1.0);
    let weight = params.parameters().next().unwrap().0;
    let mut traced = Vec::new();
    engine::infer(&[&params.values()[1]], |x| {
        traced = x.to_vec();
        Ok::<_, engine::Error>(Vec::new())
    })
    .unwrap();
    let without_elements = Context::inference(&params);
    without_elements.update_buffer(buffer, traced.remove(0));
    let mut sgd = Optimizer::new(Rule::Sgd { momentum: 0.0, weight_decay: 0.0 }, &params);
    let trained = Context::inference(&params);
    trained.update_buffer(buffer, Tensor::ones(&[1], DType::F64).unwrap());
    trained.update_buffer(weight, Tensor::ones(&[1], DType::F64).unwrap());
    for (cx, part) in [(without_elements, "mean: the new value is traced"), (trained, "w is")] {
        let mut step = TrainingStep::begin(&mut sgd, None, 0.5).unwrap();
        let error = step.apply(&mut params, &gradients(1.0), cx.finish(), None).unwrap_err();
        assert!(error.to_string().starts_with(part), "{error}");
        step.commit();
        assert_eq!((values(&params), sgd.steps()), (vec![1.0, 0.0], &[0, 0][..]));
    }
    let cx = Context::inference(&params);
    cx.update_buffer(buffer, Tensor::ones(&[1], DType::F64).unwrap());
    cx.update_buffer(weight, Tensor::zeros(&[1], DType::F64).unwrap());
    assert!(cx.finish().update_buffers(&mut params).is_err());
    assert_eq!(values(&params), [1.0, 0.0]);
}
