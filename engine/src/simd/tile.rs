//! Moving registers, and the one inner loop that all convolutions end in: a tile of sums that stays
//! in registers.
//!
//! Each function checks its slices once; then its loop runs without checks.

use super::Lanes;

/// Adds `k` products of rows and a block:
/// `sums[r] += Σ_k a[r·a_row + k·a_step] · b[k·b_step ..][.. BLOCK]`.
///
/// The sum over k has one order. Panics if a slice is too short.
#[inline(always)]
pub(crate) fn multiply<L: Lanes, const V: usize, const R: usize>(
    sums: &mut [[L; V]; R],
    k: usize,
    (a, a_row, a_step): (&[L::Scalar], usize, usize),
    (b, b_step): (&[L::Scalar], usize),
) {
    if k == 0 {
        return;
    }
    assert!((R - 1) * a_row + (k - 1) * a_step < a.len() && (k - 1) * b_step + V * L::N <= b.len());
    let zero = L::splat(num_traits::Zero::zero());
    for i in 0..k {
        // SAFETY: i ≤ k − 1, so the block ends at (k − 1)·b_step + V·N at the latest, which was
        // checked.
        let b = unsafe { b.get_unchecked(i * b_step..i * b_step + V * L::N) };
        let mut block = [zero; V];
        for v in 0..V {
            block[v] = L::load(&b[v * L::N..]);
        }
        for r in 0..R {
            // SAFETY: r ≤ R − 1 and i ≤ k − 1, and the largest of these indices was checked.
            let a = L::splat(unsafe { *a.get_unchecked(r * a_row + i * a_step) });
            for v in 0..V {
                sums[r][v] = a.mul_add(block[v], sums[r][v]);
            }
        }
    }
}

/// Loads registers `step` numbers apart. Panics if `from` is too short.
#[inline(always)]
pub(crate) fn load_strided<L: Lanes, const S: usize>(from: &[L::Scalar], step: usize) -> [L; S] {
    assert!((S - 1) * step + L::N <= from.len());
    let mut values = [L::splat(num_traits::Zero::zero()); S];
    for i in 0..S {
        // SAFETY: i ≤ S − 1, whose end was checked.
        values[i] = L::load(unsafe { from.get_unchecked(i * step..i * step + L::N) });
    }
    values
}

/// Stores registers `step` numbers apart. Panics if `to` is too short.
#[inline(always)]
pub(crate) fn store_strided<L: Lanes, const S: usize>(
    values: [L; S],
    to: &mut [L::Scalar],
    step: usize,
) {
    assert!((S - 1) * step + L::N <= to.len());
    for i in 0..S {
        // SAFETY: i ≤ S − 1, whose end was checked.
        values[i].store(unsafe { to.get_unchecked_mut(i * step..i * step + L::N) });
    }
}

/// Loads a block: the numbers of `from`, then zeros if these are fewer than a block.
#[inline(always)]
pub(crate) fn load_block<L: Lanes, const V: usize>(from: &[L::Scalar]) -> [L; V] {
    let mut values = [num_traits::Zero::zero(); 16];
    let mut from = from;
    if from.len() < V * L::N {
        values[..from.len()].copy_from_slice(from);
        from = &values;
    }
    let mut block = [L::splat(num_traits::Zero::zero()); V];
    for v in 0..V {
        block[v] = L::load(&from[v * L::N..]);
    }
    block
}

/// Adds the first numbers of `block`, as many as `to` has, to those of `to`.
#[inline(always)]
pub(crate) fn add_block<L: Lanes, const V: usize>(mut block: [L; V], to: &mut [L::Scalar]) {
    let there = load_block::<L, V>(to);
    for v in 0..V {
        block[v] = block[v].add(there[v]);
    }
    store_block(block, to);
}

/// Stores the first numbers of `block`, as many as `to` has.
#[inline(always)]
pub(crate) fn store_block<L: Lanes, const V: usize>(block: [L; V], to: &mut [L::Scalar]) {
    if to.len() >= V * L::N {
        for v in 0..V {
            block[v].store(&mut to[v * L::N..]);
        }
        return;
    }
    let mut values = [num_traits::Zero::zero(); 16];
    for v in 0..V {
        block[v].store(&mut values[v * L::N..]);
    }
    let len = to.len();
    to.copy_from_slice(&values[..len]);
}
