//! Choosing the instruction set: the one module of the engine with `unsafe` in it.
//!
//! Kernels are ordinary Rust over arrays of fixed size, written so that the compiler vectorises them. What it may use is
//! decided here, once per process, by asking the processor: [`vectorize`] runs a [`Kernel`] inside a function that is
//! compiled for AVX2 and FMA, and everything inlined into it is compiled so, too. The same source compiled for the
//! baseline is the portable path. Kernels vectorise over outputs, never over a sum, and a fused multiply-add rounds once
//! on either path, so both give the same bits.
//!
//! `IRNEXT_SIMD=portable` forces the portable path, for tests.

#![allow(unsafe_code)]

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

/// A piece of work to be compiled for each instruction set. Mark `run`, and what it calls in its inner loops,
/// `#[inline(always)]`: only what is inlined is compiled anew.
pub(crate) trait Kernel {
    type Output;
    fn run(self) -> Self::Output;
}

/// Runs `kernel` in the best instruction set there is.
#[inline]
pub(crate) fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    match isa() {
        // SAFETY: `isa` is Avx2 only after the processor reported both AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { run_avx2(kernel) },
        _ => kernel.run(),
    }
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
