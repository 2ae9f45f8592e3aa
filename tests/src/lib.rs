//! Everything here is a test; the crate itself is empty, but for the examples in the packages'
//! READMEs.

/// `engine`'s page in a registry.
#[cfg(doctest)]
#[doc = include_str!("../../engine/README.md")]
mod engine_page {}

/// `nn`'s.
#[cfg(doctest)]
#[doc = include_str!("../../nn/README.md")]
mod nn_page {}

/// `irnext`'s.
#[cfg(doctest)]
#[doc = include_str!("../../irnext/README.md")]
mod irnext_page {}

/// `kernels`'.
#[cfg(doctest)]
#[doc = include_str!("../../kernels/README.md")]
mod kernels_page {}

/// `cuda-driver`'s.
#[cfg(doctest)]
#[doc = include_str!("../../kernels/driver/README.md")]
mod driver_page {}
