//! CUDA's driver, looked for when the program runs instead of when it is linked.
//!
//! The crate `cust` declares the functions of `libcuda` and expects the linker to find them, so a
//! program that uses it neither links without a CUDA toolkit nor starts without NVIDIA's driver.
//! This crate defines those functions itself. Each is a single jump through a pointer, its slot. A
//! slot first points to a function that returns `CUDA_ERROR_STUB_LIBRARY`; [`load`] opens
//! `libcuda.so.1` and points it to the driver's own. So one binary starts everywhere, and computes
//! on the GPU where there is one.
//!
//! Call [`devices`] before anything of `cust`: it loads the driver, checks that it is new enough
//! and counts the GPUs.
//!
//! To link, `cust` still wants a library of the name: `link/lib64/libcuda.a`, an archive without
//! members, found through `CUDA_LIBRARY_PATH`. Nothing comes out of it, for every symbol is defined
//! here. Linux on x86-64 and AArch64 are supported; elsewhere every function returns
//! [`Error::Unsupported`].

// Machine code, functions of another library, and pointers found by name: nothing the compiler can
// check.
#![allow(unsafe_code)]

#[cfg_attr(
    not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))),
    path = "unsupported.rs"
)]
mod driver;

pub use driver::{describe, devices, driver_version, load, probe};

/// Why there is no GPU to compute on. The messages are for whoever runs the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The driver's library cannot be opened.
    #[error("no CUDA driver was found ({reason}): install NVIDIA's driver, version 525 or later")]
    NoDriver {
        /// The message of the system's loader.
        reason: String,
    },
    /// The driver is older than CUDA 12.0.
    #[error(
        "the CUDA driver is too old: it supports CUDA {major}.{minor}, and CUDA 12.0 is needed; \
         install NVIDIA's driver, version 525 or later"
    )]
    OldDriver {
        /// The CUDA version that it supports, before the point.
        major: u32,
        /// And after it.
        minor: u32,
    },
    /// The driver is there and answers with an error, for instance because no GPU is visible.
    #[error("the CUDA driver refused {call}: {message}")]
    Refused {
        /// The function that was called.
        call: &'static str,
        /// Its result, a `CUresult`.
        code: i32,
        /// The code in words, by [`describe`].
        message: String,
    },
    /// There is no CUDA for this system, or this crate does not know how to reach it.
    #[error("CUDA is not supported on this platform, only on Linux on x86-64 and AArch64")]
    Unsupported,
}

/// The driver's description of a GPU; see [`probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The product's name, such as "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// The compute capability, major and minor: (9, 0) for an H100.
    pub capability: (u32, u32),
    /// The GPU's memory in bytes.
    pub memory: u64,
    /// The number of streaming multiprocessors.
    pub multiprocessors: u32,
    /// What no other GPU has.
    pub uuid: [u8; 16],
}
