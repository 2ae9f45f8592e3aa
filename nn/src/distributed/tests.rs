//! Ranks that are threads, against one that has the whole batch.

use super::*;
use crate::layers::{BatchNorm2d, Conv2d, Module};
use crate::{Builder, Context, Params};
use engine::{Rng, Tape, Tensor};
use std::sync::Arc;

/// The results of `size` ranks from their connections, in their order.
fn on_ranks<T: Send>(size: usize, work: impl Fn(&Arc<ProcessGroup>) -> T + Sync) -> Vec<T> {
    let groups: Vec<_> = threads(size).unwrap().into_iter().map(Arc::new).collect();
    thread::scope(|scope| {
        let running: Vec<_> = groups
            .iter()
            .map(|group| {
                scope.spawn(|| {
                    let made = work(group);
                    group.close(None);
                    made
                })
            })
            .collect();
        running.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn all_gather_keeps_the_order_of_the_ranks() {
    let found = on_ranks(3, |group| {
        let mine = vec![group.rank() as u8; 2 * group.rank()];
        (group.all_gather(&mine).unwrap(), group.broadcast(&[7 + group.rank() as u8]).unwrap())
    });
    for rank in found {
        assert_eq!(rank, (vec![vec![], vec![1; 2], vec![2; 4]], vec![7]));
    }
}

#[test]
fn means_are_the_same_bits_on_all_ranks() {
    // Of lengths that do not divide, shorter than the number of ranks, and none.
    for length in [0, 1, 2, 7, 1000] {
        let numbers = |rank: usize| -> Vec<f32> {
            (0..length).map(|i| (i * 31 % 17) as f32 / 7.0 + rank as f32 / 3.0).collect()
        };
        let found = on_ranks(3, |group| {
            let bytes = bytemuck::cast_slice(&numbers(group.rank())).to_vec();
            numbers_in::<f32>(&group.start_all_reduce_mean(DType::F32, bytes).wait().unwrap())
        });
        let expected: Vec<f32> = (0..length)
            .map(|i| ((0..3).map(|rank| f64::from(numbers(rank)[i])).sum::<f64>() / 3.0) as f32)
            .collect();
        assert!(found.iter().all(|mean| *mean == expected), "{length}");
    }
}

#[test]
fn what_is_no_list_of_numbers_has_no_mean() {
    let found = on_ranks(2, |group| {
        let of = |dtype, bytes| group.start_all_reduce_mean(dtype, bytes).wait();
        [of(DType::F32, vec![0; 6]), of(DType::F64, vec![0; 4]), of(DType::I64, vec![0; 8])]
            .map(|mean| mean.unwrap_err().to_string())
    });
    for [half, short, whole] in found {
        assert_eq!(half, "mean over ranks: 6 bytes are not whole numbers of f32");
        assert_eq!(short, "mean over ranks: 4 bytes are not whole numbers of f64");
        assert!(whole.starts_with("mean over ranks: expected dtype f32"), "{whole}");
    }
}

#[test]
fn gradients_of_other_entries_are_refused() {
    let found = on_ranks(1, |group| {
        let mut buckets = Buckets::new(group);
        buckets.add(5, &Tensor::ones(&[2], DType::F32).unwrap()).unwrap();
        buckets.finish(1).unwrap_err().to_string()
    });
    assert_eq!(found, ["a gradient is of entry 5, counted from 0, of 1"]);
}

#[test]
fn waiting_ranks_are_told_of_one_that_is_gone() {
    // One closes with a reason of its own, one panics, and one is through before the others.
    for (how, said) in [
        (0, "rank 1: no memory"),
        (1, "rank 1: it ended unexpectedly"),
        (2, "rank 1: it has ended"),
    ] {
        let mut groups = threads(2).unwrap().into_iter();
        let (first, second) = (groups.next().unwrap(), groups.next().unwrap());
        let other = thread::spawn(move || {
            second.all_gather(&[]).unwrap();
            match how {
                0 => second.close(Some("no memory")),
                1 => std::panic::resume_unwind(Box::new("a panic that says nothing")),
                _ => second.close(None),
            }
        });
        first.all_gather(&[]).unwrap();
        assert_eq!(first.all_gather(&[]).unwrap_err().to_string(), said);
        assert!(first.start_all_reduce_mean(DType::F32, vec![0; 4]).wait().is_err());
        assert_eq!(other.join().is_err(), how == 1);
    }
}

#[test]
fn ranks_that_do_not_compute_the_same_are_found_out() {
    let found = on_ranks(2, |group| {
        let mean = group.start_all_reduce_mean(DType::F32, vec![0; 8 * (1 + group.rank())]).wait();
        mean.map_err(|error| error.to_string())
    });
    assert!(
        found.iter().any(|mean| mean
            .as_ref()
            .is_err_and(|error| error.contains("do not compute the same")))
    );
}

/// A convolution, BatchNorm, and a convolution that together are large enough for more than one
/// bucket; and one that is never used.
struct Net(Conv2d, BatchNorm2d, Conv2d);

impl Net {
    const CHANNELS: usize = 260;

    fn new(b: &mut Builder<'_>) -> Self {
        Conv2d::new(&mut b.at("unused"), 1, 1, 1);
        let first = Conv2d::new(&mut b.at("first"), 2, Self::CHANNELS, 1);
        let norm = BatchNorm2d::new(&mut b.at("norm"), Self::CHANNELS);
        let last = Conv2d::without_bias(&mut b.at("last"), Self::CHANNELS, Self::CHANNELS, 3);
        Self(first, norm, last.padding(1))
    }
}

/// The loss's value, the gradients, and the values after the step's statistics have been noted.
type Step = (f64, Vec<Option<Vec<f64>>>, Vec<Vec<f64>>);

/// A step on the images `from..to` of a batch of four; by a rank of `group`, whose images these
/// are.
fn step(
    range: std::ops::Range<usize>,
    checkpoint: bool,
    group: Option<&Arc<ProcessGroup>>,
) -> Step {
    let (net, mut params) = Params::build(5, DType::F64, |b| Ok(Arc::new(Net::new(b)))).unwrap();
    let images = Tensor::randn(&[4, 2, 3, 2], DType::F64, &mut Rng::new(1))
        .unwrap()
        .affine(2.0, 1.0)
        .unwrap();
    let images = images.narrow(0, range.start, range.len()).unwrap();
    let tape = Tape::new();
    let cx = Context::training(&params, &tape)
        .with_ranks(group.map(|group| group.clone() as Arc<dyn Collectives>))
        .with_checkpoints(checkpoint);
    let x = tape.leaf(&images);
    let forward = {
        let net = net.clone();
        move |cx: &Context, x: &Tensor| {
            net.2.forward(cx, &net.1.forward(cx, &net.0.forward(cx, x)?)?.square()?)
        }
    };
    let y = cx.checkpoint(&x, forward).unwrap();
    let loss = y.square().unwrap().mean_all().unwrap();
    let pass = cx.finish();
    let value = loss.item().unwrap();
    let gradients = match group {
        None => pass.gradients(tape.backward(&loss).unwrap()),
        Some(group) => {
            let one = Tensor::scalar(1.0, DType::F64).unwrap();
            pass.mean_gradients(tape, &[&loss], vec![Some(one)], group).unwrap()
        }
    };
    pass.update_buffers(&mut params).unwrap();
    let numbers = |x: Tensor| x.to_f64_vec().unwrap();
    (
        value,
        gradients.into_iter().map(|x| x.map(numbers)).collect(),
        params.values().into_iter().map(numbers).collect(),
    )
}

/// The largest difference, in parts of the largest number.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-300, |m, x| x.abs().max(m));
    a.iter().zip(b).fold(0.0, |m, (a, b)| f64::max(m, (a - b).abs() / largest))
}

#[test]
fn ranks_of_a_part_each_are_one_of_the_whole() {
    for (size, checkpoint) in [(2, false), (4, false), (2, true)] {
        let (loss, gradients, values) = step(0..4, false, None);
        let share = 4 / size;
        let ranks = on_ranks(size, |group| {
            let first = group.rank() * share;
            step(first..first + share, checkpoint, Some(group))
        });
        let mean = ranks.iter().map(|(loss, ..)| loss).sum::<f64>() / size as f64;
        assert!((mean - loss).abs() < 1e-12 * loss, "{mean} is not {loss}");
        for (_, of_rank, _) in &ranks {
            for (i, (found, expected)) in of_rank.iter().zip(&gradients).enumerate() {
                assert_eq!(found.is_some(), expected.is_some(), "{i}");
                let (Some(found), Some(expected)) = (found, expected) else { continue };
                // The bias before a normalization has no gradient but rounding.
                let rounding = expected.iter().all(|x| x.abs() < 1e-12)
                    && found.iter().all(|x| x.abs() < 1e-12);
                let far = distance(found, expected);
                assert!(rounding || far < 1e-11, "{size} ranks, entry {i}: {far:e}");
            }
            assert_eq!(of_rank, &ranks[0].1, "the ranks' gradients are not the same bits");
        }
        for (.., of_rank) in &ranks {
            let far =
                of_rank.iter().zip(&values).fold(0.0, |m, (a, b)| f64::max(m, distance(a, b)));
            assert!(far < 1e-13, "running statistics: {far:e}");
            assert_eq!(of_rank, &ranks[0].2);
        }
        let used = gradients.iter().filter(|gradient| gradient.is_some()).count();
        assert_eq!(used, gradients.len() - 4, "two of the unused layer, and two buffers");
    }
}

#[test]
fn one_image_on_each_rank_is_a_batch() {
    let x = Tensor::from_slice(&[1.0, 0.0, 3.0, 8.0], &[2, 2, 1, 1]).unwrap();
    let (weight, bias) = (
        Tensor::from_slice(&[5.0, 2.0], &[2]).unwrap(),
        Tensor::from_slice(&[0.0, 1.0], &[2]).unwrap(),
    );
    let found = on_ranks(2, |group| {
        let ranks: Arc<dyn Collectives> = group.clone();
        let x = x.narrow(0, group.rank(), 1).unwrap();
        let (y, stats) = x.batch_norm_train_among(&weight, &bias, 0.0, Some(&ranks)).unwrap();
        [y, stats.mean, stats.var].map(|x| x.to_f64_vec().unwrap())
    });
    assert_eq!(found[0], [vec![-5.0, -1.0], vec![2.0, 4.0], vec![2.0, 32.0]]);
    assert_eq!(found[1][0], [5.0, 3.0]);
    // Alone it is none.
    let alone = on_ranks(1, |group| {
        let ranks: Arc<dyn Collectives> = group.clone();
        x.narrow(0, 0, 1)
            .unwrap()
            .batch_norm_train_among(&weight, &bias, 0.0, Some(&ranks))
            .unwrap_err()
            .to_string()
    });
    assert!(alone[0].contains("more than one value per channel"), "{}", alone[0]);
}

#[test]
fn a_rank_without_images_is_an_error_for_all() {
    let (norm, params) = Params::build(5, DType::F64, |b| Ok(BatchNorm2d::new(b, 2))).unwrap();
    let found = on_ranks(2, |group| {
        let tape = Tape::new();
        let cx = Context::training(&params, &tape)
            .with_ranks(Some(group.clone() as Arc<dyn Collectives>));
        let images = 3 * group.rank();
        let x = tape.leaf(&Tensor::zeros(&[images, 2, 2, 2], DType::F64).unwrap());
        norm.forward(&cx, &x).unwrap_err().to_string()
    });
    assert_eq!(found, ["batch_norm: a rank has no part of the batch"; 2]);
}
