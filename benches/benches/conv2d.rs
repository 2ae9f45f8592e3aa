//! Convolutions at the shapes that the network spends its time in: forward, and all gradients.
//!
//! `cargo bench -p benches --bench conv2d`. The throughput is in multiply-adds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{Conv2dOptions, DType, Rng, Tape, Tensor};
use std::time::Duration;

fn conv2d(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv2d");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    let mut rng = Rng::new(1);
    // (input channels, output channels, side, kernel, stride)
    let shapes = [
        (16, 16, 256, 3, 1),
        (32, 32, 256, 3, 1),
        (64, 64, 128, 3, 1),
        (128, 128, 64, 3, 1),
        (32, 64, 256, 3, 2),
        (128, 64, 128, 1, 1),
        (32, 3, 256, 3, 1),
        (3, 32, 256, 3, 1),
    ];
    for (from, to, side, k, stride) in shapes {
        let x = Tensor::randn(&[1, from, side, side], DType::F32, &mut rng).unwrap();
        let w = Tensor::randn(&[to, from, k, k], DType::F32, &mut rng).unwrap();
        let options = Conv2dOptions { stride, padding: k / 2, ..Default::default() };
        let multiply_adds = (from * to * k * k * (side / stride) * (side / stride)) as u64;
        let name = format!("{from}→{to} {k}×{k}/{stride} {side}²");
        group.throughput(Throughput::Elements(multiply_adds));
        group.bench_function(format!("forward {name}"), |b| {
            b.iter(|| x.conv2d(&w, None, options).unwrap())
        });
        group.throughput(Throughput::Elements(3 * multiply_adds));
        group.bench_function(format!("step {name}"), |b| {
            b.iter(|| {
                let tape = Tape::new();
                let (x, w) = (tape.leaf(&x), tape.leaf(&w));
                let y = x.conv2d(&w, None, options).unwrap();
                let seed = y.detach();
                tape.backward_from(&[&y], vec![Some(seed)]).unwrap()
            })
        });
    }
}

criterion_group!(benches, conv2d);
criterion_main!(benches);
