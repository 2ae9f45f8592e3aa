//! The memory of a plan. The pool's counters are the process's, so that the test stands alone in
//! it.

use engine::{DType, Error, Planner, Rng, Tensor, memory};

#[test]
fn a_plan_takes_the_memory_that_it_says() {
    let x = Tensor::randn(&[1, 4, 128, 128], DType::F32, &mut Rng::new(1)).unwrap();
    let small = Tensor::randn(&[1, 4, 64, 64], DType::F32, &mut Rng::new(2)).unwrap();
    let map = 4 * 128 * 128 * 4;
    let planner = Planner::default();
    let code = |x: &[Tensor]| {
        let mut y = x[0].tanh()?;
        for _ in 0..6 {
            y = y.tanh()?;
        }
        // Added where `y` is, which nothing else reads.
        Ok::<_, Error>(vec![y.add(&x[1].bilinear(128, 128, false)?)?.exp()?])
    };
    let inputs = [x, small];
    let said = planner.peak_bytes(&inputs, code).unwrap();
    // The small map, which is read last, and two maps: the one that is read and the one made of it.
    assert_eq!(said, 2 * map + map / 4);
    let held = memory::stats().live;
    memory::reset_peak();
    planner.run(inputs.to_vec(), code).unwrap();
    // The inputs were there before, and stay.
    let taken = memory::stats().peak - held;
    assert!((2 * map..2 * map + map / 2).contains(&taken), "{taken} bytes");
    // Alone, the sum takes none.
    let sum =
        |x: &[Tensor]| Ok::<_, Error>(vec![x[0].tanh()?.add(&x[1].bilinear(128, 128, false)?)?]);
    let expected = sum(&inputs).unwrap()[0].to_f64_vec().unwrap();
    let held = memory::stats().live;
    memory::reset_peak();
    let y = planned(&inputs, sum);
    let taken = memory::stats().peak - held;
    assert!((map..map + map / 2).contains(&taken), "{taken} bytes");
    for (a, b) in y.to_f64_vec().unwrap().iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

fn planned(inputs: &[Tensor], f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, Error>) -> Tensor {
    engine::planned(inputs, f).unwrap().swap_remove(0)
}
