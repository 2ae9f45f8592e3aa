//! Openings and closings along lines. They remove objects that are thinner across the line than the
//! line is long.

use super::tiles::inside;
use crate::image::Plane;

/// The least value on the line through each pixel, `half` steps to either side, within the picture.
pub(super) fn darkest(plane: &Plane, step: [isize; 2], half: usize) -> Plane {
    along(plane, step, half, f32::min)
}

/// The picture minus its opening: the objects that are brighter than their surroundings along the
/// line and shorter than `2 * half + 1` steps.
pub(super) fn bright(plane: &Plane, step: [isize; 2], half: usize) -> Plane {
    let opened = along(&along(plane, step, half, f32::min), step, half, f32::max);
    plane.clone().zip(&opened, |v, opened| v - opened)
}

fn along(plane: &Plane, [dx, dy]: [isize; 2], half: usize, pick: fn(f32, f32) -> f32) -> Plane {
    let mut out = plane.clone();
    let half = half as isize;
    for k in (-half..=half).filter(|k| *k != 0) {
        let (columns, rows) = (inside(plane.width, k * dx), inside(plane.height, k * dy));
        if columns.is_empty() {
            continue;
        }
        for y in rows {
            let here = &mut out.data[y * plane.width..][columns.clone()];
            let there = &plane.data[y.wrapping_add_signed(k * dy) * plane.width..][..plane.width];
            let there = &there[columns.start.wrapping_add_signed(k * dx)..];
            here.iter_mut().zip(there).for_each(|(here, &there)| *here = pick(*here, there));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strokes_thinner_than_the_line_are_found_only_across_it() {
        // A bright stroke, two pixels wide and down the picture, and a bright half.
        let mut plane = Plane::new(40, 30);
        plane.data.iter_mut().enumerate().for_each(|(i, value)| {
            let x = i % 40;
            *value = if (8..10).contains(&x) || x >= 20 { 1.0 } else { 0.2 };
        });
        let found = |step| {
            let thin = bright(&plane, step, 4);
            (0..40).filter(|&x| thin.data[15 * 40 + x] > 0.5).collect::<Vec<_>>()
        };
        assert_eq!(found([1, 0]), [8, 9]);
        assert_eq!(found([1, 1]), [8, 9]);
        assert_eq!(found([0, 1]), [0; 0]);
    }
}
