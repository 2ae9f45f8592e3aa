//! Image restoration with IRNeXt (Cui et al., ICML 2023): the network, its training, and the
//! commands of the `irnext` program.
//!
//! Reading order: [`model`] (the network and its loss) → [`restore`] (restoring a photograph),
//! [`classify`] (detecting its degradation), [`compute`] (device and precision) → [`degrade`],
//! [`data`] (training pairs) → [`train`], [`recipes`], [`plot`] → [`metrics`], [`evaluate`],
//! [`protocol`], [`doctor`] (scores and data sets) → [`distributed`] (several processes) →
//! [`costs`], [`explain`] (costs and feature maps) → [`cli`].

#![forbid(unsafe_code)]

pub mod classify;
pub mod cli;
pub mod compute;
pub mod costs;
pub mod data;
pub mod degrade;
pub mod distributed;
pub mod doctor;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod image;
pub mod metrics;
pub mod model;
pub mod plot;
pub mod protocol;
pub mod recipes;
pub mod restore;
pub mod shipped;
pub mod train;

pub use error::{Error, Result};
