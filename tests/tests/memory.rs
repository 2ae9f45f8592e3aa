//! What a step of training and a prediction ask of the system once they are warm: next to nothing, as tensors live in the pool.
//!
//! One test alone, for it counts what the whole process allocates.

use engine::{DType, Rng, Tape, Tensor, pool};
use irnext::model::{LossConfig, Model, ModelConfig, dual_domain};
use nn::Context;
use nn::optim::{Optimizer, Rule};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static SYSTEM: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that `work` allocated outside the pool, and the buffers that it took from the pool: kept ones and fresh ones.
fn asked_for(work: impl FnOnce()) -> (usize, u64, u64) {
    let (region, before) = (Region::new(SYSTEM), pool::stats());
    work();
    let (change, after) = (region.change(), pool::stats());
    (change.bytes_allocated, after.hits - before.hits, after.misses - before.misses)
}

#[test]
fn a_warm_pass_allocates_nothing_outside_the_pool() {
    // One thread: with several, what is alive at once differs from run to run, and with it what the pool must have.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    one.install(|| {
        let config = ModelConfig { n: 1, width: 16, ..ModelConfig::default() };
        let mut model = Model::new(&config, 1, DType::F32).unwrap();
        let mut optimizer = Optimizer::new(Rule::adam(), &model.params);
        let mut rng = Rng::new(2);
        let [input, target] = [0, 1].map(|_| Tensor::rand(&[2, 3, 128, 128], 0.0, 1.0, DType::F32, &mut rng));
        let mut step = || {
            let tape = Tape::new();
            let cx = Context::training(&model.params, &tape);
            let predictions = model.network.forward(&cx, &input).unwrap();
            let loss = dual_domain(&predictions, &target, LossConfig::default()).unwrap().total;
            drop(predictions);
            let pass = cx.finish();
            let gradients = pass.gradients(tape.backward(&loss).unwrap());
            pass.update_buffers(&mut model.params).unwrap();
            optimizer.step(&mut model.params, &gradients, 1e-4).unwrap();
        };
        // The second differs from the first by the optimiser's state.
        (0..2).for_each(|_| step());
        let (outside, hits, misses) = asked_for(step);
        println!("step: {outside} bytes, {hits} hits, {misses} misses");

        let model = model.freeze();
        let mut predict = || drop(model.predict(&input).unwrap());
        predict();
        let (outside, hits, misses) = asked_for(predict);
        println!("predict: {outside} bytes, {hits} hits, {misses} misses");
    });
}
