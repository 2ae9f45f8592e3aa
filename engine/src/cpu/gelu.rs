//! GELU and its derivative for one number, in f32 and f64.
//!
//! f64 goes through `libm`. For f32 we use that with u = |x|
//!
//! - gelu(x) = relu(x) − h(u), where h(u) = u·Φ(−u),
//! - gelu′(x) = k(u) for x < 0 and 1 − k(u) for x ≥ 0, where k = h′, k(u) = Φ(−u) − u·φ(u),
//!
//! (Φ, φ: the normal distribution and its density), so all that is to be approximated is smooth,
//! lives on 0 ≤ u ≤ [`END`] and is 0 beyond. There are no branches and no calls.
//!
//! - Φ(−u) = q(u)⁻⁴ with a polynomial q, after Abramowitz and Stegun 7.1.28 (who take the 16th
//!   power, which needs a lower degree and rounds more): a division and two thirds of the
//!   multiplications that a polynomial for Φ itself needs. h is u times that, so that it is exact
//!   at 0 and keeps its relative precision for small x.
//! - k is a polynomial in t = 2u/END − 1, where powers stay in [−1, 1] and the coefficients small.
//!
//! Both are minimax fits (Lawson's iteratively reweighted least squares on thousands of Chebyshev
//! nodes, in the Chebyshev basis, in f64), rewritten in powers and rounded to f32. For Φ(−u) the
//! error was weighted by max(u, ¼), since it is multiplied by u.

use crate::Float;
use crate::simd::{LaneKernel, Lanes, One, Vectors, load_strided, store_strided, vectorize_lanes};

/// The parts of GELU that differ between the two compute dtypes. Registers are taken some at a
/// time, so that none waits for the one before it.
pub(crate) trait Gelu: Float {
    /// x·Φ(x) of every number.
    fn gelus<L: Lanes<Scalar = Self>, const N: usize>(x: [L; N]) -> [L; N];

    /// The derivative Φ(x) + x·φ(x) at every number.
    fn slopes<L: Lanes<Scalar = Self>, const N: usize>(x: [L; N]) -> [L; N];

    /// x·Φ(x).
    #[inline(always)]
    fn gelu(self) -> Self {
        Self::gelus([One(self)])[0].0
    }

    /// Its derivative Φ(x) + x·φ(x).
    #[inline(always)]
    fn gelu_derivative(self) -> Self {
        Self::slopes([One(self)])[0].0
    }
}

/// The GELU of every number, in place.
pub(crate) fn gelu_in_place<T: Gelu>(x: &mut [T]) {
    struct InPlace<'a, T>(&'a mut [T]);
    impl<T: Gelu> LaneKernel<T> for InPlace<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) {
            let mut blocks = self.0.chunks_exact_mut(2 * L::N);
            for x in &mut blocks {
                store_strided(T::gelus(load_strided::<L, 2>(x, L::N)), x, L::N);
            }
            for x in blocks.into_remainder() {
                *x = x.gelu();
            }
        }
    }
    vectorize_lanes(InPlace(x));
}

/// The GELU of every number of `x`, into `y`.
pub(crate) fn gelu_into<T: Gelu>(y: &mut [T], x: &[T]) {
    struct Into<'a, T>(&'a mut [T], &'a [T]);
    impl<T: Gelu> LaneKernel<T> for Into<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) {
            let (mut to, mut from) =
                (self.0.chunks_exact_mut(2 * L::N), self.1.chunks_exact(2 * L::N));
            for (y, x) in (&mut to).zip(&mut from) {
                store_strided(T::gelus(load_strided::<L, 2>(x, L::N)), y, L::N);
            }
            for (y, x) in to.into_remainder().iter_mut().zip(from.remainder()) {
                *y = x.gelu();
            }
        }
    }
    vectorize_lanes(Into(y, x));
}

/// dy times the GELU's derivative at x, in place of dy.
pub(crate) fn times_derivative<T: Gelu>(dy: &mut [T], x: &[T]) {
    struct InPlace<'a, T>(&'a mut [T], &'a [T]);
    impl<T: Gelu> LaneKernel<T> for InPlace<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) {
            let (mut to, mut from) =
                (self.0.chunks_exact_mut(2 * L::N), self.1.chunks_exact(2 * L::N));
            for (dy, x) in (&mut to).zip(&mut from) {
                let slopes = T::slopes(load_strided::<L, 2>(x, L::N));
                let gradients = load_strided::<L, 2>(dy, L::N);
                store_strided([gradients[0].mul(slopes[0]), gradients[1].mul(slopes[1])], dy, L::N);
            }
            for (dy, x) in to.into_remainder().iter_mut().zip(from.remainder()) {
                *dy *= x.gelu_derivative();
            }
        }
    }
    vectorize_lanes(InPlace(dy, x));
}

