//! A register of numbers, per instruction set.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A type that processors compute in.
pub trait Number: num_traits::Float + num_traits::NumAssign {
    /// The number nearest to `value`.
    fn nearest(value: f64) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn nearest(value: f64) -> Self {
        value as f32
    }
}

impl Number for f64 {
    #[inline(always)]
    fn nearest(value: f64) -> Self {
        value
    }
}

/// `N` numbers that are computed with at once.
///
/// The types of an instruction set are made only inside a function compiled for it:
/// `vectorize_lanes` ensures that.
pub trait Lanes: Copy {
    /// The numbers' type.
    type Scalar: Number;
    /// The number of lanes.
    const N: usize;

    /// All equal to `value`.
    fn splat(value: Self::Scalar) -> Self;
    /// The first `N` of `from`; panics if there are fewer.
    fn load(from: &[Self::Scalar]) -> Self;
    /// Into the first `N` of `to`; panics if there are fewer.
    fn store(self, to: &mut [Self::Scalar]);
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self − other`.
    fn sub(self, other: Self) -> Self;
    /// `self · other`.
    fn mul(self, other: Self) -> Self;
    /// `self / other`.
    fn div(self, other: Self) -> Self;
    /// `self · a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Without their signs.
    fn abs(self) -> Self;
    /// `yes` where `self > limit`, elsewhere `no`; so there at NaN.
    fn where_above(self, limit: Self, yes: Self, no: Self) -> Self;
}

/// The registers for a type, one for each instruction set.
pub trait Vectors: Number {
    /// For every processor.
    type Portable: Lanes<Scalar = Self>;
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Scalar = Self>;
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Scalar = Self>;
    /// How many numbers a cache line holds: kernels block their channels by it, whatever the
    /// registers' size.
    const BLOCK: usize = 64 / size_of::<Self>();
}

impl Vectors for f32 {
    type Portable = Array<f32, 8>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = F32x8;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = F32x16;
}

impl Vectors for f64 {
    type Portable = Array<f64, 4>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = F64x4;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = F64x8;
}

/// As many numbers as a 256-bit register holds.
#[derive(Clone, Copy)]
pub struct Array<T, const N: usize>([T; N]);

impl<T: Number, const N: usize> Lanes for Array<T, N> {
    type Scalar = T;
    const N: usize = N;

    #[inline(always)]
    fn splat(value: T) -> Self {
        Self([value; N])
    }

    #[inline(always)]
    fn load(from: &[T]) -> Self {
        Self(std::array::from_fn(|i| from[i]))
    }

    #[inline(always)]
    fn store(self, to: &mut [T]) {
        to[..N].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] / other.0[i]))
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(a.0[i], b.0[i])))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].abs()))
    }

    #[inline(always)]
    fn where_above(self, limit: Self, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] > limit.0[i] { yes.0[i] } else { no.0[i] }))
    }
}

/// A number as a register of one, in the instruction set of its caller: for numbers left over of a
/// row, and for loops that the compiler vectorizes.
#[derive(Clone, Copy)]
pub struct One<T>(pub T);

impl<T: Number> Lanes for One<T> {
    type Scalar = T;
    const N: usize = 1;

    #[inline(always)]
    fn splat(value: T) -> Self {
        Self(value)
    }

    #[inline(always)]
    fn load(from: &[T]) -> Self {
        Self(from[0])
    }

    #[inline(always)]
    fn store(self, to: &mut [T]) {
        to[0] = self.0;
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self(self.0.mul_add(a.0, b.0))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }

    #[inline(always)]
    fn where_above(self, limit: Self, yes: Self, no: Self) -> Self {
        if self.0 > limit.0 { yes } else { no }
    }
}

