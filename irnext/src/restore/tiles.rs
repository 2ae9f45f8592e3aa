//! Images too large to go through a network in one piece: overlapping tiles, blended at the seams.

use crate::error::Result;
use crate::image::Image;

/// The side of a tile, in pixels.
const TILE: usize = 1024;

/// The overlap of neighboring tiles, in pixels; the seam is blended over it.
const OVERLAP: usize = 128;

/// `image`, of which `restore` restores each tile; `progress` gets the finished part.
pub(super) fn in_tiles(
    image: &Image,
    restore: impl Fn(&Image) -> Result<Image>,
    progress: &dyn Fn(f64),
) -> Result<Image> {
    let (rows, columns) = (tiles(image.height), tiles(image.width));
    let mut done = 0;
    let (mut sum, mut weights) =
        (Image::new(image.width, image.height), vec![0.0f32; image.width * image.height]);
    for &(y, height) in &rows {
        for &(x, width) in &columns {
            let tile = restore(&image.part(x, y, width, height))?;
            for (i, row) in (y..y + height).enumerate() {
                let weight_y = ramp(row, y, height, image.height);
                for (j, column) in (x..x + width).enumerate() {
                    let weight = weight_y * ramp(column, x, width, image.width);
                    let (here, there) = (row * image.width + column, i * width + j);
                    weights[here] += weight;
                    for c in 0..3 {
                        sum.data[3 * here + c] += weight * tile.data[3 * there + c];
                    }
                }
            }
            done += 1;
            progress(f64::from(done) / (rows.len() * columns.len()) as f64);
        }
    }
    sum.data
        .chunks_exact_mut(3)
        .zip(&weights)
        .for_each(|(pixel, weight)| pixel.iter_mut().for_each(|v| *v /= weight));
    Ok(sum)
}

/// Start and length of the tiles along a side: all of the same length, evenly overlapping by at
/// least [`OVERLAP`].
fn tiles(side: usize) -> Vec<(usize, usize)> {
    if side <= TILE {
        return vec![(0, side)];
    }
    let count = (side - OVERLAP).div_ceil(TILE - OVERLAP);
    (0..count).map(|i| ((side - TILE) * i / (count - 1), TILE)).collect()
}

/// A tile's weight at `at`: 1 inside, falling linearly toward its ends where another tile follows.
fn ramp(at: usize, start: usize, len: usize, side: usize) -> f32 {
    let from_start = if start == 0 { OVERLAP } else { at - start + 1 };
    let from_end = if start + len == side { OVERLAP } else { start + len - at };
    from_start.min(from_end).min(OVERLAP) as f32 / OVERLAP as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_and_overlap() {
        for side in [1, TILE, TILE + 1, 2000, 5000, 12345] {
            let tiles = tiles(side);
            assert_eq!((tiles[0].0, tiles.last().map(|(start, len)| start + len)), (0, Some(side)));
            for pair in tiles.windows(2) {
                assert!(pair[0].0 + pair[0].1 >= pair[1].0 + OVERLAP, "{side}: {pair:?}");
            }
        }
    }

    #[test]
    fn the_weights_of_tiles_never_vanish() {
        let side = 3000;
        for at in 0..side {
            let inside = |&&(start, len): &&(usize, usize)| (start..start + len).contains(&at);
            let weight: f32 = tiles(side)
                .iter()
                .filter(inside)
                .map(|&(start, len)| ramp(at, start, len, side))
                .sum();
            assert!(weight > 0.5, "{at}: {weight}");
        }
    }
}