/// Where the f32 approximations end. Beyond it |h| < 2.6e-8 and |k| < 1.5e-7.
const END: f32 = 5.75;

/// q(u) for 0 ≤ u ≤ END: u times the error of q⁻⁴ is at most 1.3e-8.
const ROOT: [f32; 12] = [
    1.1892071,
    0.23721534,
    0.11825002,
    0.031497054,
    0.005742234,
    0.00288432,
    -0.0009664094,
    0.00093333534,
    -0.0003776483,
    0.0001088368,
    -1.6808026e-05,
    1.2804959e-06,
];

/// k(u) for 0 ≤ u ≤ END, in powers of t: degree 18, error at most 6.7e-8.
const TAIL_SLOPE: [f32; 19] = [
    -0.016374487,
    0.115254834,
    -0.32427314,
    0.36637625,
    0.2407609,
    -1.3062664,
    1.557389,
    -0.13716719,
    -1.7187864,
    1.8048421,
    0.13152629,
    -1.6768874,
    0.8850049,
    0.7217304,
    -0.7352634,
    -0.1469159,
    0.27175453,
    0.009033245,
    -0.04173828,
];

/// An expression of the numbers in registers, for each of the `N` in arrays of the same names. A
/// loop rather than functions of functions: only code that is sure to be inlined is compiled for
/// the instruction set.
macro_rules! each {
    ($N:ident, |$($x:ident),+| $value:expr) => {{
        let mut values = [L::splat(0.0); $N];
        for i in 0..$N {
            $(let $x = $x[i];)+
            values[i] = $value;
        }
        values
    }};
}

impl Gelu for f32 {
    /// Within 3.2e-7 of the exact value, for every finite number.
    #[inline(always)]
    fn gelus<L: Lanes<Scalar = f32>, const N: usize>(x: [L; N]) -> [L; N] {
        let (zero, one, end) = (L::splat(0.0), L::splat(1.0), L::splat(END));
        // Beyond the end u is taken for 0, where h is 0 as well; powers of large numbers would
        // underflow, which takes long. The comparison is false for NaN, which then goes through the
        // polynomial and stays NaN.
        let u = each!(N, |x| x.abs().where_above(end, zero, x.abs()));
        // The fourth power takes fourfold what q is rounded by, so the constant, by far its largest
        // part, is added last.
        let [constant, rest @ ..] = &ROOT;
        let rest = polynomial(rest, u);
        let root = each!(N, |rest, u| one.div(rest.mul_add(u, L::splat(*constant))));
        let square = each!(N, |root| root.mul(root));
        let tail = each!(N, |square| square.mul(square));
        each!(N, |x, u, tail| x.where_above(zero, x, zero).sub(u.mul(tail)))
    }

    /// Within 6e-7 of the exact value, for every finite number.
    #[inline(always)]
    fn slopes<L: Lanes<Scalar = f32>, const N: usize>(x: [L; N]) -> [L; N] {
        let (zero, one, end) = (L::splat(0.0), L::splat(1.0), L::splat(END));
        let u = each!(N, |x| x.abs());
        let t = each!(N, |u| u.mul_add(L::splat(2.0 / END), L::splat(-1.0)));
        let tail = polynomial(&TAIL_SLOPE, t);
        let k = each!(N, |tail, u| u.where_above(end, zero, tail));
        each!(N, |x, k| zero.where_above(x, k, one.sub(k)))
    }
}

/// Σ coefficients\[i\]·tⁱ, by Horner's rule in t⁴ over groups of four: a chain of a third of the
/// length that it would have in t.
#[inline(always)]
fn polynomial<L: Lanes<Scalar = f32>, const C: usize, const N: usize>(
    coefficients: &[f32; C],
    t: [L; N],
) -> [L; N] {
    let t2 = each!(N, |t| t.mul(t));
    let t4 = each!(N, |t2| t2.mul(t2));
    let mut sum = [L::splat(0.0); N];
    for i in (0..C).step_by(4).rev() {
        let mut c = [L::splat(0.0); 4];
        for k in 0..4 {
            if i + k < C {
                c[k] = L::splat(coefficients[i + k]);
            }
        }
        let low = each!(N, |t| c[1].mul_add(t, c[0]));
        let high = each!(N, |t| c[3].mul_add(t, c[2]));
        let group = each!(N, |high, t2, low| high.mul_add(t2, low));
        sum = if i + 4 < C { each!(N, |sum, t4, group| sum.mul_add(t4, group)) } else { group };
    }
    sum
}

/// Where Φ(x) has underflown: below it x·Φ(x) is 0, at −∞ too.
const NOTHING: f64 = -40.0;

impl Gelu for f64 {
    #[inline(always)]
    fn gelus<L: Lanes<Scalar = f64>, const N: usize>(x: [L; N]) -> [L; N] {
        one_by_one(x, |x| if x < NOTHING { 0.0 } else { x * normal(x) })
    }

