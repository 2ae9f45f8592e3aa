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
}

impl Vectors for f32 {
    type Portable = Array<f32, 8>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = F32x8;
}

impl Vectors for f64 {
    type Portable = Array<f64, 4>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = F64x4;
}

/// As many numbers as a 256-bit register holds, so that every path blocks its loops alike.
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
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(a.0[i], b.0[i])))
    }
}

macro_rules! avx2 {
    ($(#[$doc:meta])* $name:ident, $register:ty, $scalar:ty, $n:literal, $splat:ident, $load:ident, $store:ident, $fma:ident) => {
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
                // SAFETY: AVX is there, since `vectorize_lanes` alone chooses this type, after checking.
                Self(unsafe { $splat(value) })
            }

            #[inline(always)]
            fn load(from: &[$scalar]) -> Self {
                let from = &from[..$n];
                // SAFETY: AVX as above; the slice holds as many numbers as the unaligned load reads.
                Self(unsafe { $load(from.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, to: &mut [$scalar]) {
                let to = &mut to[..$n];
                // SAFETY: AVX as above; the slice holds as many numbers as the unaligned store writes.
                unsafe { $store(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: FMA is there, checked together with AVX2.
                Self(unsafe { $fma(self.0, a.0, b.0) })
            }
        }
    };
}
avx2!(
    /// Eight f32.
    F32x8, __m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps
);
avx2!(
    /// Four f64.
    F64x4, __m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{LaneKernel, vectorize_lanes};

    struct Fma<'a, T>(&'a mut [T]);

    impl<T: Float> LaneKernel<T> for Fma<'_, T> {
        type Output = usize;

        #[inline(always)]
        fn run<L: Lanes<Scalar = T>>(self) -> usize {
            let x = L::load(self.0);
            x.mul_add(x, L::splat(T::one())).store(self.0);
            L::N
        }
    }

    fn check<T: Float>() {
        let start: Vec<T> = (0..8).map(|i| T::from_f64(f64::from(i) + 0.1)).collect();
        let mut vector = start.clone();
        let n = vectorize_lanes(Fma(&mut vector));
        let mut portable = start.clone();
        assert_eq!(Fma(&mut portable).run::<T::Portable>(), n);
        assert_eq!(vector, portable);
        assert_eq!(vector[n - 1], start[n - 1].mul_add(start[n - 1], T::one()));
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        check::<f32>();
        check::<f64>();
    }
}
