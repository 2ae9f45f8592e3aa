//! Pairs of image files as a source: a degraded photograph and its ground truth.

use nn::shown;
use std::path::Path;
use std::sync::Arc;

use engine::Rng;

use super::pairing::{Pair, Pairing};
use super::{CropSpec, CropWindow, PhotoCache, Source};
use crate::error::{Error, Result};
use crate::image::{Image, Photo, Pixels};

/// The border, in pixels, that RESIDE's indoor ground truth has and its hazy images lack.
const RESIDE_BORDER: usize = 10;

/// Photographs and their ground truth.
#[derive(Debug)]
pub struct Paired {
    pairs: Vec<Pair>,
    cache: Arc<PhotoCache>,
}

impl Paired {
    /// A source of these pairs.
    pub fn new(pairs: Vec<Pair>, cache: Arc<PhotoCache>) -> Self {
        Self { pairs, cache }
    }

    /// A source of the pairs in two folders, by the rules of [`Pairing::of_folders`]. Fails if
    /// there are no pairs.
    pub fn from_folders(inputs: &Path, targets: &Path, cache: Arc<PhotoCache>) -> Result<Self> {
        Ok(Self::new(Pairing::of_folders(inputs, targets)?.or_complain(inputs)?.pairs, cache))
    }

    /// The pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Both photographs, and the offset of the input inside the target.
    fn read(&self, index: usize) -> Result<(Arc<Pixels>, Arc<Pixels>, usize)> {
        let pair = &self.pairs[index];
        let input = self.cache.read(&pair.input)?;
        let target = self.cache.read(&pair.target)?;
        if let Some(border) = border((input.width, input.height), (target.width, target.height)) {
            return Ok((input, target, border));
        }
        let reason = format!(
            "has {}x{} pixels, and its target {} has {}x{}",
            input.width,
            input.height,
            shown(&pair.target),
            target.width,
            target.height
        );
        Err(Error::image(&pair.input, reason))
    }
}

impl Source for Paired {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn name(&self, index: usize) -> String {
        self.pairs[index].name.clone()
    }

    fn size(&self, index: usize) -> Result<(usize, usize)> {
        Photo::size(&self.pairs[index].input)
    }

    fn sample(&self, index: usize, rng: &mut Rng, crop: &CropSpec) -> Result<(Image, Image)> {
        let (input, target, border) = self.read(index)?;
        let window = crop.window(input.width, input.height, rng);
        let in_target = CropWindow { x: window.x + border, y: window.y + border, ..window };
        Ok((crop.cut(&input, &window), crop.cut(&target, &in_target)))
    }

    /// The whole photographs.
    fn full(&self, index: usize) -> Result<(Image, Image)> {
        let (input, target, border) = self.read(index)?;
        let inner = target.part(border, border, input.width, input.height);
        Ok((input.image(), inner))
    }
}

/// The offset of the input inside the target, from the width and height of each; `None` if they do
/// not fit together.
pub fn border(input: (usize, usize), target: (usize, usize)) -> Option<usize> {
    let fits = |border: &usize| target == (input.0 + 2 * border, input.1 + 2 * border);
    [0, RESIDE_BORDER].into_iter().find(fits)
}

#[cfg(test)]
mod tests;