/// A type of `$n` numbers over a register and its intrinsics.
macro_rules! register {
    ($(#[$doc:meta])* $name:ident, $register:ty, $scalar:ty, $n:literal,
     $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident,
     $fma:ident,
     |$x:ident| $abs:expr, |$y:ident, $limit:ident, $yes:ident, $no:ident| $where_above:expr) => {
        $(#[$doc])*
        #[cfg(target_arch = "x86_64")]
        #[derive(Clone, Copy)]
        pub struct $name($register);

        #[cfg(target_arch = "x86_64")]
        impl Lanes for $name {
            type Scalar = $scalar;
            const N: usize = $n;

            #[inline(always)]
            fn splat(value: $scalar) -> Self {
                // SAFETY: the instruction set is there: `vectorize_lanes` alone chooses this type,
                // after checking.
                Self(unsafe { $splat(value) })
            }

            #[inline(always)]
            fn load(from: &[$scalar]) -> Self {
                let from = &from[..$n];
                // SAFETY: the instruction set as above; the slice holds as many numbers as the
                // unaligned load reads.
                Self(unsafe { $load(from.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, to: &mut [$scalar]) {
                let to = &mut to[..$n];
                // SAFETY: the instruction set as above; the slice holds as many numbers as the
                // unaligned store writes.
                unsafe { $store(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: the instruction set as above.
                Self(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: the instruction set as above.
                Self(unsafe { $sub(self.0, other.0) })
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: the instruction set as above.
                Self(unsafe { $mul(self.0, other.0) })
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                // SAFETY: the instruction set as above.
                Self(unsafe { $div(self.0, other.0) })
            }

            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: the instruction set as above; AVX2 is only chosen together with FMA.
                Self(unsafe { $fma(self.0, a.0, b.0) })
            }

            #[inline(always)]
            fn abs(self) -> Self {
                let $x = self.0;
                // SAFETY: the instruction set as above.
                Self(unsafe { $abs })
            }

            #[inline(always)]
            fn where_above(self, limit: Self, yes: Self, no: Self) -> Self {
                let ($y, $limit, $yes, $no) = (self.0, limit.0, yes.0, no.0);
                // SAFETY: the instruction set as above.
                Self(unsafe { $where_above })
            }
        }
    };
}
register!(
    /// Eight f32.
    F32x8, __m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps, _mm256_div_ps, _mm256_fmadd_ps, |x| _mm256_andnot_ps(_mm256_set1_ps(-0.0), x),
    |x, limit, yes, no| _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(x, limit))
);
register!(
    /// Four f64.
    F64x4, __m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd, _mm256_div_pd, _mm256_fmadd_pd, |x| _mm256_andnot_pd(_mm256_set1_pd(-0.0), x),
    |x, limit, yes, no| _mm256_blendv_pd(no, yes, _mm256_cmp_pd::<_CMP_GT_OQ>(x, limit))
);
register!(
    /// Sixteen f32.
    F32x16, __m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps, _mm512_div_ps, _mm512_fmadd_ps, |x| _mm512_abs_ps(x),
    |x, limit, yes, no| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, limit), no, yes)
);
register!(
    /// Eight f64.
    F64x8, __m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd, _mm512_div_pd, _mm512_fmadd_pd, |x| _mm512_abs_pd(x),
    |x, limit, yes, no| _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_GT_OQ>(x, limit), no, yes)
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Float;
    use crate::simd::{LaneKernel, vectorize_lanes};

    /// Everything that lanes can do, on the first `L::N` numbers of each slice.
    struct Everything<'a, T>(&'a mut [T]);

    impl<T: Float> LaneKernel<T> for Everything<'_, T> {
        type Output = usize;

        #[inline(always)]
        fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) -> usize {
            for numbers in self.0.chunks_exact_mut(L::N) {
                let x = L::load(numbers);
                let y = x.mul_add(x, L::splat(T::one()));
                let z = y.mul(y).sub(x).add(x.mul(y)).div(y);
                z.where_above(L::splat(T::from_f64(2.0)), z, z.sub(y).abs()).store(numbers);
            }
            V * L::N
        }
    }

    fn check<T: Float>() {
        let start: Vec<T> = (0..T::BLOCK).map(|i| T::from_f64(i as f64 + 0.1)).collect();
        let mut vector = start.clone();
        assert_eq!(vectorize_lanes(Everything(&mut vector)), T::BLOCK);
        let mut portable = start.clone();
        assert_eq!(Everything(&mut portable).run::<T::Portable, 2, 6>(), T::BLOCK);
        assert_eq!(vector, portable);
        let expected = |x: T| {
            let y = x.mul_add(x, T::one());
            let z = (y * y - x + x * y) / y;
            if z > T::from_f64(2.0) { z } else { (z - y).abs() }
        };
        assert_eq!(vector, start.iter().map(|&x| expected(x)).collect::<Vec<T>>());
        let mut one_by_one = start;
        one_by_one.iter_mut().for_each(|x| {
            Everything(std::slice::from_mut(x)).run::<One<T>, 1, 1>();
        });
        assert_eq!(vector, one_by_one);
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        check::<f32>();
        check::<f64>();
    }
}
