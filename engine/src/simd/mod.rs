//! SIMD written once, dispatched once: the only part of the engine with `unsafe` in it.
//!
//! There are two ways to write a kernel, and both are compiled once for each instruction set and
//! chosen at run time by asking the processor:
//!
//! * [`vectorize`] runs a [`Kernel`]: ordinary Rust over slices, which the compiler vectorizes.
//!   Enough where memory is the limit.
//! * [`vectorize_lanes`] runs a [`LaneKernel`]: generic over [`Lanes`], a register of numbers. For
//!   the inner loops of convolutions, where the accumulators must stay in registers.
//!
//! Kernels vectorize over outputs, never over a sum, and a fused multiply-add rounds once in every
//! instruction set. So all of them give the same bits.
//!
//! `ENGINE_SIMD` in the environment, `portable`, `avx2` or `avx512`, takes a lesser one than the
//! processor has. `portable` is the reference that every processor can run, slow where the baseline
//! has no fused multiply-add.

#![allow(unsafe_code)]

mod lanes;
mod tile;

pub use lanes::Vectors;
pub(crate) use lanes::{Lanes, Number, One};
use std::sync::LazyLock;
pub(crate) use tile::{add_block, load_block, load_strided, multiply, store_block, store_strided};

/// The instruction sets that kernels are compiled for; each includes the ones before it. See
/// [`isa`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// The baseline that every processor of the target has.
    Portable,
    /// AVX2 and FMA: x86-64 since 2013.
    Avx2,
    /// AVX-512F: registers of 512 bits, and 32 of them.
    Avx512,
}

/// The instruction set in use, decided at the first call.
///
/// ```
/// use engine::{Isa, isa};
/// assert!(isa() >= Isa::Portable);
/// println!("{:?}", isa());
/// ```
pub fn isa() -> Isa {
    static ISA: LazyLock<Isa> = LazyLock::new(|| {
        let most = match std::env::var("ENGINE_SIMD").as_deref() {
            Ok("portable") => Isa::Portable,
            Ok("avx2") => Isa::Avx2,
            _ => Isa::Avx512,
        };
        detect().min(most)
    });
    *ISA
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    match is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        true if is_x86_feature_detected!("avx512f") => Isa::Avx512,
        true => Isa::Avx2,
        false => Isa::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Work whose loops the compiler vectorizes. Mark `run`, and the functions that it calls in its
/// inner loops, `#[inline(always)]`: only inlined code is compiled anew for each instruction set.
pub(crate) trait Kernel {
    type Output;
    fn run(self) -> Self::Output;
}

/// Work written over registers of `T`. Mark `run`, and the functions that it calls,
/// `#[inline(always)]`; build arrays of registers by loops, not by `array::from_fn` or `map`, which
/// are functions of the baseline instruction set that nothing is inlined into.
pub(crate) trait LaneKernel<T: Vectors> {
    type Output;

    /// `V` registers make a [block](Vectors::BLOCK). With `R × V` sums and the operands of a
    /// multiplication, the instruction set's registers are in use.
    fn run<L: Lanes<Scalar = T>, const V: usize, const R: usize>(self) -> Self::Output;
}

/// Runs `kernel` in the best instruction set there is.
#[inline]
pub(crate) fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    match isa() {
        // SAFETY: `isa` is Avx512 only after the processor reported AVX-512F, AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { kernel_avx512(kernel) },
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
        // SAFETY: `isa` is Avx512 only after the processor reported AVX-512F, AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { lanes_avx512::<T, K>(kernel) },
        // SAFETY: `isa` is Avx2 only after the processor reported both AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { lanes_avx2::<T, K>(kernel) },
        _ => kernel.run::<T::Portable, 2, 6>(),
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
/// The processor must have AVX-512F, AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn kernel_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// 12 sums, 2 registers of weights and a value: 15 of 16 registers.
///
/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn lanes_avx2<T: Vectors, K: LaneKernel<T>>(kernel: K) -> K::Output {
    kernel.run::<T::Avx2, 2, 6>()
}

/// 12 sums: enough to hide the latency of a multiply-add, which reads its value from memory itself.
///
/// # Safety
/// The processor must have AVX-512F, AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn lanes_avx512<T: Vectors, K: LaneKernel<T>>(kernel: K) -> K::Output {
    kernel.run::<T::Avx512, 1, 16>()
}
