//! The colors of invisible pixels: those of opacity 0.
//!
//! They may be anything, and the network would see them and spread them to the visible pixels
//! beside. It sees the nearest visible colors instead.

use super::{Photo, Pixels};
use std::borrow::Cow;

impl Photo {
    /// The picture with the colors of the nearest visible pixels where nothing is to be seen.
    pub fn visible(&self) -> Cow<'_, Pixels> {
        match self.alpha.as_ref().filter(|alpha| has_both(alpha)) {
            None => Cow::Borrowed(&self.pixels),
            Some(alpha) => {
                let nearest = nearest_visible(alpha, self.pixels.width);
                Cow::Owned(self.pixels.rearranged(&nearest))
            }
        }
    }

    /// Puts the colors of this photo's invisible pixels into its row `y`.
    pub(crate) fn put_back_hidden(&self, y: usize, row: &mut [f32]) {
        let Some(alpha) = &self.alpha else { return };
        let first = y * self.pixels.width;
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            if alpha[first + x] == 0.0 {
                pixel.copy_from_slice(&self.pixels.nth(first + x));
            }
        }
    }
}

fn has_both(alpha: &[f32]) -> bool {
    alpha.contains(&0.0) && alpha.iter().any(|&opacity| opacity > 0.0)
}

/// For each pixel, the index of the nearest visible one, or nearly so: the index is handed on from
/// neighbor to neighbor, first from the top left and then from the bottom right.
fn nearest_visible(alpha: &[f32], width: usize) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let height = alpha.len() / width;
    let mut nearest: Vec<u32> =
        (0u32..).zip(alpha).map(|(i, &opacity)| if opacity > 0.0 { i } else { NONE }).collect();
    let distance = |at: usize, to: u32| match to {
        NONE => usize::MAX,
        to => {
            let to = to as usize;
            (at % width).abs_diff(to % width).pow(2) + (at / width).abs_diff(to / width).pow(2)
        }
    };
    let mut pass = |at: usize, steps: [(isize, isize); 4]| {
        let (x, y) = ((at % width) as isize, (at / width) as isize);
        for (dx, dy) in steps {
            let (x, y) = (x + dx, y + dy);
            if (0..width as isize).contains(&x) && (0..height as isize).contains(&y) {
                let candidate = nearest[y as usize * width + x as usize];
                if distance(at, candidate) < distance(at, nearest[at]) {
                    nearest[at] = candidate;
                }
            }
        }
    };
    for at in 0..alpha.len() {
        pass(at, [(-1, 0), (-1, -1), (0, -1), (1, -1)]);
    }
    for at in (0..alpha.len()).rev() {
        pass(at, [(1, 0), (1, 1), (0, 1), (-1, 1)]);
    }
    // Rows once more, for colors that came around a corner.
    for at in 0..alpha.len() {
        pass(at, [(-1, 0), (1, 0), (0, -1), (0, 1)]);
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    #[test]
    fn hidden_pixels_take_the_nearest_visible_color_and_get_their_own_back() {
        let (width, height) = (9, 7);
        let image = Image::from_fn(width, height, |x, y| [x as f32, y as f32, 0.5]);
        let visible = |i: &usize| [20usize, 33, 58].contains(i);
        let alpha = (0..width * height).map(|i| if visible(&i) { 0.5 } else { 0.0 }).collect();
        let photo = Photo { alpha: Some(alpha), ..Photo::new(image.clone()) };
        let seen = photo.visible();
        for (i, pixel) in seen.iter().enumerate() {
            let apart = |to: usize| {
                let squared = |a: usize, b: usize| a.abs_diff(b).pow(2);
                squared(i % width, to % width) + squared(i / width, to / width)
            };
            let from = pixel[1] as usize * width + pixel[0] as usize;
            assert!(visible(&from));
            let least = [20, 33, 58].map(apart).into_iter().min();
            assert_eq!(Some(apart(from)), least, "pixel {i}");
        }
        for y in 0..height {
            let mut row = vec![0.0; 3 * width];
            photo.put_back_hidden(y, &mut row);
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let before = image.at(x, y);
                assert_eq!(pixel, if visible(&(y * width + x)) { [0.0; 3] } else { before });
            }
        }
    }

    #[test]
    fn opaque_and_invisible_pictures_stay_as_they_are() {
        for opacity in [0.0, 1.0] {
            let image = Image::from_fn(3, 2, |x, _| [x as f32; 3]);
            let photo = Photo { alpha: Some(vec![opacity; 6]), ..Photo::new(image) };
            assert_eq!(*photo.visible(), photo.pixels);
        }
    }
}
