//! The memory of a backward pass. The pool's counters are the process's, so that the test stands
//! alone in it.

use engine::{DType, Rng, Tape, Tensor, memory};

#[test]
fn memory_falls_while_gradients_flow() {
    let x = Tensor::randn(&[1 << 20], DType::F64, &mut Rng::new(1)).unwrap();
    let before = memory::stats().live;
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    // Each operation saves a tensor of 8 MB.
    let y = (0..6).try_fold(leaf.clone(), |x, _| x.tanh()?.mul(&x)).unwrap();
    let loss = y.sum_all().unwrap();
    drop(y);
    let saved = memory::stats().live - before;
    memory::reset_peak();
    let gradients = tape.backward(&loss).unwrap();
    let most = memory::stats().peak - before;
    // Were the records held to the end, all gradients would come on top of them.
    assert!(most < saved + (4 << 23), "{saved} bytes saved, {most} at most in backward");
    drop(gradients);
    drop((loss, leaf));
    assert_eq!(memory::stats().live, before, "something still holds memory");
}
