//! The size of pixels on paper.

/// How many pixels go to a unit of length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolution {
    /// Across.
    pub x: f64,
    /// Down.
    pub y: f64,
    /// The unit of length.
    pub unit: Unit,
}

/// A unit of length, or none: then only the ratio of the two numbers counts, that of a pixel's
/// sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Unit {
    None,
    Inch,
    Centimeter,
}

impl Resolution {
    /// From TIFF's numbers.
    pub(in crate::image) fn of_tiff(x: f64, y: f64, unit: u32) -> Option<Self> {
        let unit = match unit {
            1 => Unit::None,
            2 => Unit::Inch,
            3 => Unit::Centimeter,
            _ => return None,
        };
        // An encoder that knows none writes 1.
        (unit != Unit::None || (x, y) != (1.0, 1.0)).then_some(Self { x, y, unit })
    }

    /// Pixels per meter; `None` without a unit.
    pub fn per_meter(self) -> Option<(f64, f64)> {
        let factor = match self.unit {
            Unit::None => return None,
            Unit::Inch => 1.0 / 0.0254,
            Unit::Centimeter => 100.0,
        };
        Some((self.x * factor, self.y * factor))
    }
}
