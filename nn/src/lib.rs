//! Parameters, layers, optimisers, schedules and weight files: what networks are made of, without
//! any one network.
//!
//! Reading order: [`Params`] (numbers under dotted paths) → [`Context`] (how a forward pass is run)
//! → [`layers`] → [`optim`], [`schedule`], [`Ema`] → [`distributed`] (several processes) →
//! [`weights`].

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
pub mod optim;
mod params;
pub mod schedule;
pub mod weights;

pub use atomic::{remove_partial, write_atomically, write_keeping};
pub use context::{Context, Mode, Pass};
pub use cost::{Cost, Operation};
pub use ema::Ema;
pub use error::{Error, Result};
pub use frozen::Frozen;
pub use params::{Builder, Entry, Kind, ParamId, Params};
