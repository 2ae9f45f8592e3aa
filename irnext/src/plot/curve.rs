//! Curves: smoothing, and thinning to the resolution of the picture.

/// A step and a value.
pub type Point = (f64, f64);

/// The exponential moving average of the values over about the last `span` of them. It begins with
/// the first value, not with 0.
pub fn smoothed(points: &[Point], span: usize) -> Vec<Point> {
    let weight = 1.0 / span.max(1) as f64;
    let (mut sum, mut total) = (0.0, 0.0);
    let smooth = |&(step, value): &Point| {
        sum += weight * (value - sum);
        total += weight * (1.0 - total);
        (step, sum / total)
    };
    points.iter().map(smooth).collect()
}

/// At most about 2·`columns` of the points: the lowest and the highest of each column, so that no
/// peak is lost.
pub fn thinned(points: &[Point], columns: usize) -> Vec<Point> {
    let length = points.len().div_ceil(columns.max(1));
    if length <= 2 {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(2 * columns);
    for column in points.chunks(length) {
        let by_value = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        let (low, high) = (column.iter().min_by(by_value), column.iter().max_by(by_value));
        let mut ends: Vec<Point> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        kept.extend(ends);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_level_and_dampens_the_rest() {
        let level: Vec<Point> = (1..50).map(|step| (step as f64, 3.0)).collect();
        for (a, b) in smoothed(&level, 10).iter().zip(&level) {
            assert!((a.1 - b.1).abs() < 1e-12 && a.0 == b.0);
        }
        let jumping: Vec<Point> = (0..400).map(|step| (step as f64, f64::from(step % 2))).collect();
        let last = smoothed(&jumping, 20)[399].1;
        assert!((last - 0.5).abs() < 0.03, "{last}");
        assert_eq!(smoothed(&jumping, 1), jumping);
    }

    #[test]
    fn thinning_keeps_peaks_and_order() {
        let mut points: Vec<Point> =
            (0..10_000).map(|step| (step as f64, (step as f64 / 100.0).sin())).collect();
        points[5_432].1 = 9.0;
        points[7_777].1 = -9.0;
        let thin = thinned(&points, 100);
        assert!(
            thin.len() <= 200 && thin.contains(&(5_432.0, 9.0)) && thin.contains(&(7_777.0, -9.0))
        );
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(thinned(&points[..150], 100), points[..150]);
        assert!(thinned(&[], 100).is_empty());
    }
}
