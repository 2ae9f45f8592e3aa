//! A computation in strips gives the result of one piece, and takes the memory that it says.

use super::*;
use crate::{Border, Conv2dOptions, DType, Planner, Rng};

const SAME: Conv2dOptions = Conv2dOptions { stride: 1, padding: 1, dilation: 1, groups: 1 };
const HALVE: Conv2dOptions = Conv2dOptions { stride: 2, ..SAME };

/// A computation with weights.
type Code = fn(&Tensor, &[Tensor]) -> Result<Tensor>;

/// Two scales, each with a filter made from a mean, and a normalization: every kind of operation.
fn network(x: &Tensor, w: &[Tensor]) -> Result<Tensor> {
    let half = x.nearest_every(2)?;
    let (scale, shift) = (half.constant(&[1.5; 4], &[4])?, half.constant(&[0.5; 4], &[4])?);
    let shallow = half.conv2d(&w[0], None, SAME)?.gelu()?.instance_norm(&scale, &shift, 1e-5)?;
    let full = module(&x.conv2d(&w[0], None, SAME)?.gelu()?, w)?;
    let down = full.conv2d(&w[1], None, HALVE)?.gelu()?;
    let down = Tensor::concat(&[&down, &shallow], 1)?.conv2d(&w[2], None, SAME)?;
    let down = module(&module(&down, w)?, w)?;
    let up = down.conv_transpose2d(&w[3], None, HALVE)?.gelu()?;
    let dilated = Conv2dOptions { dilation: 2, padding: 2, ..SAME };
    let both = up.add(&full)?.add(&enlarged(&full.max_pool2d(3, 1)?, &full)?)?;
    both.conv2d(&w[1], None, dilated)?.mul(&up.sigmoid()?)?.conv2d(&w[4], None, SAME)?.add(x)
}

/// `map`, enlarged to the size of `like`.
fn enlarged(map: &Tensor, like: &Tensor) -> Result<Tensor> {
    let [.., h, w] = like.dims4("test")?;
    map.bilinear(h, w, true)
}

/// A residual block with branches at two scales, each filtered by what its mean says.
fn module(x: &Tensor, w: &[Tensor]) -> Result<Tensor> {
    let y = x.conv2d(&w[1], None, SAME)?.gelu()?;
    let filtered = |map: &Tensor| {
        let features = map.conv2d(&w[1], None, SAME)?;
        let mean = features.global_avg_pool()?;
        let taps = mean.conv2d(&w[5], None, Conv2dOptions::default())?.tanh()?;
        features.dynamic_filter(&taps.reshape(&[1, 2, 3, 3])?, Border::Reflect)?.add(&features)
    };
    let coarse = filtered(&y.avg_pool2d(4, 4)?)?;
    let fine = y.avg_pool2d(2, 2)?;
    let fine = filtered(&fine.add(&enlarged(&coarse, &fine)?)?)?;
    let sum = y.add(&enlarged(&coarse, x)?)?.add(&enlarged(&fine, x)?)?;
    sum.conv2d(&w[1], None, SAME)?.add(x)
}

fn weights(dtype: DType) -> Vec<Tensor> {
    let mut rng = Rng::new(3);
    let shapes: [&[usize]; 6] =
        [&[4, 2, 3, 3], &[4, 4, 3, 3], &[4, 8, 3, 3], &[4, 4, 4, 4], &[2, 4, 3, 3], &[18, 4, 1, 1]];
    let draw = |shape: &&[usize]| Tensor::randn(shape, dtype, &mut rng).unwrap().scale(0.2);
    shapes.iter().map(draw).collect::<Result<_>>().unwrap()
}

fn map(height: usize, width: usize, dtype: DType) -> Tensor {
    Tensor::randn(&[1, 2, height, width], dtype, &mut Rng::new(height as u64)).unwrap()
}

fn strips(x: &Tensor, f: Code, w: &[Tensor], bytes: usize) -> Result<Strips> {
    Planner::new(w).strips(x, |x| Ok::<_, Error>(vec![f(&x[0], w)?]), bytes)
}

