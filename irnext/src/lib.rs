//! Image restoration with IRNeXt (Cui et al., ICML 2023): the network, its training, and the
//! commands of the `irnext` program.
//!
//! Restores a photograph, here one that is drawn; [`Photo::read`](image::Photo::read) reads a file:
//!
//! ```
//! use irnext::compute::Compute;
//! use irnext::degrade::Task;
//! use irnext::image::{Image, Photo};
//! use irnext::restorer::{Outcome, Restorer};
//!
//! let hazy = Photo::new(Image::build(64, 48, |x, _| [0.5 + x as f32 / 200.0; 3])?);
//! let restorer = Restorer::for_task(Task::Dehaze, Compute::default())?;
//! let Outcome::Restored { photo, task, .. } = restorer.restore(&hazy)? else { unreachable!() };
//! assert_eq!((photo.pixels.width(), photo.pixels.height(), &task[..]), (64, 48, "dehaze"));
//! # Ok::<(), irnext::Error>(())
//! ```
//!
//! Reading order, from the bottom: [`image`] (files and pixels) → [`model`] (the network and its
//! loss), [`shipped`] (the built-in weights), [`compute`] (device and precision) → [`restore`] (an
//! image of any size) → [`degrade`] (haze, rain, snow and blur), [`classify`] (detecting them) →
//! [`restorer`] (all of it as a service for photographs), [`gallery`] (pages with pictures),
//! [`jobs`] (many files), `serve` (over HTTP) → [`metrics`], [`evaluate`], [`protocol`] (scores) →
//! [`data`] (training pairs), [`doctor`] → [`distributed`] (several processes) → [`train`],
//! [`recipes`], `plot` → [`costs`], [`explain`] (costs and feature maps) → `cli`.
//!
//! The features `program` (the module `cli`, with the parser of its command line), `plot`, `serve`
//! and `checks` are on by default. A library user turns them off: `default-features = false`. So
//! are `avif` and `more-formats` (TIFF files with Zstandard or LZMA compression); without them such
//! files are refused.

#![forbid(unsafe_code)]

pub mod classify;
#[cfg(feature = "program")]
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
pub mod gallery;
pub mod image;
pub mod jobs;
pub mod metrics;
pub mod model;
#[cfg(feature = "plot")]
pub mod plot;
pub mod protocol;
pub mod recipes;
pub mod restore;
pub mod restorer;
#[cfg(feature = "serve")]
pub mod serve;
pub mod shipped;
pub mod train;

pub use error::{Error, Result};
