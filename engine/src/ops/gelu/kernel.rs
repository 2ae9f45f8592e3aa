//! GELU and its derivative for one number, in f32 and f64.
//!
//! f64 goes through `libm`. For f32 we use that with u = |x|
//!
//! - gelu(x) = relu(x) − h(u), where h(u) = u·Φ(−u),
//! - gelu′(x) = k(u) for x < 0 and 1 − k(u) for x ≥ 0, where k = h′, k(u) = Φ(−u) − u·φ(u),
//!
//! (Φ, φ: the normal distribution and its density), so all that is to be approximated is smooth, lives on u ≥ 0 and
//! dies out: a polynomial on [0, [`END`]] and 0 beyond. h is u times a polynomial, so that it is exact at 0 and keeps its
//! relative precision for small x. No branches and no calls: the compiler vectorises it.
//!
//! Both polynomials are minimax fits (Lawson's iteratively reweighted least squares on 6000 Chebyshev nodes, in the
//! Chebyshev basis, in f64), rewritten in powers of t = 2u/END − 1, where powers stay in [−1, 1] and the coefficients
//! small, and rounded to f32. For Φ(−u) the error was weighted by max(u, ¼), since it is multiplied by u.

use crate::Float;
use crate::simd::{Kernel, vectorize};

/// What the two compute dtypes do differently.
pub(crate) trait Gelu: Float {
    /// x·Φ(x).
    fn gelu(self) -> Self;

    /// Its derivative Φ(x) + x·φ(x).
    fn gelu_derivative(self) -> Self;
}

/// The GELU of every number, in place.
pub(crate) fn gelu_in_place<T: Gelu>(x: &mut [T]) {
    struct InPlace<'a, T>(&'a mut [T]);
    impl<T: Gelu> Kernel for InPlace<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            self.0.iter_mut().for_each(|x| *x = x.gelu());
        }
    }
    vectorize(InPlace(x));
}

/// The GELU of every number of `x`, into `y`.
pub(crate) fn gelu_into<T: Gelu>(y: &mut [T], x: &[T]) {
    struct Into<'a, T>(&'a mut [T], &'a [T]);
    impl<T: Gelu> Kernel for Into<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            self.0.iter_mut().zip(self.1).for_each(|(y, x)| *y = x.gelu());
        }
    }
    vectorize(Into(y, x));
}

/// dy times the GELU's derivative at x, in place of dy.
pub(crate) fn times_derivative<T: Gelu>(dy: &mut [T], x: &[T]) {
    struct InPlace<'a, T>(&'a mut [T], &'a [T]);
    impl<T: Gelu> Kernel for InPlace<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            self.0.iter_mut().zip(self.1).for_each(|(dy, x)| *dy *= x.gelu_derivative());
        }
    }
    vectorize(InPlace(dy, x));
}

/// Where the f32 polynomials end. Beyond it |h| < 2.6e-8 and |k| < 1.5e-7.
const END: f32 = 5.75;

/// Φ(−u) for 0 ≤ u ≤ END, in powers of t: degree 17, u times its error is at most 3.7e-8.
const TAIL: [f32; 18] = [
    0.0020201306,
    -0.018394798,
    0.07602285,
    -0.18410324,
    0.27567956,
    -0.22771278,
    0.010192462,
    0.21375567,
    -0.23192422,
    0.034691647,
    0.14885858,
    -0.12120358,
    -0.02391509,
    0.06818864,
    -0.011158259,
    -0.016405804,
    0.0042240657,
    0.0011841792,
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

impl Gelu for f32 {
    /// Within 3.2e-7 of the exact value, for every finite number.
    #[inline(always)]
    fn gelu(self) -> f32 {
        let u = self.abs();
        // The comparison is false for NaN, which then goes through the polynomial and stays NaN.
        let h = if u > END { 0.0 } else { u * polynomial(&TAIL, u) };
        let relu = if self > 0.0 { self } else { 0.0 };
        relu - h
    }

    /// Within 6e-7 of the exact value, for every finite number.
    #[inline(always)]
    fn gelu_derivative(self) -> f32 {
        let u = self.abs();
        let k = if u > END { 0.0 } else { polynomial(&TAIL_SLOPE, u) };
        if self < 0.0 { k } else { 1.0 - k }
    }
}

/// Horner's rule in t = 2u/END − 1.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f32; N], u: f32) -> f32 {
    let t = u.mul_add(2.0 / END, -1.0);
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(t, coefficients[i]);
    }
    sum
}

