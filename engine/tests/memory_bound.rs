//! The bound on the pool's memory. The pool is the process's, so that the test stands alone in it.

use engine::{DType, Tensor, memory};

const MIB: usize = 1 << 20;

/// A tensor of this many MiB.
fn tensor(size: usize) -> Tensor {
    Tensor::zeros(&[size, MIB / 4], DType::F32).unwrap()
}

#[test]
fn free_buffers_make_space_within_a_bound() {
    let held = || memory::stats().live + memory::stats().cached;
    let bound = memory::Bound::new(48 * MIB);
    let [large, small] = [32, 8].map(tensor);
    drop((large, small));
    assert_eq!(held(), 40 * MIB);
    // Of another size, and too many with both: the largest goes.
    let other = tensor(16);
    assert_eq!((memory::stats().live, memory::stats().cached), (16 * MIB, 8 * MIB));
    // A buffer of twice the size is not used, as half of it would be wasted.
    let four = tensor(4);
    assert_eq!((memory::stats().live, memory::stats().cached), (20 * MIB, 8 * MIB));
    // Buffers in use may exceed the bound.
    let more = tensor(40);
    assert_eq!((memory::stats().live, memory::stats().cached), (60 * MIB, 0));
    drop((four, more));
    // The sum of the bounds counts.
    let second = memory::Bound::new(48 * MIB);
    drop(tensor(24));
    assert_eq!(held(), 84 * MIB);
    drop(second);
    drop(tensor(32));
    assert_eq!(held(), 48 * MIB);
    // Without a bound, all is kept, and buffers of twice the size are used.
    drop((bound, other));
    drop([20, 24].map(tensor));
    assert_eq!(memory::stats().cached, 72 * MIB);
}
