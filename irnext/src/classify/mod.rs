//! Classifies the degradation of a photograph: haze, rain, snow, motion blur, defocus, or none that
//! this program removes.
//!
//! Thirty-nine features of the picture ([`Features`]), each of which can be checked by eye, go into
//! a linear classifier whose numbers are a table in a text file. The classification comes with a
//! probability and with the features that led to it. The book's page `docs/src/auto.md` describes
//! the fit and the failures.
//!
//! ```
//! use irnext::image::Image;
//! let flat = Image::build(80, 60, |_, _| [0.5; 3])?;
//! let classification = irnext::classify::classify(&flat)?;
//! println!("{classification}");
//! # Ok::<(), irnext::Error>(())
//! ```
//!
//! Reading order: this file → `features` (`haze`, `streaks`, `sharpness`) → `classifier` → `fit`.

mod classification;
mod classifier;
mod features;
pub mod fit;
mod haze;
mod lines;
mod sharpness;
mod streaks;
mod tiles;

pub use classification::{CLASSES, Classification, SURE, class_name};
pub use classifier::Classifier;
pub use features::Features;

use crate::error::Result;
use crate::image::{Image, Pixels};

/// Classifies the degradation of `image` with the built-in classifier.
///
/// # Errors
/// If this program's own classifier is damaged.
pub fn classify(image: &Image) -> Result<Classification> {
    Ok(Classifier::shipped()?.judge(&Features::of(image)))
}

/// Like [`classify`].
pub(crate) fn classify_photo(pixels: &Pixels) -> Result<Classification> {
    classify(&pixels.at_most(features::PIXELS))
}

#[cfg(test)]
mod tests;
