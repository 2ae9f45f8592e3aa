//! Statistics over squares of a picture: weather is everywhere, other objects only in places.

use crate::image::Plane;
use std::ops::Range;

/// The side of a square, in pixels. The remainder at the right and at the bottom is ignored.
pub(super) const SIDE: usize = 64;

/// For each square, the mean of `f(here, there)` over its pixels, where `there` is `dx` pixels to
/// the right and `dy` below, within `plane`. With sides of at least [`SIDE`] and smaller steps, no
/// square is empty.
pub(super) fn means(plane: &Plane, [dx, dy]: [isize; 2], f: impl Fn(f32, f32) -> f32) -> Vec<f64> {
    let (across, down) = (plane.width / SIDE, plane.height / SIDE);
    let (columns, rows) = (inside(plane.width, dx), inside(plane.height, dy));
    let mut sums = vec![0.0; across * down];
    for y in rows.start..rows.end.min(down * SIDE) {
        let row = |y: usize| &plane.data[y * plane.width..][..plane.width];
        let (here, there) = (row(y), row(y.wrapping_add_signed(dy)));
        for (square, sum) in sums[y / SIDE * across..][..across].iter_mut().enumerate() {
            let (from, to) =
                (columns.start.max(square * SIDE), columns.end.min((square + 1) * SIDE));
            let pairs = here[from..to].iter().zip(&there[from.wrapping_add_signed(dx)..]);
            *sum += f64::from(pairs.map(|(&here, &there)| f(here, there)).sum::<f32>());
        }
    }
    for (square, sum) in sums.iter_mut().enumerate() {
        let (x, y) = (square % across * SIDE, square / across * SIDE);
        let count = |place: usize, inside: &Range<usize>| {
            inside.end.min(place + SIDE) - inside.start.max(place)
        };
        *sum /= (count(x, &columns) * count(y, &rows)) as f64;
    }
    sums
}

/// For each square, the mean of its pixels.
pub(super) fn mean(plane: &Plane) -> Vec<f64> {
    means(plane, [0, 0], |here, _| here)
}

/// The positions on an axis from which a step stays on it.
pub(super) fn inside(len: usize, step: isize) -> Range<usize> {
    let length = step.unsigned_abs().min(len);
    if step < 0 { length..len } else { 0..len - length }
}

/// The value below which the share `part` of `values` lies; 0 if there are none.
pub(super) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get((values.len().saturating_sub(1) as f64 * part).round() as usize)
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_each_square_and_its_neighbors() {
        // Two squares and a rest: 0, 1, 2, … from left to right.
        let mut plane = Plane::new(150, 70);
        plane.data.iter_mut().enumerate().for_each(|(i, value)| *value = (i % 150) as f32);
        assert_eq!(mean(&plane), [31.5, 95.5]);
        for step in [[3, 0], [-3, 5], [3, -40]] {
            assert_eq!(
                means(&plane, step, |here, there| there - here),
                [step[0] as f64; 2],
                "{step:?}"
            );
        }
    }

    #[test]
    fn quantiles_are_values_that_are_there() {
        let values = vec![3.0, 1.0, 2.0, 5.0, 4.0];
        assert_eq!(
            [0.0, 0.25, 0.5, 1.0].map(|part| quantile(values.clone(), part)),
            [1.0, 2.0, 3.0, 5.0]
        );
        assert_eq!(quantile(Vec::new(), 0.5), 0.0);
    }
}
