//! Every operation, as the samples of its check use it, with large dimensions: forward, and a step
//! (forward and all gradients).
//!
//! `cargo bench -p benches --bench operations`, or for one of them `… --bench operations -- gelu`.
//! The throughput is in elements of the inputs, f32. A new module is benched without a line here.

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use engine::checks::{Sample, SampleGenerator};
use engine::ops::OPS;
use engine::{DType, Tape, Tensor};
use std::collections::HashSet;
use std::time::Duration;

/// Random uses of each operation, at most.
const SAMPLES: u64 = 2;

fn operations(c: &mut Criterion) {
    for module in OPS {
        let mut group = c.benchmark_group(module.name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.measurement_time(Duration::from_millis(500)).warm_up_time(Duration::from_millis(100));
        let mut names = HashSet::new();
        for (operation, sampler) in module.operations {
            for seed in 0..SAMPLES {
                let sample = sampler(&mut SampleGenerator::large(seed));
                let name = format!(
                    "{operation} {}",
                    sample.label.trim_start_matches(operation).trim_start()
                );
                // An operation without settings has but one large use.
                if names.insert(name.clone()) {
                    bench(&mut group, &name, &sample);
                }
            }
        }
    }
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, sample: &Sample) {
    let inputs: Vec<Tensor> =
        sample.inputs.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    group.throughput(Throughput::Elements(inputs.iter().map(|x| x.numel() as u64).sum()));
    group.bench_function(format!("{name} forward"), |b| b.iter(|| (sample.run)(&inputs).unwrap()));
    group.bench_function(format!("{name} step"), |b| {
        b.iter(|| {
            let tape = Tape::new();
            let leaves: Vec<Tensor> = inputs.iter().map(|x| tape.leaf(x)).collect();
            let y = (sample.run)(&leaves).unwrap();
            let dy = y.detach();
            tape.backward_from(&[&y], vec![Some(dy)]).unwrap()
        })
    });
}

criterion_group!(benches, operations);
criterion_main!(benches);
