//! The tape from outside: recording, consuming, freeing, printing, checkpointing.

use engine::{Conv2dOptions, DType, Gradients, Result, Rng, Tape, Tensor, checkpoint};

fn randn(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F64, &mut Rng::new(seed)).unwrap()
}

fn values(gradients: &Gradients, leaf: &Tensor) -> Vec<f64> {
    gradients.get(leaf).expect("a gradient").to_f64_vec().unwrap()
}

#[test]
fn without_a_tape_nothing_is_recorded() {
    let tape = Tape::new();
    let (a, b) = (randn(&[3], 1), randn(&[3], 2));
    a.mul(&b).unwrap().add(&a).unwrap();
    assert!(tape.operations().is_empty());
    let a = tape.leaf(&a);
    b.mul(&b).unwrap().add(&a).unwrap();
    assert_eq!(tape.operations(), ["add"], "only what depends on a leaf is recorded");
}

#[test]
fn a_tensor_used_twice_gets_both_gradients() {
    let tape = Tape::new();
    let x = tape.leaf(&Tensor::from_slice(&[2.0, 3.0], &[2]).unwrap());
    let y = x.mul(&x).unwrap().add(&x).unwrap().sum_all().unwrap();
    assert_eq!(values(&tape.backward(&y).unwrap(), &x), [5.0, 7.0]);
}

#[test]
fn a_broadcast_operand_gets_the_sum() {
    let tape = Tape::new();
    let bias = tape.leaf(&randn(&[1, 3, 1, 1], 1));
    let y = randn(&[2, 3, 4, 5], 2).add(&bias).unwrap().sum_all().unwrap();
    let gradients = tape.backward(&y).unwrap();
    assert_eq!(gradients.get(&bias).unwrap().shape(), [1, 3, 1, 1]);
    assert_eq!(values(&gradients, &bias), [40.0; 3]);
}

#[test]
fn a_leaf_that_the_loss_ignores_has_no_gradient() {
    let tape = Tape::new();
    let (x, other) = (tape.leaf(&randn(&[2], 1)), tape.leaf(&randn(&[2], 2)));
    other.exp().unwrap();
    let loss = x.sum_all().unwrap();
    let gradients = tape.backward(&loss).unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&other).is_none());
}

#[test]
fn misuse_is_an_error() {
    let (tape, another) = (Tape::new(), Tape::new());
    let (x, y) = (tape.leaf(&randn(&[2], 1)), another.leaf(&randn(&[2], 2)));
    assert!(x.add(&y).unwrap_err().to_string().contains("different tapes"));
    assert!(tape.clone().backward(&x).err().unwrap().to_string().contains("must be one number"));
    let loss = x.sum_all().unwrap();
    tape.clone().backward(&loss).unwrap();
    assert!(tape.backward(&loss).err().unwrap().to_string().contains("already consumed"));
    assert!(x.exp().unwrap_err().to_string().contains("already consumed"));
    assert!(Tape::new().backward(&loss).is_err());
}

#[test]
fn a_loss_without_a_gradient_is_an_error() {
    let x = randn(&[3], 1);
    let message = |loss: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let tape = Tape::new();
        let loss = loss(&tape.leaf(&x)).unwrap();
        tape.backward(&loss).unwrap_err().to_string()
    };
    for message in [
        message(&|_| x.sum_all()),
        message(&|x| x.detach().sum_all()),
        message(&|x| x.ge(0.0)?.sum_all()),
        message(&|x| x.argmax(0)?.to_dtype(DType::F64)),
    ] {
        let expected = "backward: the loss depends on no parameter or other leaf of the tape";
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn it_prints_operations_and_saved_bytes() {
    let tape = Tape::new();
    let (x, w) = (tape.leaf(&randn(&[1, 2, 4, 4], 1)), tape.leaf(&randn(&[3, 2, 3, 3], 2)));
    x.conv2d(&w, None, Conv2dOptions::default()).unwrap().gelu().unwrap();
    let printed = tape.to_string();
    let lines: Vec<&str> = printed.lines().collect();
    // x has 256 bytes, w 432, gelu's input 96.
    assert_eq!(lines[0], "#2 = conv2d(#0, #1) [1, 3, 2, 2] f64, keeps 688 bytes");
    assert_eq!(lines[1], "#3 = gelu(#2) [1, 3, 2, 2] f64, keeps 96 bytes");
    assert_eq!(tape.saved_bytes(), 256 + 432 + 96);
}

/// A chain of operations that each save a tensor of 8 MB.
fn chain(x: &Tensor) -> Result<Tensor> {
    (0..6).try_fold(x.clone(), |x, _| x.tanh()?.mul(&x))
}

fn loss(y: &Tensor) -> Tensor {
    y.sum_all().unwrap()
}

#[test]
fn a_checkpoint_saves_only_its_inputs_and_changes_no_bit() {
    let x = randn(&[1 << 20], 1);
    let run = |checkpointed: bool| {
        let tape = Tape::new();
        let leaf = tape.leaf(&x);
        let y = match checkpointed {
            true => checkpoint(&[&leaf], |x| Ok(vec![chain(&x[0])?])).unwrap().remove(0),
            false => chain(&leaf).unwrap(),
        };
        let saved = tape.saved_bytes();
        let gradients = tape.backward(&loss(&y)).unwrap();
        (values(&gradients, &leaf).into_iter().map(f64::to_bits).collect::<Vec<_>>(), saved)
    };
    let ((plain, much), (replayed, little)) = (run(false), run(true));
    assert!(plain == replayed, "the gradients differ");
    assert_eq!(little, 8 << 20);
    assert!(much > 12 * little, "{much} against {little} bytes");
}

#[test]
fn a_checkpoint_passes_on_the_errors_of_its_replay() {
    let tape = Tape::new();
    let x = tape.leaf(&randn(&[2], 1));
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let y = checkpoint(&[&x], move |x| {
        match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Ok(vec![x[0].exp()?]),
            _ => x[0].reshape(&[3]).map(|y| vec![y]),
        }
    });
    let loss = y.unwrap()[0].sum_all().unwrap();
    assert!(tape.backward(&loss).err().unwrap().to_string().starts_with("reshape"));
}

