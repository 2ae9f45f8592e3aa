//! Parameters, layers, optimizers, schedules and weight files: the parts of networks, without any
//! particular network.
//!
//! Reading order, from the bottom: [`weights`] (weight files) → [`Params`] (values under dotted
//! paths) → [`distributed`] (several processes) → [`Context`] (a forward pass) → [`layers`],
//! [`Cost`] → [`Frozen`] (a network for evaluation) → [`optim`], [`schedule`], [`Ema`],
//! [`TrainingStep`]. Weight files and several processes can wait for a second reading.

#![forbid(unsafe_code)]

mod activation;
mod atomic;
mod context;
mod cost;
pub mod distributed;
mod ema;
mod error;
mod frozen;
pub mod layers;
pub mod loss;
pub mod optim;
mod params;
pub mod schedule;
mod training_step;
pub mod weights;

pub use atomic::{remove_partial, write_atomically, write_keeping};
pub use context::{Context, Mode, Pass};
pub use cost::{Cost, LayerKind};
pub use ema::Ema;
pub use error::{Error, Result};
pub use frozen::Frozen;
pub use params::{Builder, Entry, EntryKind, ParamId, Params};
pub use training_step::TrainingStep;
