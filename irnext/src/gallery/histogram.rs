//! Histograms of brightness, as a drawing.

use crate::image::Pixels;

/// The number of bars.
const BINS: usize = 64;

/// The width and height of the curves, and the height of the line with their names below.
const SIZE: (f64, f64) = (256.0, 100.0);
const NAMES: f64 = 16.0;

/// An SVG drawing with a curve for each picture, whose class is its name.
pub(super) fn svg(pictures: &[(&str, &Pixels)]) -> String {
    let histograms: Vec<(&str, [f64; BINS])> =
        pictures.iter().map(|(name, image)| (*name, histogram(image))).collect();
    let highest = histograms.iter().flat_map(|(_, bins)| bins).copied().fold(1e-9, f64::max);
    let curves = histograms.iter().map(|(name, bins)| {
        let point = |(i, share): (usize, &f64)| {
            let x = i as f64 * SIZE.0 / (BINS - 1) as f64;
            // The root, so that the rare ones are seen, too.
            let y = SIZE.1 * (1.0 - (share / highest).sqrt());
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = bins.iter().enumerate().map(point).collect();
        format!("<polyline class=\"{name}\" points=\"{}\"/>", points.join(" "))
    });
    let names = histograms.iter().enumerate().map(|(i, (name, _))| {
        let (x, y) = (4 + 64 * i, SIZE.1 + NAMES - 3.0);
        format!("<text class=\"{name}\" x=\"{x}\" y=\"{y}\">{name}</text>")
    });
    let (width, height) = (SIZE.0, SIZE.1 + NAMES);
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"histogram of brightness\">\
         {}{}</svg>",
        curves.collect::<String>(),
        names.collect::<String>()
    )
}

/// The share of the pixels in each of [`BINS`] steps of brightness.
fn histogram(pixels: &Pixels) -> [f64; BINS] {
    let mut bins = [0.0; BINS];
    for [r, g, b] in pixels.iter() {
        let brightness = 0.299 * r + 0.587 * g + 0.114 * b;
        bins[((brightness * BINS as f32) as usize).min(BINS - 1)] += 1.0;
    }
    let count = (pixels.width * pixels.height).max(1) as f64;
    bins.map(|pixels| pixels / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    #[test]
    fn every_pixel_is_in_one_bin() {
        let image = Image::from_fn(4, 1, |x, _| [[0.0, 0.5, 1.0, f32::NAN][x]; 3]).into();
        let bins = histogram(&image);
        // NaN counts as black.
        assert_eq!((bins[0], bins[32], bins[63]), (0.5, 0.25, 0.25));
        assert_eq!(bins.iter().sum::<f64>(), 1.0);
        assert_eq!(svg(&[("before", &image), ("after", &image)]).matches("<polyline").count(), 2);
    }
}
