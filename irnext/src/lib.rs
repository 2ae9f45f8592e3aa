//! Image restoration with IRNeXt (Cui et al., ICML 2023): the network, its training, and the
//! commands of the `irnext` program.
//!
//! Reading order, from the bottom: [`image`] (files and pixels) → [`model`] (the network and its
//! loss), [`shipped`] (the built-in weights), [`compute`] (device and precision) → [`restore`] (an
//! image of any size) → [`degrade`] (haze, rain, snow and blur), [`classify`] (detecting them) →
//! [`restorer`] (all of it as a service for photographs), [`jobs`] (many files) → [`metrics`], [`evaluate`], [`protocol`]
//! (scores) → [`data`] (training pairs), [`doctor`] → [`distributed`] (several processes) →
//! [`train`], [`recipes`], [`plot`] → [`costs`], [`explain`] (costs and feature maps) → [`cli`].

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
pub mod jobs;
pub mod metrics;
pub mod model;
pub mod plot;
pub mod protocol;
pub mod recipes;
pub mod restore;
pub mod restorer;
pub mod shipped;
pub mod train;

pub use error::{Error, Result};
