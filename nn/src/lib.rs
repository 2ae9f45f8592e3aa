//! Parameters, layers, losses, optimizers and weight files: the parts of networks, without any
//! particular network.
//!
//! In a crate that uses it, put `[profile.dev.package."*"]` with `opt-level = 3` into `Cargo.toml`:
//! unoptimized code is far too slow.
//!
//! Reading order, from the bottom: [`weights`] (weight files) → [`Params`] (values under dotted
//! paths) → [`distributed`] (several processes) → [`Context`] (a forward pass) → [`layers`],
//! [`loss`], [`Cost`] → [`Frozen`] (a network for evaluation) → [`optim`], [`schedule`], [`Ema`],
//! [`TrainingStep`], [`Trainer`]. Weight files and several processes can wait for a second reading.
//!
//! The folder `examples` has whole programs: a classifier of digits, a denoiser, weights from
//! PyTorch. In short, a network is built, trained and used like this:
//!
//! ```
//! use engine::{DType, Tensor};
//! use nn::layers::{Activation, Linear, Module, Sequential};
//! use nn::optim::Rule;
//! use nn::{Context, Params, Trainer, loss};
//!
//! let (net, params) = Params::build(0, DType::F32, |b| {
//!     Ok(Sequential::new()
//!         .then(Linear::new(&mut b.at(0), 2, 8))
//!         .then(Activation::Tanh)
//!         .then(Linear::new(&mut b.at(2), 8, 2)))
//! })?;
//! // Exclusive or.
//! let x = Tensor::from_slice(&[0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], &[4, 2])?;
//! let classes = Tensor::from_slice(&[0i64, 1, 1, 0], &[4])?;
//! let mut trainer = Trainer::new(params, Rule::adam());
//! for _ in 0..200 {
//!     trainer.step(0.05, |cx| loss::cross_entropy(&net.forward(cx, &x)?, &classes))?;
//! }
//! let logits = net.forward(&Context::inference(&trainer.params), &x)?;
//! assert_eq!(logits.argmax(1)?.to_vec::<i64>()?, [0, 1, 1, 0]);
//! # Ok::<_, nn::Error>(())
//! ```
//!
//! For fine-tuning, layers are frozen by a pass of their own: the parameters that
//! [`Context::inference`] gives to layers are constants, so that a step moves those of the other
//! layers alone, and no running statistics change. Gradients flow through a frozen layer to others
//! in front of it.
//!
//! ```
//! # use engine::{DType, Tensor};
//! # use nn::layers::{Linear, Module};
//! # use nn::{Context, Params, Trainer, loss, optim::Rule};
//! let ((body, head), params) = Params::build(0, DType::F32, |b| {
//!     Ok((Linear::new(&mut b.at("body"), 2, 8), Linear::new(&mut b.at("head"), 8, 2)))
//! })?;
//! let x = Tensor::ones(&[1, 2], DType::F32)?;
//! let frozen = params.clone();
//! let mut trainer = Trainer::new(params, Rule::adam());
//! trainer.step(0.05, |cx| {
//!     let features = body.forward(&Context::inference(&frozen), &x)?;
//!     loss::mse(&head.forward(cx, &features)?, &x)
//! })?;
//! // The steps of body.weight, body.bias, head.weight and head.bias.
//! assert_eq!(trainer.optimizer.steps(), [0, 0, 1, 1]);
//! # Ok::<_, nn::Error>(())
//! ```

#![forbid(unsafe_code)]

mod activation;
mod atomic;
mod context;
mod cost;
pub mod distributed;
mod ema;
mod error;
mod frozen;
mod indices;
pub mod layers;
pub mod loss;
pub mod optim;
mod params;
pub mod schedule;
mod shown;
mod trainer;
mod training_step;
pub mod weights;

pub use atomic::{Reserved, remove_abandoned, remove_partial, write_atomically, write_keeping};
pub use context::{Context, Mode, Pass};
pub use cost::{Cost, LayerKind};
pub use ema::Ema;
pub use error::{Error, Result};
pub use frozen::Frozen;
pub use params::{Builder, Entry, EntryKind, ParamId, Params};
pub use shown::{Shown, shown};
pub use trainer::Trainer;
pub use training_step::TrainingStep;
