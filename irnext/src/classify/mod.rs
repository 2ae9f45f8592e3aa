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
mod trial;

pub use classification::{CLASSES, Classification, LEAST_SIDE, class_name};
pub use classifier::Classifier;
pub use features::Features;

pub(crate) use trial::{SIDE as TRIAL_SIDE, veil, veil_map};

use crate::error::Result;
use crate::image::{Image, Pixels};

/// Classifies the degradation of `image` with the built-in classifier.
///
/// # Errors
/// If this program's own classifier is damaged.
pub fn classify(image: &Image) -> Result<Classification> {
    judge(image, (image.width, image.height))
}

/// Like [`classify`].
pub(crate) fn classify_photo(pixels: &Pixels) -> Result<Classification> {
    judge(&pixels.at_most(features::PIXELS), (pixels.width, pixels.height))
}

/// Classifies a photograph of this size by `image`, which may be shrunk.
fn judge(image: &Image, (width, height): (usize, usize)) -> Result<Classification> {
    let small = width.min(height) < LEAST_SIDE;
    Ok(Classification { small, ..Classifier::shipped()?.judge(&Features::of(image)) })
}

#[cfg(test)]
mod tests;