#[test]
fn gradients_that_are_broadcast_add_up() {
    let tape = Tape::new();
    let x = tape.leaf(&randn(&[2, 3], 1));
    let loss = x.sum_all().unwrap().add(&x.sum_all().unwrap()).unwrap();
    assert_eq!(values(&tape.backward(&loss).unwrap(), &x), [2.0; 6]);
}

#[test]
fn seeds_must_fit_their_outputs() {
    let tape = Tape::new();
    let y = tape.leaf(&randn(&[1, 3], 1)).exp().unwrap();
    let seeds = |shape: &[usize]| vec![Some(randn(shape, 2))];
    assert!(
        tape.clone()
            .backward_from(&[&y], seeds(&[4, 3]))
            .err()
            .unwrap()
            .to_string()
            .contains("the seed is")
    );
    assert!(
        tape.clone()
            .backward_from(&[&y], vec![])
            .err()
            .unwrap()
            .to_string()
            .contains("0 seeds for 1 output")
    );
    assert!(
        tape.backward_from(&[&y], seeds(&[1, 3])).is_ok(),
        "the failed attempts consumed the tape"
    );
}

#[test]
fn a_leaf_made_too_late_has_no_gradient() {
    let tape = Tape::new();
    let x = tape.leaf(&randn(&[2], 1));
    let loss = x.sum_all().unwrap();
    let gradients = tape.clone().backward(&loss).unwrap();
    let late = tape.leaf(&randn(&[2], 2));
    assert!(gradients.get(&x).is_some() && gradients.get(&late).is_none());
    assert_eq!(format!("{tape:?}"), "Tape(0 records, keeps 0 bytes)");
}

#[test]
fn a_leafs_gradient_is_given_out_when_its_first_use_has_been_gone_through() {
    let tape = Tape::new();
    let (early, late) = (tape.leaf(&randn(&[3], 1)), tape.leaf(&randn(&[3], 2)));
    let twice = tape.leaf(&randn(&[3], 3));
    let unused = tape.leaf(&randn(&[3], 4));
    let y = early.mul(&twice).unwrap().mul(&late).unwrap().add(&twice).unwrap();
    let expected = tape_of_its_own(&[&early, &late, &twice]);
    let mut found = Vec::new();
    let nodes = [&early, &late, &twice].map(|leaf| tape.node_id(leaf).unwrap());
    tape.clone()
        .backward_with(
            &[&y],
            vec![Some(Tensor::ones(&[3], DType::F64).unwrap())],
            |leaf, gradient| {
                found.push((leaf, gradient.to_f64_vec()?));
                Ok::<_, engine::Error>(())
            },
        )
        .unwrap();
    // From the end: `late` goes out first; `early` and `twice` with the first record, in the order
    // of its inputs.
    let [early_at, late_at, twice_at] = nodes;
    assert_eq!(
        found.iter().map(|(leaf, _)| *leaf).collect::<Vec<_>>(),
        [late_at, early_at, twice_at]
    );
    for (leaf, gradient) in found {
        let which = nodes.iter().position(|node| *node == leaf).unwrap();
        assert_eq!(gradient, expected[which]);
    }
    assert!(tape.node_id(&unused).is_some() && Tape::new().node_id(&unused).is_none());
}

/// The gradients of early·twice·late + twice by [`Tape::backward`].
fn tape_of_its_own(leaves: &[&Tensor; 3]) -> Vec<Vec<f64>> {
    let tape = Tape::new();
    let [early, late, twice] = leaves.map(|leaf| tape.leaf(&leaf.detach()));
    let y = early.mul(&twice).unwrap().mul(&late).unwrap().add(&twice).unwrap();
    let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
    [early, late, twice].iter().map(|leaf| values(&gradients, leaf)).collect()
}

#[test]
fn an_error_of_whoever_is_given_the_gradients_ends_the_pass() {
    let tape = Tape::new();
    let x = tape.leaf(&randn(&[3], 1));
    let y = x.square().unwrap();
    let seeds = vec![Some(Tensor::ones(&[3], DType::F64).unwrap())];
    let refused =
        tape.backward_with(&[&y], seeds, |_, _| Err(engine::Error::ranks("rank 1 is gone")));
    assert_eq!(refused.unwrap_err().to_string(), "rank 1 is gone");
}
