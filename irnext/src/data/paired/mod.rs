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

    /// Checks that the photographs of the first `limit` pairs have the same size, by the headers of
    /// their files.
    ///
    /// # Errors
    /// If a header cannot be read, or the sizes of a pair differ; the error names its files.
    pub fn check_sizes(&self, limit: usize) -> Result<()> {
        self.pairs.iter().take(limit).try_for_each(|pair| {
            pair.border(Photo::size(&pair.input)?, Photo::size(&pair.target)?).map(drop)
        })
    }

    /// Both photographs, and the offset of the input inside the target.
    fn read(&self, index: usize) -> Result<(Arc<Pixels>, Arc<Pixels>, usize)> {
        let pair = &self.pairs[index];
        let input = self.cache.read(&pair.input)?;
        // Scores without ground truth pair a photograph with itself.
        let target = match pair.target == pair.input {
            true => input.clone(),
            false => self.cache.read(&pair.target)?,
        };
        let border = pair.border((input.width, input.height), (target.width, target.height))?;
        Ok((input, target, border))
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

impl Pair {
    /// The offset of the input inside the target, from the width and height of each.
    fn border(&self, input: (usize, usize), target: (usize, usize)) -> Result<usize> {
        border(input, target).ok_or_else(|| {
            let ((width, height), name) = (input, shown(&self.target));
            let reason = format!(
                "has {width}x{height} pixels, and its target {name} has {}x{}",
                target.0, target.1
            );
            Error::image(&self.input, reason)
        })
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
