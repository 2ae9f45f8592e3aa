//! A register of numbers, per instruction set.

use crate::Float;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// `N` numbers that are computed with at once.
///
/// The types of an instruction set are made only inside a function compiled for it: `vectorize_lanes` sees to that.
pub trait Lanes: Copy {
    /// The numbers' type.
    type Scalar: Float;
    /// How many.
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
    /// `self · a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
}

/// The registers for a type, one for each instruction set.
pub trait Vectors: Sized {
    /// For every processor.
    type Portable: Lanes<Scalar = Self>;
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Scalar = Self>;
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Scalar = Self>;
    /// How many numbers a cache line holds: kernels block their channels by it, whatever the registers' size.
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

impl<T: Float, const N: usize> Lanes for Array<T, N> {
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
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(a.0[i], b.0[i])))
    }
}

/// A type of `$n` numbers over a register and its intrinsics.
macro_rules! register {
    ($(#[$doc:meta])* $name:ident, $register:ty, $scalar:ty, $n:literal,
     $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident) => {
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
                // SAFETY: the instruction set is there: `vectorize_lanes` alone chooses this type, after checking.
                Self(unsafe { $splat(value) })
            }

            #[inline(always)]
            fn load(from: &[$scalar]) -> Self {
                let from = &from[..$n];
                // SAFETY: the instruction set as above; the slice holds as many numbers as the unaligned load reads.
                Self(unsafe { $load(from.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, to: &mut [$scalar]) {
                let to = &mut to[..$n];
                // SAFETY: the instruction set as above; the slice holds as many numbers as the unaligned store writes.
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
            fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: the instruction set as above; AVX2 is only chosen together with FMA.
                Self(unsafe { $fma(self.0, a.0, b.0) })
            }
        }
    };
}
register!(
    /// Eight f32.
    F32x8, __m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps,
    _mm256_mul_ps, _mm256_fmadd_ps
);
register!(
    /// Four f64.
    F64x4, __m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd,
    _mm256_mul_pd, _mm256_fmadd_pd
);
register!(
    /// Sixteen f32.
    F32x16, __m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps,
    _mm512_mul_ps, _mm512_fmadd_ps
);
register!(
    /// Eight f64.
    F64x8, __m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd,
    _mm512_mul_pd, _mm512_fmadd_pd
);

#[cfg(test)]
mod tests {
    use super::*;
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
                y.mul(y).sub(x).add(x.mul(y)).store(numbers);
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
        let y = start[3].mul_add(start[3], T::one());
        assert_eq!(vector[3], y * y - start[3] + start[3] * y);
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        check::<f32>();
        check::<f64>();
    }
}
