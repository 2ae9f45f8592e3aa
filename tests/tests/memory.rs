//! The demands of a warm training step and prediction on the system: hardly a buffer, as tensors
//! live in the pool, and of other memory as much for a large picture as for a small one.
//!
//! One test alone, for it counts the allocations of the whole process.

use engine::{DType, Rng, Tape, Tensor, memory};
use irnext::model::{LossConfig, Model, ModelConfig, dual_domain};
use nn::optim::{Optimizer, Rule};
use nn::{Context, TrainingStep};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static SYSTEM: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that `work` allocates outside the pool when it is done once more after some times.
fn allocated(mut work: impl FnMut()) -> usize {
    // A kept buffer may serve a smaller request, and is then missing for its own: it takes some
    // steps until there are enough of all.
    (0..6).for_each(|_| work());
    let (region, before) = (Region::new(SYSTEM), memory::stats());
    work();
    let (change, after) = (region.change(), memory::stats());
    let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
    assert!(
        hits > 1000 && 500 * misses < hits,
        "{misses} buffers were not in the pool, {hits} were"
    );
    change.bytes_allocated
}

/// By a step of training and by a prediction, with images of `side`×`side`.
fn allocated_with(side: usize) -> [usize; 2] {
    memory::trim();
    let config = ModelConfig { n: 1, width: 16, ..ModelConfig::default() };
    let mut model = Model::new(&config, 1, DType::F32).unwrap();
    let mut optimizer = Optimizer::new(Rule::adam(), &model.params);
    let mut rng = Rng::new(2);
    let [input, target] =
        [0, 1].map(|_| Tensor::rand(&[2, 3, side, side], 0.0, 1.0, DType::F32, &mut rng).unwrap());
    let step = allocated(|| {
        let tape = Tape::new();
        let cx = Context::training(&model.params, &tape);
        let predictions = model.network.forward(&cx, &input).unwrap();
        let loss = dual_domain(&predictions, &target, LossConfig::default()).unwrap().total;
        drop(predictions);
        let pass = cx.finish();
        let gradients = pass.gradients(tape.backward(&loss).unwrap());
        let mut step = TrainingStep::begin(&mut optimizer, None, 1e-4).unwrap();
        step.apply(&mut model.params, &gradients, pass, None).unwrap();
        step.commit();
    });
    let model = model.freeze();
    [step, allocated(|| drop(model.predict(&input).unwrap()))]
}

#[test]
fn a_warm_pass_allocates_nothing_of_a_tensors_size_outside_the_pool() {
    // One thread: with several, the set of live buffers differs from run to run, and with it the
    // size of the pool.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let [small, large] = one.install(|| [64, 128].map(allocated_with));
    for (what, small, large) in [("step", small[0], large[0]), ("prediction", small[1], large[1])] {
        // Shapes, records and tables of a few numbers for each row: four times the pixels are far
        // from four times of these.
        assert!(large < small + small / 2, "{what}: {small} bytes at 64×64, {large} at 128×128");
        println!("{what}: {small} bytes at 64×64, {large} at 128×128");
    }
}
