//! Images too large to go through a network in one piece: overlapping tiles, blended at the seams.

use crate::error::Result;
use crate::image::Image;

/// The least overlap of neighboring tiles, in pixels; the seam is blended over this many.
const OVERLAP: usize = 128;

/// A division of an image into overlapping tiles of one size.
#[derive(Debug, PartialEq)]
pub(super) struct Tiling {
    /// Where they begin, down the image.
    rows: Vec<usize>,
    /// Where they begin, across.
    columns: Vec<usize>,
    width: usize,
    height: usize,
}

impl Tiling {
    /// The division with the least work for a network that pads a side to `padded(side)` and sees
    /// at most `pixels` pixels at once. None if there is none, since tiles overlap by half at most.
    pub fn new(
        (width, height): (usize, usize),
        pixels: usize,
        padded: impl Fn(usize) -> usize,
    ) -> Option<Self> {
        // The side of `count` tiles, without padding inside of the image.
        let side = |whole: usize, count: usize| match count {
            1 => whole,
            _ => padded((whole + (count - 1) * OVERLAP).div_ceil(count)).min(whole),
        };
        let counts = |whole: usize| 1..=(whole.saturating_sub(OVERLAP) / OVERLAP).max(1);
        let mut best: Option<((usize, usize), Self)> = None;
        for across in counts(width) {
            let tile_width = side(width, across);
            let area = |down: usize| padded(tile_width).saturating_mul(padded(side(height, down)));
            let Some(down) = counts(height).find(|&down| area(down) <= pixels) else { continue };
            let work = (across.saturating_mul(down).saturating_mul(area(down)), across * down);
            if best.as_ref().is_none_or(|(least, _)| work < *least) {
                let tile_height = side(height, down);
                let tiles = Self {
                    rows: starts(height, tile_height, down),
                    columns: starts(width, tile_width, across),
                    width: tile_width,
                    height: tile_height,
                };
                best = Some((work, tiles));
            }
        }
        best.map(|(_, tiles)| tiles)
    }

    /// Pixels enough for the smallest tiles that an image of this size can be divided into.
    pub fn least_area((width, height): (usize, usize), padded: impl Fn(usize) -> usize) -> usize {
        let side = |whole: usize| padded(whole.min(3 * OVERLAP));
        side(width).saturating_mul(side(height))
    }

    /// `image`, of which `restore` restores each tile; `progress` gets the finished part.
    pub fn restore(
        &self,
        image: &Image,
        restore: impl Fn(&Image) -> Result<Image>,
        progress: &dyn Fn(f64),
    ) -> Result<Image> {
        let across = weights(&self.columns, self.width, image.width);
        let down = weights(&self.rows, self.height, image.height);
        let mut result = Image::new(image.width, image.height);
        let mut done = 0;
        for (&y, down) in self.rows.iter().zip(&down) {
            for (&x, across) in self.columns.iter().zip(&across) {
                let tile = restore(&image.part(x, y, self.width, self.height))?;
                for (i, weight_y) in down.iter().enumerate() {
                    let row = &mut result.data[3 * ((y + i) * image.width + x)..];
                    let tile = &tile.data[3 * i * self.width..][..3 * self.width];
                    let pixels = row.chunks_exact_mut(3).zip(tile.chunks_exact(3));
                    for ((sum, pixel), weight_x) in pixels.zip(across) {
                        let weight = weight_x * weight_y;
                        (0..3).for_each(|c| sum[c] += weight * pixel[c]);
                    }
                }
                done += 1;
                progress(f64::from(done) / (self.rows.len() * self.columns.len()) as f64);
            }
        }
        // The weights of a pixel add to 1 but for rounding.
        Ok(result.clamp())
    }
}

/// Where `count` tiles of this side begin, spread evenly over the whole.
fn starts(whole: usize, side: usize, count: usize) -> Vec<usize> {
    (0..count).map(|i| (whole - side) * i / (count - 1).max(1)).collect()
}

/// The weights of each tile at each of its pixels along a side. Those of the tiles at a pixel add
/// to 1, as do their products with those of the other side.
fn weights(starts: &[usize], side: usize, whole: usize) -> Vec<Vec<f32>> {
    let ramps = |start: usize| (start..start + side).map(move |at| ramp(at, start, side, whole));
    let mut sums = vec![0.0; whole];
    for &start in starts {
        sums[start..].iter_mut().zip(ramps(start)).for_each(|(sum, weight)| *sum += weight);
    }
    let part = |start: usize| ramps(start).zip(&sums[start..]).map(|(weight, sum)| weight / sum);
    starts.iter().map(|&start| part(start).collect()).collect()
}

