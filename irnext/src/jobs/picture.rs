//! The pictures made of a photograph and its restored version: a mixture of both, and a picture
//! that shows them side by side.

use crate::image::{Image, Photo};

/// Mixes `after` with the picture `before` it: 0 gives that picture, 1 leaves `after` as it is, and
/// more than 1 goes further in the same direction.
///
/// sRGB values are mixed, not light. The network's last step adds a correction to the sRGB values
/// of its input, so this scales the correction. Mixed as light, haze at one half looks nearer to
/// the photograph, and at 1.5 dark parts end at black: in the sample of the Colosseum a third of
/// the values, against a twenty-fifth so, and where rain was removed there are black streaks.
pub(super) fn mix(before: &Image, after: &mut Image, strength: f32) {
    for (after, before) in after.data.iter_mut().zip(&before.data) {
        *after = match strength {
            // To the bit.
            1.0 => *after,
            _ => (before + strength * (*after - before)).clamp(0.0, 1.0),
        };
    }
}

/// `before` on the left, `after` on the right, and a thin white line between them.
pub(super) fn side_by_side(before: &Photo, after: &Photo) -> Photo {
    let (width, height) = (after.rgb.width, after.rgb.height);
    let line = (width / 200).max(1);
    // As many samples of a line, of one channel or three.
    let join = |before: &[f32], after: &[f32], channels: usize| {
        let row = width * channels;
        let mut joined = Vec::with_capacity((2 * width + line) * height * channels);
        for (before, after) in before.chunks_exact(row).zip(after.chunks_exact(row)) {
            joined.extend_from_slice(before);
            joined.resize(joined.len() + line * channels, 1.0);
            joined.extend_from_slice(after);
        }
        joined
    };
    let rgb =
        Image { width: 2 * width + line, height, data: join(&before.rgb.data, &after.rgb.data, 3) };
    let alpha = before.alpha.as_ref().zip(after.alpha.as_ref());
    Photo {
        alpha: alpha.map(|(before, after)| join(before, after, 1)),
        depth: after.depth,
        gray: after.gray,
        ..Photo::new(rgb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_goes_from_the_photograph_to_its_restored_version_and_beyond() {
        let (before, after) = (Image { width: 1, height: 1, data: vec![0.1, 0.7, 0.9] }, 0.5);
        let mixed = |strength| {
            let mut image = Image { data: vec![after; 3], ..before.clone() };
            mix(&before, &mut image, strength);
            image.data
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
        assert_eq!((both.rgb.width, both.rgb.height, both.rgb.data.len()), (7, 2, 42));
        let row: Vec<f32> = both.rgb.row(1).chunks(3).map(|pixel| pixel[2]).collect();
        assert_eq!(row, [0.25, 0.25, 0.25, 1.0, 0.5, 0.5, 0.5]);
        assert_eq!(both.alpha.as_deref(), Some(&[&row[..], &row].concat()[..]));
    }
}
