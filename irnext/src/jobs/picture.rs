//! The pictures made of a photograph and its restored version: a mixture of both, and a picture
//! that shows them side by side.

use crate::image::{Photo, Pixels, Rows};
use crate::restore;

/// [Mixes](restore::mix) `after` with the picture `before` it.
pub(super) fn mix(before: &Pixels, after: &mut Pixels, strength: f32) {
    // To the bit, whatever the precision of the pixels.
    if strength != 1.0 {
        after.change(|y, row| restore::mix(before, y, row, strength));
    }
}

/// `before` on the left, `after` on the right, and a thin white line between them.
pub(super) fn side_by_side(before: &Photo, after: &Photo) -> Photo {
    let (width, height) = after.sides();
    let line = (width / 200).max(1);
    // A row of samples, of one channel or three.
    let join = |before: &[f32], after: &[f32], joined: &mut [f32]| {
        joined.fill(1.0);
        joined[..before.len()].copy_from_slice(before);
        let start = joined.len() - after.len();
        joined[start..].copy_from_slice(after);
    };
    let pixels = Pixels::build((2 * width + line, height), &after.pixels, |y, joined| {
        join(&before.pixels.row(y), &after.pixels.row(y), joined);
    });
    let alpha = before.alpha.as_ref().zip(after.alpha.as_ref()).map(|(before, after)| {
        let mut joined = vec![0.0; (2 * width + line) * height];
        let rows = before.chunks_exact(width).zip(after.chunks_exact(width));
        for (joined, (before, after)) in joined.chunks_exact_mut(2 * width + line).zip(rows) {
            join(before, after, joined);
        }
        joined
    });
    Photo { alpha, depth: after.depth, gray: after.gray, ..Photo::of(pixels) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    #[test]
    fn strength_goes_from_the_photograph_to_its_restored_version_and_beyond() {
        let (before, after) = (Image { width: 1, height: 1, data: vec![0.1, 0.7, 0.9] }, 0.5);
        let mixed = |strength| {
            let mut pixels = Image { data: vec![after; 3], ..before.clone() }.into();
            mix(&before.clone().into(), &mut pixels, strength);
            pixels.into_image().data
        };
        assert_eq!(mixed(0.0), before.data);
        assert_eq!(mixed(1.0), [after; 3]);
        let near = |a: &[f32], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&mixed(0.5), [0.3, 0.6, 0.7]));
        assert!(near(&mixed(1.5), [0.7, 0.4, 0.3]));
    }

    #[test]
    fn two_photographs_lie_side_by_side() {
        let photo = |value: f32| Photo {
            alpha: Some(vec![value; 6]),
            ..Photo::new(Image { width: 3, height: 2, data: vec![value; 18] })
        };
        let both = side_by_side(&photo(0.25), &photo(0.5));
        assert_eq!(both.sides(), (7, 2));
        let row: Vec<f32> = both.pixels.row(1).chunks(3).map(|pixel| pixel[2]).collect();
        assert_eq!(row, [0.25, 0.25, 0.25, 1.0, 0.5, 0.5, 0.5]);
        assert_eq!(both.alpha.as_deref(), Some(&[&row[..], &row].concat()[..]));
    }
}
