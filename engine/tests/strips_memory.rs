//! The memory of a computation in strips. The pool's counters are the process's, so that the test
//! stands alone in it.

use engine::{Conv2dOptions, DType, Error, Planner, Rng, Tensor, memory};

#[test]
fn strips_take_the_memory_that_they_say() {
    let (height, width) = (2048, 256);
    let mut rng = Rng::new(1);
    let same = Conv2dOptions { padding: 1, ..Conv2dOptions::default() };
    let [first, weight] = [[16, 3, 3, 3], [16, 16, 3, 3]]
        .map(|shape| Tensor::randn(&shape, DType::F32, &mut rng).unwrap().scale(0.1).unwrap());
    // Three blocks, each of which needs the mean of its map.
    let network = |x: &[Tensor]| {
        let mut y = x[0].conv2d(&first, None, same)?.gelu()?;
        for _ in 0..3 {
            let inner = y.conv2d(&weight, None, same)?.gelu()?;
            let small = inner.avg_pool2d(4, 4)?;
            let centered = small.sub(&small.global_avg_pool()?)?;
            y = inner.add(&centered.bilinear(height, width, true)?)?.conv2d(&weight, None, same)?;
        }
        Ok::<_, Error>(vec![y])
    };
    let planner = Planner::new(&[first.clone(), weight.clone()]);
    let pixel = Tensor::zeros(&[1, 3, 1, 1], DType::F32).unwrap();
    let blank = pixel.broadcast_to(&[1, 3, height, width]).unwrap();
    let row = Tensor::randn(&[1, 3, 1, width], DType::F32, &mut rng).unwrap();
    let rows = |rows: std::ops::Range<usize>| {
        let rows = row.broadcast_to(&[1, 3, rows.len(), width])?;
        rows.copy()
    };
    let mut last = usize::MAX;
    for part in [1, 2, 4, 8] {
        let strips = planner.strips(&blank, network, 200_000_000 / part).unwrap();
        let said = strips.peak_bytes();
        memory::trim();
        let held = memory::stats().live;
        memory::reset_peak();
        // With the buffers that wait for the next tensors.
        let most = std::cell::Cell::new(0);
        let look = |_| {
            let memory::Stats { live, cached, .. } = memory::stats();
            most.set(most.get().max(live + cached - held));
        };
        strips.run(rows, |_, _| Ok::<_, Error>(()), &look).unwrap();
        assert!(most.get() <= said, "{} bytes held instead of {said}", most.get());
        let taken = memory::stats().peak - held;
        assert!(taken <= said, "{taken} bytes instead of {said}");
        assert!(taken > said / 3, "{taken} bytes instead of {said}");
        assert!(said <= last);
        last = said;
        println!("{} bytes allowed, {said} said, {taken} taken", 200_000_000 / part);
    }
    assert!(last < 48_000_000, "{last}");
}
