//! Axes: their range, and the places of their ticks.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisScale {
    /// Evenly.
    Linear,
    /// By their logarithms; values that are not positive have no place.
    Log,
}

/// An axis, as [`plotters`] takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    scale: AxisScale,
    /// Its ends: values, or their decimal logarithms.
    places: Range<f64>,
    /// The values at which ticks stand.
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis that shows all of `values` that have a place on it, with a margin and about `count`
    /// ticks.
    pub fn around(
        values: impl IntoIterator<Item = f64>,
        scale: AxisScale,
        margin: f64,
        count: usize,
    ) -> Self {
        let places = values.into_iter().filter_map(|value| scale.place(value));
        let (low, high) = places
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = match high - low {
            // Nothing to show.
            span if span.is_nan() || span < 0.0 => (0.0, 1.0),
            // A level line stands in the middle.
            span if span <= 1e-9 * high.abs() => {
                let around =
                    if scale == AxisScale::Log { 0.3 } else { (0.1 * high.abs()).max(1e-9) };
                (low - around, high + around)
            }
            span => (low - margin * span, high + margin * span),
        };
        let ticks =
            ticks(scale, low, high, count).into_iter().map(|place| scale.value(place)).collect();
        Self { scale, places: low..high, ticks }
    }

    /// Whether `value` has a place on it.
    pub fn has(&self, value: f64) -> bool {
        self.scale.place(value).is_some_and(|place| self.places.contains(&place))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// The pixel of a value between the first and the last pixel of the axis. A value without a
    /// place is at its beginning.
    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let Range { start, end } = self.places;
        let part = self.scale.place(*value).map_or(0.0, |place| (place - start) / (end - start));
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The minor lines between ticks are requested, too; there are none.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.scale.value(self.places.start)..self.scale.value(self.places.end)
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        label(*value)
    }
}

impl AxisScale {
    fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Log => 10f64.powf(place),
        }
    }
}

/// The places of round numbers from `low` to `high`: about `count`, evenly spaced; or powers of
/// ten, and halves and fifths of them where those are few.
fn ticks(scale: AxisScale, low: f64, high: f64, count: usize) -> Vec<f64> {
    if scale == AxisScale::Log {
        for factors in [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]] {
            let powers = low.floor() as i32..=high.ceil() as i32;
            let all = powers.flat_map(|power| {
                factors.iter().map(move |factor: &f64| f64::from(power) + factor.log10())
            });
            let ticks: Vec<f64> = all.filter(|tick| (low..=high).contains(tick)).collect();
            if ticks.len() > count {
                let every = ticks.len().div_ceil(count);
                return ticks.into_iter().step_by(every).collect();
            }
            if ticks.len() >= count.min(3) {
                return ticks;
            }
        }
        // Less than a decade: as on an even axis.
        let even = ticks(AxisScale::Linear, scale.value(low), scale.value(high), count);
        return even.into_iter().filter_map(|value| scale.place(value)).collect();
    }
    let rough = (high - low) / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= 0.75 * rough)
        .unwrap_or(rough);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A number with no more digits than it needs: 0, 0.15, 24.5, 12k, 1.5M, 2e-4.
fn label(value: f64) -> String {
    let short = |value: f64| {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    match value.abs() {
        size if size < 1e-12 => "0".into(),
        size if size < 1e-3 => {
            let text = format!("{value:.1e}");
            text.replace(".0e", "e")
        }
        size if size < 1e4 => short(value),
        size if size < 1e6 => short(value / 1e3) + "k",
        size if size < 1e9 => short(value / 1e6) + "M",
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| axis.format_ext(tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::around([0.0, 1000.0], AxisScale::Linear, 0.0, 5);
        assert_eq!(labels(&axis), ["0", "200", "400", "600", "800", "1000"]);
        let axis = Axis::around([0.0, 40_000.0], AxisScale::Linear, 0.0, 4);
        assert_eq!(labels(&axis), ["0", "10k", "20k", "30k", "40k"]);
        let axis = Axis::around([1e-6, 2e-4], AxisScale::Linear, 0.0, 4);
        assert_eq!(labels(&axis), ["5e-5", "1e-4", "1.5e-4", "2e-4"]);
        let axis = Axis::around([24.1, 31.9], AxisScale::Linear, 0.05, 4);
        assert_eq!(labels(&axis), ["24", "26", "28", "30", "32"]);
    }

    #[test]
    fn logarithmic_ticks_suit_wide_and_narrow_ranges() {
        let labels =
            |low: f64, high: f64| labels(&Axis::around([low, high], AxisScale::Log, 0.0, 5));
        assert_eq!(labels(1e-3, 10.0), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(0.04, 4.0), ["0.1", "0.3", "1", "3"]);
        assert_eq!(labels(0.11, 1.1), ["0.2", "0.5", "1"]);
        assert_eq!(labels(0.21, 0.29), ["0.22", "0.24", "0.26", "0.28"]);
        assert_eq!(labels(1e-9, 1.0), ["1e-9", "1e-7", "1e-5", "0.001", "0.1"]);
    }

    #[test]
    fn any_values_get_an_axis_that_holds_them() {
        for scale in [AxisScale::Linear, AxisScale::Log] {
            for values in
                [&[][..], &[0.0], &[-3.0, 0.0], &[1e-300, 1e300], &[f64::NAN, 1.0], &[5.0, 5.0]]
            {
                let axis = Axis::around(values.iter().copied(), scale, 0.05, 5);
                assert!(
                    axis.places.end > axis.places.start && axis.ticks.len() < 12,
                    "{values:?} {axis:?}"
                );
                for value in values.iter().filter(|value| scale.place(**value).is_some()) {
                    assert!(
                        axis.has(*value) && (0..=700).contains(&axis.map(value, (0, 700))),
                        "{value} {axis:?}"
                    );
                }
            }
        }
    }
}