/// Where Φ(x) has underflown: below it x·Φ(x) is 0, at −∞ too.
const NOTHING: f64 = -40.0;

impl Gelu for f64 {
    #[inline(always)]
    fn gelu(self) -> f64 {
        if self < NOTHING { 0.0 } else { self * normal(self) }
    }

    #[inline(always)]
    fn gelu_derivative(self) -> f64 {
        let density = (-0.5 * self * self).exp() * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
        // Far out the density is 0, and ∞·0 would not be.
        if self.abs() > -NOTHING { normal(self) } else { density.mul_add(self, normal(self)) }
    }
}

/// Φ(x). The complementary error function keeps its relative precision for x < 0.
#[inline(always)]
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest differences from the f64 versions over `xs`: of the value, and of the derivative.
    fn worst(xs: impl Iterator<Item = f32>) -> (f64, f64) {
        xs.fold((0.0, 0.0), |(value, slope), x| {
            let wide = f64::from(x);
            let (dv, ds) = (f64::from(x.gelu()) - wide.gelu(), f64::from(x.gelu_derivative()) - wide.gelu_derivative());
            assert!(dv.is_finite() && ds.is_finite(), "at {x:e}");
            (f64::max(value, dv.abs()), f64::max(slope, ds.abs()))
        })
    }

    #[test]
    fn single_precision_is_as_accurate_as_promised_everywhere() {
        let grid = (-900_000..=900_000).map(|i| i as f32 * 1e-5);
        // Every 2039th bit pattern: all exponents, denormal numbers, both signs.
        let patterns = (0..u32::MAX).step_by(2039).map(f32::from_bits).filter(|x| x.is_finite());
        let ends = [f32::MIN, f32::MAX, f32::MIN_POSITIVE, END, -END, END.next_up(), -END.next_up()];
        for (value, slope) in [worst(grid), worst(patterns), worst(ends.into_iter())] {
            assert!(value <= 3.2e-7, "gelu: {value:e}");
            assert!(slope <= 6e-7, "derivative: {slope:e}");
        }
    }

    /// Reference values by mpmath with 40 digits: Φ(x)·x and Φ(x) + x·φ(x).
    #[test]
    fn double_precision_is_exact_to_rounding() {
        for (x, value, slope) in REFERENCE {
            assert!((x.gelu() - value).abs() <= 2e-16 * value.abs().max(1.0), "gelu({x}) = {}", x.gelu());
            assert!((x.gelu_derivative() - slope).abs() <= 4e-16, "derivative at {x}: {}", x.gelu_derivative());
        }
    }

    #[test]
    fn special_values() {
        assert_eq!((0f32.gelu(), (-0f32).gelu()), (0.0, 0.0));
        assert_eq!((f32::INFINITY.gelu(), f32::NEG_INFINITY.gelu()), (f32::INFINITY, 0.0));
        assert_eq!((f64::INFINITY.gelu(), f64::NEG_INFINITY.gelu()), (f64::INFINITY, 0.0));
        assert_eq!((f32::INFINITY.gelu_derivative(), f32::NEG_INFINITY.gelu_derivative()), (1.0, 0.0));
        assert_eq!((f64::INFINITY.gelu_derivative(), f64::NEG_INFINITY.gelu_derivative()), (1.0, 0.0));
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
