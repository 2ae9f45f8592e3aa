//! Tensors, gradients and kernels: the part of the project that knows nothing of images or of a
//! network.
//!
//! In a crate that uses it, put `[profile.dev.package."*"]` with `opt-level = 3` into `Cargo.toml`:
//! unoptimized code is far too slow.
//!
//! Gradient descent on a linear model, from nothing but a tape and tensors:
//!
//! ```
//! use engine::{DType, Rng, Tape, Tensor};
//! let x = Tensor::randn(&[32, 2], DType::F64, &mut Rng::new(1))?;
//! let target = x.matmul(&Tensor::from_slice(&[2.0, -3.0], &[2, 1])?)?;
//! let mut weights = Tensor::zeros(&[2, 1], DType::F64)?;
//! for _ in 0..100 {
//!     let tape = Tape::new();
//!     let w = tape.leaf(&weights);
//!     let loss = x.matmul(&w)?.sub(&target)?.square()?.mean_all()?;
//!     let gradients = tape.backward(&loss)?;
//!     weights = weights.sub(&gradients.get(&w).unwrap().scale(0.3)?)?;
//! }
//! let found = weights.to_f64_vec()?;
//! assert!((found[0] - 2.0).abs() < 1e-6 && (found[1] + 3.0).abs() < 1e-6);
//! # Ok::<_, engine::Error>(())
//! ```
//!
//! Longer ones are in `engine/examples`: a tape, printed and compared with finite differences
//! (`tape.rs`), and an operation defined outside this crate (`custom_op.rs`).
//!
//! Reading order, from the bottom. Each layer sees only those below it:
//!
//! 1. The ground: [`DType`], [`Layout`] and loop nests over layouts, [`Meta`], the options of
//!    convolutions, [`Numerics`], [`Rng`], [`memory`], [`profile`], and the vectors of `simd/`.
//! 2. The backends: `cpu/` and `cuda/`. They see slices, addresses and layouts, but no
//!    tensors. The sources of the CUDA kernels are in the crate `kernels`.
//! 3. Values and their record: [`Tensor`], [`Tape`], [`Device`], and `trace.rs`, which records a
//!    computation as a graph instead of carrying it out.
//! 4. [`ops`]: the operations, a folder each. Read `ops/mod.rs` for their common part, then
//!    `ops/conv2d/`. In the same layer are gradients (`backward.rs`), [`Replay`], [`Communicator`],
//!    and [`optimizer`], the steps of optimizers.
//! 5. `plan/`: a traced computation, run with fewer operations; and [`checkpoint`], which trades
//!    time for memory.
//! 6. `checks`, with the feature of that name: how every gradient is checked.
//!
//! The course of one `conv2d`: `Tensor::conv2d` builds the operation and calls [`ops::apply`]. That
//! checks shapes (`Op::infer`), computes (`Op::forward`) and, if an input is on a tape, records the
//! data that `Op::backward` will need. [`Tape::backward`] later pops that record and adds up the
//! gradients it returns.

mod backward;
mod checkpoint;
#[cfg(any(test, feature = "checks"))]
pub mod checks;
mod collectives;
mod communicator;
mod conv;
mod cpu;
mod cuda;
mod device;
mod dispatch;
mod dtype;
mod error;
mod interpolation;
mod interrupt;
mod layout;
mod loop_nest;
pub mod memory;
mod meta;
mod numerics;
pub mod ops;
pub mod optimizer;
mod plan;
pub mod profile;
mod replay;
mod rng;
mod rows;
mod simd;
mod tape;
mod tensor;
mod trace;

pub use backward::Gradients;
pub use checkpoint::checkpoint;
pub use collectives::Collectives;
pub use communicator::{AllReduce, Communicator};
pub use device::{Device, GpuInfo, gpus};
pub use dtype::{DType, Element, Float};
pub use error::{Error, Result, counted};
pub use interrupt::interruptible;
pub use layout::{Layout, broadcast_shape};
pub use memory::Buffer;
pub use meta::Meta;
pub use numerics::Numerics;
pub use ops::batch_norm::BatchStats;
pub use ops::compare::Operand;
pub use ops::conv2d::Conv2dOptions;
pub use ops::dynamic_filter::Border;
pub use ops::frequency_l1::FrequencyNorm;
pub use ops::pad::Padding;
pub use plan::{Planner, Strips, infer, planned};
pub use replay::Replay;
pub use rng::Rng;
pub use simd::{Isa, isa};
pub use tape::{NodeId, Tape};
pub use tensor::Tensor;