    #[inline(always)]
    fn slopes<L: Lanes<Scalar = f64>, const N: usize>(x: [L; N]) -> [L; N] {
        one_by_one(x, |x| {
            let density = (-0.5 * x * x).exp()
                * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
            // Far out the density is 0, and ∞·0 would not be.
            if x.abs() > -NOTHING { normal(x) } else { density.mul_add(x, normal(x)) }
        })
    }
}

fn one_by_one<L: Lanes<Scalar = f64>, const N: usize>(
    mut x: [L; N],
    f: impl Fn(f64) -> f64,
) -> [L; N] {
    let mut numbers = [0.0; f64::BLOCK];
    for register in &mut x {
        register.store(&mut numbers);
        numbers[..L::N].iter_mut().for_each(|x| *x = f(*x));
        *register = L::load(&numbers);
    }
    x
}

/// Φ(x). The complementary error function keeps its relative precision for x < 0.
#[inline(always)]
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest differences from the f64 versions over `xs`: of the value, and of the
    /// derivative.
    fn worst(xs: impl Iterator<Item = f32>) -> (f64, f64) {
        xs.fold((0.0, 0.0), |(value, slope), x| {
            let wide = f64::from(x);
            let (dv, ds) = (
                f64::from(x.gelu()) - wide.gelu(),
                f64::from(x.gelu_derivative()) - wide.gelu_derivative(),
            );
            assert!(dv.is_finite() && ds.is_finite(), "at {x:e}");
            (f64::max(value, dv.abs()), f64::max(slope, ds.abs()))
        })
    }

    #[test]
    fn single_precision_is_as_accurate_as_promised_everywhere() {
        let grid = (-900_000..=900_000).map(|i| i as f32 * 1e-5);
        // Every 2039th bit pattern: all exponents, denormal numbers, both signs.
        let patterns = (0..u32::MAX).step_by(2039).map(f32::from_bits).filter(|x| x.is_finite());
        let ends =
            [f32::MIN, f32::MAX, f32::MIN_POSITIVE, END, -END, END.next_up(), -END.next_up()];
        for (value, slope) in [worst(grid), worst(patterns), worst(ends.into_iter())] {
            assert!(value <= 3.2e-7, "gelu: {value:e}");
            assert!(slope <= 6e-7, "derivative: {slope:e}");
        }
    }

    /// Reference values by mpmath with 40 digits: Φ(x)·x and Φ(x) + x·φ(x).
    #[test]
    fn double_precision_is_exact_to_rounding() {
        for (x, value, slope) in REFERENCE {
            assert!(
                (x.gelu() - value).abs() <= 2e-16 * value.abs().max(1.0),
                "gelu({x}) = {}",
                x.gelu()
            );
            assert!(
                (x.gelu_derivative() - slope).abs() <= 4e-16,
                "derivative at {x}: {}",
                x.gelu_derivative()
            );
        }
    }

    #[test]
    fn special_values() {
        assert_eq!((0f32.gelu(), (-0f32).gelu()), (0.0, 0.0));
        assert_eq!((f32::INFINITY.gelu(), f32::NEG_INFINITY.gelu()), (f32::INFINITY, 0.0));
        assert_eq!((f64::INFINITY.gelu(), f64::NEG_INFINITY.gelu()), (f64::INFINITY, 0.0));
        assert_eq!(
            (f32::INFINITY.gelu_derivative(), f32::NEG_INFINITY.gelu_derivative()),
            (1.0, 0.0)
        );
        assert_eq!(
            (f64::INFINITY.gelu_derivative(), f64::NEG_INFINITY.gelu_derivative()),
            (1.0, 0.0)
        );
        assert_eq!((f32::MAX.gelu(), f32::MIN.gelu()), (f32::MAX, 0.0));
        assert!(f32::NAN.gelu().is_nan() && f32::NAN.gelu_derivative().is_nan());
        assert!(f64::NAN.gelu().is_nan() && f64::NAN.gelu_derivative().is_nan());
        // Small numbers keep their relative precision: x/2, up to the rounding of Φ(0).
        assert!((1e-30f32.gelu() / 1e-30 - 0.5).abs() < 1e-6);
        assert!(((-1e-30f32).gelu() / -1e-30 - 0.5).abs() < 1e-6);
    }

    const REFERENCE: [(f64, f64, f64); 8] = [
        (-20.0, -5.507248237212468e-88, -1.1014360483133464e-86),
        (-5.0, -1.4332578593959695e-06, -7.146946001792295e-06),
        (-1.5, -0.1002108019032871, -0.12746919222997952),
        (-0.25, -0.10032341857926907, 0.30462664511636395),
        (0.25, 0.14967658142073093, 0.695373354883636),
        (1.0, 0.8413447460685429, 1.0833154705876864),
        (3.0, 2.99595030590511, 1.011945647204184),
        (8.5, 8.5, 1.0000000000000007),
    ];
}
