//! SIMD written once, dispatched once: the only part of the engine with `unsafe` in it.
//!
//! There are two ways to write a kernel, and both are compiled once for each instruction set and chosen at run time by
//! asking the processor:
//!
//! * [`vectorize`] runs a [`Kernel`]: ordinary Rust over slices, which the compiler vectorises. Enough where memory is the limit.
//! * [`vectorize_lanes`] runs a [`LaneKernel`]: generic over [`Lanes`], a register of numbers. For the inner loops of
//!   convolutions, where the accumulators must stay in registers.
//!
//! Kernels vectorise over outputs, never over a sum, and a fused multiply-add rounds once in every instruction set. So all
//! of them give the same bits.
//!
//! `IRNEXT_SIMD=portable` in the environment forces the path that every processor has: the reference, slow where
//! the baseline has no fused multiply-add.

#![allow(unsafe_code)]

mod lanes;

pub(crate) use lanes::Lanes;
pub use lanes::Vectors;
use std::sync::LazyLock;

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What every processor of the target has.
    Portable,
    /// AVX2 and FMA: x86-64 since 2013.
    Avx2,
}

/// The instruction set in use, decided at the first call.
pub fn isa() -> Isa {
    static ISA: LazyLock<Isa> = LazyLock::new(|| match std::env::var("IRNEXT_SIMD").as_deref() {
        Ok("portable") => Isa::Portable,
        _ => detect(),
    });
    *ISA
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    match is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        true => Isa::Avx2,
        false => Isa::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Work whose loops the compiler vectorises. Mark `run`, and what it calls in its inner loops, `#[inline(always)]`:
/// only what is inlined is compiled anew for each instruction set.
pub(crate) trait Kernel {
    type Output;
    fn run(self) -> Self::Output;
}

/// Work written over registers of `T`. Mark `run`, and what it calls, `#[inline(always)]`.
pub(crate) trait LaneKernel<T: Vectors> {
    type Output;
    fn run<L: Lanes<Scalar = T>>(self) -> Self::Output;
}

/// Runs `kernel` in the best instruction set there is.
#[inline]
pub(crate) fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    match isa() {
        // SAFETY: `isa` is Avx2 only after the processor reported both AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { kernel_avx2(kernel) },
        _ => kernel.run(),
    }
}

/// Runs `kernel` with the registers of the best instruction set there is.
#[inline]
pub(crate) fn vectorize_lanes<T: Vectors, K: LaneKernel<T>>(kernel: K) -> K::Output {
    match isa() {
        // SAFETY: `isa` is Avx2 only after the processor reported both AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { lanes_avx2::<T, K>(kernel) },
        _ => kernel.run::<T::Portable>(),
    }
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn lanes_avx2<T: Vectors, K: LaneKernel<T>>(kernel: K) -> K::Output {
    kernel.run::<T::Avx2>()
}
