//! The matrices of F(4, 3) with the points 0, ±A, ±B and ∞, each as the few operations that it
//! takes.
//!
//! Rows belong to points p in the order 0, A, −A, B, −B, ∞. With N(x) = x(x² − A²)(x² − B²), whose
//! roots are the finite points:
//!
//! * Bᵀ (6×6): row p holds the coefficients of N(x)/(x − p), the last row those of N.
//! * G (6×3): row p is (1, p, p²)/N′(p), the last row (0, 0, 1).
//! * Aᵀ (4×6): column p is (1, p, p², p³), the last column (0, 0, 0, 1).

use crate::simd::{Lanes, Number};

const A: f64 = 0.75;
const B: f64 = 1.5;

#[inline(always)]
fn number<L: Lanes>(value: f64) -> L {
    L::splat(L::Scalar::nearest(value))
}

/// A transform of tiles to their values at the six points of each axis. (A type, since a function
/// passed as a value would not be inlined.)
pub(super) trait Transform<const SIZE: usize> {
    fn apply<L: Lanes>(tile: [L; SIZE]) -> [L; 6];
}

/// The transform of input tiles: [`input`].
pub(super) struct Input;

impl Transform<6> for Input {
    #[inline(always)]
    fn apply<L: Lanes>(tile: [L; 6]) -> [L; 6] {
        input(tile)
    }
}

/// The transform of the output gradient's tiles: [`output_gradient`].
pub(super) struct OutputGradient;

impl Transform<4> for OutputGradient {
    #[inline(always)]
    fn apply<L: Lanes>(tile: [L; 4]) -> [L; 6] {
        output_gradient(tile)
    }
}

/// Bᵀ d.
#[inline(always)]
fn input<L: Lanes>(d: [L; 6]) -> [L; 6] {
    let (product, minus_sum) = (number::<L>(A * A * B * B), number::<L>(-(A * A + B * B)));
    let (minus_a2, minus_b2) = (number::<L>(-A * A), number::<L>(-B * B));
    let first = product.mul_add(d[0], minus_sum.mul_add(d[2], d[4]));
    let last = product.mul_add(d[1], minus_sum.mul_add(d[3], d[5]));
    let (even_a, odd_a) = (minus_b2.mul_add(d[2], d[4]), minus_b2.mul_add(d[1], d[3]));
    let (even_b, odd_b) = (minus_a2.mul_add(d[2], d[4]), minus_a2.mul_add(d[1], d[3]));
    [
        first,
        number::<L>(A).mul_add(odd_a, even_a),
        number::<L>(-A).mul_add(odd_a, even_a),
        number::<L>(B).mul_add(odd_b, even_b),
        number::<L>(-B).mul_add(odd_b, even_b),
        last,
    ]
}

/// Aᵀ m.
#[inline(always)]
pub(super) fn output<L: Lanes>(m: [L; 6]) -> [L; 4] {
    let (sum_a, difference_a) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (sum_b, difference_b) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(sum_a).add(sum_b),
        number::<L>(A).mul_add(difference_a, number::<L>(B).mul(difference_b)),
        number::<L>(A * A).mul_add(sum_a, number::<L>(B * B).mul(sum_b)),
        number::<L>(A * A * A)
            .mul_add(difference_a, number::<L>(B * B * B).mul_add(difference_b, m[5])),
    ]
}

/// A y: the transform of the gradient of an output tile.
#[inline(always)]
fn output_gradient<L: Lanes>(y: [L; 4]) -> [L; 6] {
    let (a2, b2) = (number::<L>(A * A), number::<L>(B * B));
    let (even_a, odd_a) = (a2.mul_add(y[2], y[0]), a2.mul_add(y[3], y[1]));
    let (even_b, odd_b) = (b2.mul_add(y[2], y[0]), b2.mul_add(y[3], y[1]));
    [
        y[0],
        number::<L>(A).mul_add(odd_a, even_a),
        number::<L>(-A).mul_add(odd_a, even_a),
        number::<L>(B).mul_add(odd_b, even_b),
        number::<L>(-B).mul_add(odd_b, even_b),
        y[3],
    ]
}

/// G.
pub(super) const KERNEL: [[f64; 3]; 6] = {
    // N′(±A) = 2A²(A² − B²), N′(±B) = 2B²(B² − A²), N′(0) = A²B².
    let (at_0, at_a, at_b) =
        (1.0 / (A * A * B * B), 0.5 / (A * A * (A * A - B * B)), 0.5 / (B * B * (B * B - A * A)));
    [
        [at_0, 0.0, 0.0],
        [at_a, A * at_a, A * A * at_a],
        [at_a, -A * at_a, A * A * at_a],
        [at_b, B * at_b, B * B * at_b],
        [at_b, -B * at_b, B * B * at_b],
        [0.0, 0.0, 1.0],
    ]
};

/// Gᵀ p: the transform of the gradient of a transformed kernel.
#[inline(always)]
pub(super) fn kernel_gradient<L: Lanes>(p: [L; 6]) -> [L; 3] {
    let mut g = [number::<L>(KERNEL[0][0]).mul(p[0]), number::<L>(0.0), number::<L>(0.0)];
    for i in 1..6 {
        for k in 0..3 {
            g[k] = number::<L>(KERNEL[i][k]).mul_add(p[i], g[k]);
        }
    }
    g
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Vectors;

    type Number = <f64 as Vectors>::Portable;

    fn lanes<const N: usize>(values: [f64; N]) -> [Number; N] {
        values.map(Number::splat)
    }

    fn first<const N: usize>(values: [Number; N]) -> [f64; N] {
        values.map(|value| {
            let mut out = [0.0; 4];
            value.store(&mut out);
            out[0]
        })
    }

    fn close<const N: usize>(got: [f64; N], expected: [f64; N]) {
        assert!(
            got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12),
            "{got:?} is not {expected:?}"
        );
    }

    const D: [f64; 6] = [0.3, -1.2, 2.5, 0.7, -0.4, 1.9];
    const G: [f64; 3] = [1.1, -0.6, 0.45];
    const Y: [f64; 4] = [0.8, -0.3, 1.4, 0.2];

    fn product(a: [f64; 6], b: [f64; 6]) -> [Number; 6] {
        lanes(std::array::from_fn(|i| a[i] * b[i]))
    }

    #[test]
    fn one_dimension_is_a_correlation() {
        let kernel = KERNEL.map(|row| (0..3).map(|k| row[k] * G[k]).sum());
        let y = output(product(first(input(lanes(D))), kernel));
        close(first(y), std::array::from_fn(|i| (0..3).map(|k| D[i + k] * G[k]).sum()));
    }

    #[test]
    fn the_gradient_of_a_kernel_is_a_correlation_with_the_outputs_gradient() {
        let dg = kernel_gradient(product(first(input(lanes(D))), first(output_gradient(lanes(Y)))));
        close(first(dg), std::array::from_fn(|k| (0..4).map(|i| D[i + k] * Y[i]).sum()));
    }
}
