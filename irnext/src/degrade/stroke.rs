//! Drawing straight strokes: a falling drop or flake, as the shutter sees it.

/// Calls `paint(pixel, distance, along)` for the pixels of a `width` x `height` grid within `reach`
/// of the segment from `from` to `to` (x, y; pixel centers at whole numbers): the pixel's index in
/// reading order, its distance from the segment, and the nearest point on it, 0 at `from` to 1 at
/// `to`.
pub(super) fn stroke(
    width: usize,
    height: usize,
    from: [f32; 2],
    to: [f32; 2],
    reach: f32,
    mut paint: impl FnMut(usize, f32, f32),
) {
    let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    let length_squared = dx * dx + dy * dy;
    for y in span(from[1].min(to[1]) - reach, from[1].max(to[1]) + reach, height) {
        // Only the part of the segment that lies within reach of this row.
        let (mut first, mut last) = (0.0f32, 1.0f32);
        if dy.abs() > 1e-3 {
            let a = (y as f32 - reach - from[1]) / dy;
            let b = (y as f32 + reach - from[1]) / dy;
            first = a.min(b).clamp(0.0, 1.0);
            last = a.max(b).clamp(0.0, 1.0);
        }
        let (a, b) = (from[0] + first * dx, from[0] + last * dx);
        for x in span(a.min(b) - reach, a.max(b) + reach, width) {
            let [px, py] = [x as f32 - from[0], y as f32 - from[1]];
            let along = match length_squared > 0.0 {
                true => ((px * dx + py * dy) / length_squared).clamp(0.0, 1.0),
                false => 0.0,
            };
            let distance = (px - along * dx).hypot(py - along * dy);
            if distance <= reach {
                paint(y * width + x, distance, along);
            }
        }
    }
}

/// The whole numbers from `first` to `last` that are below `len`.
fn span(first: f32, last: f32, len: usize) -> std::ops::Range<usize> {
    // A cast from float stops at 0 for negative numbers.
    let end = ((last + 1.0).floor() as usize).min(len);
    (first.ceil() as usize).min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Rng;

    #[test]
    fn a_stroke_touches_exactly_the_pixels_within_reach() {
        let mut rng = Rng::new(2);
        for _ in 0..200 {
            let mut place = || rng.range(-10.0..30.0) as f32;
            let (from, to) = ([place(), place()], [place(), place()]);
            let reach = rng.range(0.1..4.0) as f32;
            let mut touched = vec![false; 20 * 15];
            stroke(20, 15, from, to, reach, |pixel, distance, along| {
                assert!(!touched[pixel], "painted twice");
                assert!(distance <= reach && (0.0..=1.0).contains(&along));
                touched[pixel] = true;
            });
            for (pixel, touched) in touched.into_iter().enumerate() {
                let distance = distance([(pixel % 20) as f32, (pixel / 20) as f32], from, to);
                // Rounding decides on the border itself.
                if (distance - reach).abs() > 1e-4 {
                    assert_eq!(touched, distance < reach);
                }
            }
        }
    }

    #[test]
    fn a_point_is_a_stroke_too() {
        let mut count = 0;
        stroke(9, 9, [4.0, 4.0], [4.0, 4.0], 1.0, |_, _, _| count += 1);
        assert_eq!(count, 5);
    }

    fn distance(p: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
        let along = (0..=10_000).map(|k| k as f32 / 10_000.0);
        let distances = along.map(|t| {
            let x = from[0] + t * (to[0] - from[0]);
            let y = from[1] + t * (to[1] - from[1]);
            (p[0] - x).hypot(p[1] - y)
        });
        distances.fold(f32::INFINITY, f32::min)
    }
}
