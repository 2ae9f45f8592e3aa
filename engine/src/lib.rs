//! Tensors, gradients and kernels: the part of the project that knows nothing of images or of a
//! network.
//!
//! Reading order, from the bottom:
//!
//! 1. [`DType`], [`Layout`]: what elements are, and where they lie.
//! 2. [`pool`], [`Tensor`]: memory, and values that share it.
//! 3. [`ops`]: the operations, a room each. Read `ops/mod.rs` for what they have in common, then
//!    `ops/conv2d/`.
//! 4. [`Tape`]: recording, and gradients. [`checkpoint`] trades time for memory.
//! 5. [`optimise`]: the steps of optimisers, on which there are no gradients.
//! 6. [`Device`]: GPUs, in `cuda/` and in the `cuda.rs` of every room. What they run is in the
//!    crate `kernels`.
//! 7. [`gradcheck`](mod@gradcheck), [`sweep`]: how every gradient is checked. [`profile`]: where
//!    the time goes.
//!
//! What one `conv2d` does: `Tensor::conv2d` builds the operation and calls [`ops::apply`]. That
//! checks shapes (`Op::infer`), computes (`Op::forward`) and, if an input is on a tape, records
//! what `Op::backward` will need. [`Tape::backward`] later pops that record and adds up the
//! gradients it returns.

mod checkpoint;
mod communicator;
mod cpu;
mod cuda;
mod device;
mod dtype;
mod error;
pub mod gradcheck;
mod interrupt;
mod layout;
pub mod ops;
pub mod optimise;
pub mod pool;
pub mod profile;
mod ranks;
mod replay;
mod rng;
mod settings;
mod simd;
pub mod sweep;
mod tape;
mod tensor;

pub use checkpoint::{checkpoint, checkpoint_computed};
pub use communicator::{Communicator, Means};
pub use device::{Device, GpuInfo, gpus};
pub use dtype::{DType, Element, Float};
pub use error::{Error, Result};
pub use gradcheck::gradcheck;
pub use interrupt::interruptible;
pub use layout::Layout;
pub use ops::batch_norm::BatchStats;
pub use ops::conv2d::{Around, Conv2dOptions, PackedWeight};
pub use ops::dynamic_filter::Border;
pub use ops::frequency_l1::FrequencyNorm;
pub use ops::pad::Padding;
pub use pool::Buffer;
pub use ranks::Ranks;
pub use replay::Replay;
pub use rng::Rng;
pub use settings::{
    compiled_fusion, deterministic, set_compiled_fusion, set_deterministic, set_tf32, tf32,
};
pub use simd::{Isa, isa};
pub use tape::{Gradients, Place, Tape};
pub use tensor::{Meta, Tensor};
