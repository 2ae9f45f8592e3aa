//! Crops: the part of a photograph that becomes a training sample.

use engine::Rng;

use crate::error::{Error, Result};
use crate::image::{Image, Pixels};

/// The size of a training sample and how it is taken out of a photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct CropSpec {
    /// Pixels in a row of the sample.
    pub width: usize,
    /// Rows of the sample.
    pub height: usize,
    /// A sample is cut at 1 to `max_shrink` times its size (evenly distributed, and no more than
    /// the photograph holds) and made smaller by [`Image::resize`]. 1 cuts at the size of the
    /// sample.
    pub max_shrink: f64,
    /// Whether half of the samples are mirrored left to right.
    pub flip: bool,
}

/// Where in a photograph a sample is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CropWindow {
    /// The first column.
    pub x: usize,
    /// The first row.
    pub y: usize,
    /// The number of columns.
    pub width: usize,
    /// The number of rows.
    pub height: usize,
    /// Whether the sample is mirrored left to right.
    pub flip: bool,
}

impl CropSpec {
    /// Square samples of `side` pixels, not shrunk, half of them mirrored, as in the paper.
    pub fn square(side: usize) -> Self {
        Self { width: side, height: side, max_shrink: 1.0, flip: true }
    }

    /// Fails if no sample can be taken with these settings.
    pub fn check(&self) -> Result<()> {
        let reason = if self.width == 0 || self.height == 0 {
            format!("a crop of {}x{} has no pixels", self.width, self.height)
        } else if !(self.max_shrink >= 1.0 && self.max_shrink.is_finite()) {
            format!("max_shrink is {}, and must be 1 or more", self.max_shrink)
        } else {
            return Ok(());
        };
        Err(Error::Config { reason })
    }

    /// A random place in a photograph of `width` x `height` pixels. Along a side that is shorter
    /// than the sample's, all of it.
    pub fn window(&self, width: usize, height: usize, rng: &mut Rng) -> CropWindow {
        let ratio = |whole: usize, part: usize| whole as f64 / part as f64;
        let room = ratio(width, self.width).min(ratio(height, self.height));
        let scale = rng.range(1.0..self.max_shrink.min(room).max(1.0));
        let taken = |part: usize, whole: usize| whole.min((part as f64 * scale).round() as usize);
        let (taken_width, taken_height) = (taken(self.width, width), taken(self.height, height));
        CropWindow {
            x: rng.below((width - taken_width) as u64 + 1) as usize,
            y: rng.below((height - taken_height) as u64 + 1) as usize,
            width: taken_width,
            height: taken_height,
            flip: rng.chance(0.5) && self.flip,
        }
    }

    /// The sample at `window`, inside the photograph: shrunk to the size of the sample or, where
    /// the photograph is smaller than that, grown to it by reflection to the right and downwards.
    pub(super) fn cut(&self, pixels: &Pixels, window: &CropWindow) -> Image {
        let mut image = pixels.part(window.x, window.y, window.width, window.height);
        if image.width < self.width || image.height < self.height {
            image = image.pad_reflect(self.width, self.height);
        } else if (image.width, image.height) != (self.width, self.height) {
            image = image.resampled(self.width, self.height);
        }
        if window.flip {
            image = image.flip_horizontal();
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(width: usize, height: usize) -> Pixels {
        Image::from_fn(width, height, |x, y| [x as f32 / 255.0, y as f32 / 255.0, 0.5]).into()
    }

    /// The columns and rows that a sample's pixels came from.
    fn places(image: &Image) -> Vec<(u8, u8)> {
        let byte = |value: f32| (value * 255.0).round() as u8;
        image.pixels().map(|[x, y, _]| (byte(x), byte(y))).collect()
    }

    #[test]
    fn windows_reach_every_place_and_both_directions() {
        let crop = CropSpec::square(3);
        let mut rng = Rng::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let window = crop.window(5, 4, &mut rng);
            assert_eq!((window.width, window.height), (3, 3));
            seen.insert((window.x, window.y, window.flip));
        }
        assert_eq!(seen.len(), 3 * 2 * 2);
    }

    #[test]
    fn without_flip_nothing_is_mirrored_and_the_places_stay() {
        let (flipping, plain) =
            (CropSpec::square(2), CropSpec { flip: false, ..CropSpec::square(2) });
        for index in 0..50 {
            let a = flipping.window(9, 9, &mut Rng::at(1, 0, index));
            let b = plain.window(9, 9, &mut Rng::at(1, 0, index));
            assert!(!b.flip);
            assert_eq!((a.x, a.y), (b.x, b.y));
        }
    }

    #[test]
    fn a_sample_is_the_window() {
        let crop = CropSpec { width: 2, height: 1, max_shrink: 1.0, flip: true };
        let mut window = CropWindow { x: 3, y: 2, width: 2, height: 1, flip: false };
        let pixels = counting(6, 4);
        assert_eq!(places(&crop.cut(&pixels, &window)), [(3, 2), (4, 2)]);
        window.flip = true;
        assert_eq!(places(&crop.cut(&pixels, &window)), [(4, 2), (3, 2)]);
    }

    #[test]
    fn a_small_photograph_is_reflected() {
        let crop = CropSpec { width: 4, height: 2, max_shrink: 3.0, flip: false };
        let window = crop.window(3, 9, &mut Rng::new(5));
        assert_eq!((window.x, window.width, window.height), (0, 3, 2));
        let y = window.y as u8;
        let row = |y| [(0, y), (1, y), (2, y), (1, y)];
        assert_eq!(places(&crop.cut(&counting(3, 9), &window)), [row(y), row(y + 1)].concat());
    }

    #[test]
    fn shrinking_takes_more_but_never_more_than_there_is() {
        let crop = CropSpec { max_shrink: 4.0, ..CropSpec::square(8) };
        let pixels = counting(40, 20);
        let mut widest = 0;
        for index in 0..200 {
            let window = crop.window(40, 20, &mut Rng::at(2, 0, index));
            assert_eq!(window.width, window.height);
            assert!((8..=20).contains(&window.width));
            widest = widest.max(window.width);
            let sample = crop.cut(&pixels, &window);
            assert_eq!((sample.width, sample.height), (8, 8));
        }
        assert!(widest >= 18, "{widest}");
    }

    #[test]
    fn refuses_what_cannot_be_cut() {
        assert!(CropSpec::square(1).check().is_ok());
        assert!(CropSpec::square(0).check().is_err());
        for max_shrink in [0.5, f64::NAN, f64::INFINITY] {
            let crop = CropSpec { max_shrink, ..CropSpec::square(8) };
            assert!(crop.check().is_err());
        }
    }
}