/// The result of `strips` on `x`.
fn run(strips: &Strips, x: &Tensor) -> Result<Tensor> {
    let mut parts: Vec<Tensor> = Vec::new();
    let (mut next, last) = (0, std::cell::Cell::new(0.0));
    let progress = |done: f64| assert!(last.replace(done) <= done && done <= 1.0);
    let read = |rows: Range<usize>| x.narrow(2, rows.start, rows.len());
    let write = |first: usize, rows: Tensor| {
        assert_eq!(first, next);
        next += rows.shape()[2];
        parts.push(rows);
        Ok::<_, Error>(())
    };
    strips.run(read, write, &progress)?;
    assert_eq!(last.get(), 1.0);
    Tensor::concat(&parts.iter().collect::<Vec<_>>(), 2)
}

/// The largest difference of the elements.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn strips_of_any_height_give_the_result_of_one_piece() {
    let w = weights(DType::F64);
    for (height, width) in [(16, 16), (72, 16), (200, 24), (304, 16)] {
        let x = map(height, width, DType::F64);
        let whole = network(&x, &w).unwrap();
        assert!(difference(&whole, &x) > 0.1);
        let mut strips = strips(&x, network, &w, usize::MAX).unwrap();
        assert!(strips.stages.len() >= 7 && !strips.keeping.compact);
        for rows in [1, 2, 3, 7, 16, 50, 256] {
            strips.height = rows;
            let off = difference(&run(&strips, &x).unwrap(), &whole);
            assert!(off < 1e-12, "{height}×{width} in strips of {rows}: off by {off:e}");
        }
    }
}

#[test]
fn less_memory_is_more_work_and_the_same_result() {
    let w = weights(DType::F64);
    let x = map(1000, 16, DType::F64);
    let whole = network(&x, &w).unwrap();
    let most = strips(&x, network, &w, usize::MAX).unwrap();
    let (mut peak, mut work) = (most.peak_bytes(), most.work());
    assert!((1.0..1.01).contains(&work), "{work}");
    let mut ways = 0;
    // Each time a little less than before, down to the least.
    loop {
        let less = strips(&x, network, &w, peak - 1).unwrap();
        if less.peak_bytes() >= peak {
            break;
        }
        (peak, work, ways) = (less.peak_bytes(), less.work().max(work), ways + 1);
        let off = difference(&run(&less, &x).unwrap(), &whole);
        assert!(off < 1e-5, "in {peak} bytes: off by {off:e}");
    }
    assert!(ways > 3 && peak < most.peak_bytes() / 4, "{ways} ways to {peak}");
    assert!(work > 1.2, "{work}");
}

#[test]
fn what_cannot_be_done_in_strips_is_an_error() {
    let x = map(8, 8, DType::F32);
    let message = |x: &Tensor, f: Code| match strips(x, f, &[], 0) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it is planned"),
    };
    assert_eq!(
        message(&x, |x, _| x.softmax(2)),
        "strips: softmax cannot be computed in strips of rows"
    );
    assert_eq!(
        message(&x, |x, _| x.add(&x.constant(&[1.0; 8], &[8, 1])?)),
        "strips: add cannot be computed in strips of rows"
    );
    assert_eq!(
        message(&x, |x, _| x.global_avg_pool()),
        "strips: the result of a computation in strips is a map"
    );
    let two = Tensor::concat(&[&x, &x], 0).unwrap();
    assert_eq!(
        message(&two, |x, _| x.gelu()),
        "strips: a computation in strips takes [1, C, H, W], not [2, 2, 8, 8] f32"
    );
}

#[test]
fn rows_that_do_not_fit_and_errors_of_the_caller_end_it() {
    let x = map(40, 8, DType::F32);
    let strips = strips(&x, |x, _| x.gelu(), &[], 0).unwrap();
    let narrow = |rows: Range<usize>| x.narrow(2, rows.start, rows.len() - 1);
    let error = strips.run(narrow, |_, _| Ok(()), &|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "strips: expected [1, 2, 16, 8] f32, got [1, 2, 15, 8] f32");
    let read = |rows: Range<usize>| x.narrow(2, rows.start, rows.len());
    let full = |_, _| Err(Error::shape("test", "the disk is full"));
    let error = strips.run(read, full, &|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "test: the disk is full");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let w = weights(DType::F32);
    let x = map(200, 24, DType::F32);
    let strips = strips(&x, network, &w, 0).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&strips, &x).unwrap().to_vec::<f32>().unwrap())
    };
    assert_eq!(run(1), run(3));
}
