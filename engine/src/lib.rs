//! Tensors, gradients and kernels: the part of the project that knows nothing of images or of a
//! network.
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
pub use error::{Error, Result};
pub use interrupt::interruptible;
pub use layout::Layout;
pub use memory::Buffer;
pub use meta::Meta;
pub use numerics::Numerics;
pub use ops::batch_norm::BatchStats;
pub use ops::compare::Operand;
pub use ops::conv2d::Conv2dOptions;
pub use ops::dynamic_filter::Border;
pub use ops::frequency_l1::FrequencyNorm;
pub use ops::pad::Padding;
pub use plan::{Planner, infer, planned};
pub use replay::Replay;
pub use rng::Rng;
pub use simd::{Isa, isa};
pub use tape::{NodeId, Tape};
pub use tensor::Tensor;