/// A tile's weight at `at`: 1 inside, falling linearly toward its ends where another tile follows.
fn ramp(at: usize, start: usize, side: usize, whole: usize) -> f32 {
    let from_start = if start == 0 { OVERLAP } else { at - start + 1 };
    let from_end = if start + side == whole { OVERLAP } else { start + side - at };
    from_start.min(from_end).min(OVERLAP) as f32 / OVERLAP as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a network of five scales pads.
    fn padded(side: usize) -> usize {
        side.next_multiple_of(32).max(64)
    }

    fn tiles(width: usize, height: usize, pixels: usize) -> Tiling {
        Tiling::new((width, height), pixels, padded).unwrap()
    }

    fn is_one(tiles: &Tiling) -> bool {
        tiles.rows.len() * tiles.columns.len() == 1
    }

    #[test]
    fn they_cover_the_image_and_overlap() {
        for (width, height) in [(1, 1), (2000, 1100), (6000, 4000), (12_345, 700), (3, 90_000)] {
            let tiles = tiles(width, height, 1 << 20);
            for (starts, side, whole) in
                [(&tiles.columns, tiles.width, width), (&tiles.rows, tiles.height, height)]
            {
                assert_eq!((starts[0], starts[starts.len() - 1] + side), (0, whole));
                for pair in starts.windows(2) {
                    assert!(pair[0] + side >= pair[1] + OVERLAP, "{width}×{height}: {pair:?}");
                    assert!(pair[1] > pair[0]);
                }
            }
            assert!(padded(tiles.width) * padded(tiles.height) <= 1 << 20);
        }
    }

    #[test]
    fn a_photograph_takes_little_more_than_its_own_area() {
        for (width, height, most) in [
            (2048, 1152, 1.0),
            (4000, 3000, 1.15),
            (6000, 4000, 1.15),
            (8000, 6000, 1.15),
            (12_000, 8400, 1.15),
        ] {
            let tiles = tiles(width, height, 4 << 20);
            let count = (tiles.rows.len() * tiles.columns.len()) as f64;
            let area = count * (padded(tiles.width) * padded(tiles.height)) as f64;
            let part = area / (width * height) as f64;
            assert!(part <= most, "{width}×{height}: {part}");
        }
        assert!(is_one(&tiles(2048, 1152, 4 << 20)));
    }

    #[test]
    fn there_are_none_if_not_even_the_smallest_tile_fits() {
        assert_eq!(Tiling::new((1000, 1000), 200 * 200, padded), None);
        assert_eq!(Tiling::new((1, 1), 64 * 64 - 1, padded), None);
        assert!(Tiling::new((1000, 1000), 288 * 288, padded).is_some());
    }

    #[test]
    fn tiles_that_are_left_alone_give_the_image_back() {
        let image = Image::from_fn(700, 500, |x, y| [x as f32 / 700.0, y as f32 / 500.0, 0.5]);
        let tiles = tiles(700, 500, 400 * 400);
        assert!(!is_one(&tiles));
        let parts = std::cell::RefCell::new(Vec::new());
        let progress = |part| parts.borrow_mut().push(part);
        let result = tiles.restore(&image, |tile| Ok(tile.clone()), &progress).unwrap();
        for (a, b) in result.data.iter().zip(&image.data) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        let count = tiles.rows.len() * tiles.columns.len();
        let expected: Vec<f64> = (1..=count).map(|done| done as f64 / count as f64).collect();
        assert_eq!(*parts.borrow(), expected);
    }

    #[test]
    fn a_seam_fades_from_tile_to_tile() {
        // Two tiles of 500 that share 200 pixels, of which either fades over its last 128.
        let across = Tiling { rows: vec![0], columns: vec![0, 300], width: 500, height: 3 };
        let down = Tiling { rows: vec![0, 300], columns: vec![0], width: 3, height: 500 };
        for (tiles, width, height) in [(across, 800, 3), (down, 3, 800)] {
            let count = std::cell::Cell::new(0u8);
            // The first tile becomes black and the second one white.
            let restore = |tile: &Image| {
                let white = f32::from(count.replace(count.get() + 1));
                Ok(Image::from_fn(tile.width, tile.height, |_, _| [white; 3]))
            };
            let result = tiles.restore(&Image::new(width, height), restore, &|_| ()).unwrap();
            let at = |place: usize| match width {
                800 => result.at(place, 1)[0],
                _ => result.at(1, place)[0],
            };
            for (place, expected) in [
                (0, 0.0),
                (299, 0.0),
                (300, 1.0 / 129.0),
                (371, 72.0 / 200.0),
                (372, 73.0 / 201.0),
                (399, 100.0 / 201.0),
                (400, 101.0 / 201.0),
                (427, 128.0 / 201.0),
                (428, 128.0 / 200.0),
                (499, 128.0 / 129.0),
                (500, 1.0),
                (799, 1.0),
            ] {
                assert!((at(place) - expected).abs() < 1e-6, "{place}: {}", at(place));
            }
            assert!((1..800).all(|place| at(place) >= at(place - 1)));
        }
    }
}
