//! What a photograph suffers from: haze, rain, snow, motion blur, defocus, or nothing that this
//! program mends.
//!
//! Thirty-nine figures of the picture ([`Features`]), each one that a person could check by eye, go
//! into a linear classifier whose numbers are a table in a text file. It says how sure it is, and
//! which figures spoke for its answer. The book's page `docs/src/auto.md` tells how it was fitted
//! and where it fails.
//!
//! ```
//! use irnext::image::Image;
//! let flat = Image::from_fn(80, 60, |_, _| [0.5; 3]);
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
use crate::image::Image;

/// Looks at `image` and says what it suffers from, by the classifier inside the program.
pub fn classify(image: &Image) -> Result<Classification> {
    Ok(Classifier::shipped()?.judge(&Features::of(image)))
}

#[cfg(test)]
mod tests;
