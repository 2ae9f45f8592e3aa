//! Image restoration with IRNeXt.

pub mod data;
pub mod error;
pub mod image;
pub mod metrics;

pub use error::{Error, Result};
