//! Haze: I = J t + A (1 - t), with the transmission t = exp(-beta d) of depth d (Koschmieder's law, applied to
//! sRGB values as the RESIDE data set does).

use engine::Rng;

use super::filter::Plane;
use crate::image::Image;

/// `clean` behind haze.
pub(super) fn haze(clean: &Image, rng: &mut Rng) -> Image {
    Haze::draw(clean, rng).over(clean)
}

/// What is between the camera and the scene.
struct Haze {
    airlight: [f32; 3],
    transmission: Plane,
}

impl Haze {
    /// Fitted to the outdoor test set of RESIDE, where the mean optical depth of a picture, -ln t, is 0.2 to 0.7, its
    /// spread inside a picture a fifth of that, and airlight grey and 0.8 to 1. One in eight is fog, as in Dense-Haze: some of
    /// it lets through a tenth of the light, unevenly.
    fn draw(clean: &Image, rng: &mut Rng) -> Self {
        let (thickness, spread) = match rng.chance(0.125) {
            true => (rng.range(0.7..2.4), rng.range(0.1..0.5)),
            false => (rng.range(0.12..0.72), rng.range(0.05..0.35)),
        };
        // At dusk and under clouds the air is darker than in any of the data sets.
        let grey = if rng.chance(0.8) { rng.range(0.8..1.0) } else { rng.range(0.5..0.8) };
        // Real haze is not quite grey: bluish far off, yellowish with dust.
        let tint = if rng.chance(0.3) { rng.range(-0.04..0.04) } else { 0.0 };
        let airlight = [grey - tint, grey, grey + tint].map(|a| a.clamp(0.0, 1.0) as f32);
        let depth = depth(clean, spread as f32, rng);
        Self { airlight, transmission: depth.map(|d| (-thickness as f32 * d).exp()) }
    }

    /// I = J t + A (1 - t).
    fn over(&self, clean: &Image) -> Image {
        let mut image = clean.clone();
        for (pixel, &t) in image.data.chunks_exact_mut(3).zip(&self.transmission.data) {
            for (value, a) in pixel.iter_mut().zip(self.airlight) {
                *value = *value * t + a * (1.0 - t);
            }
        }
        image
    }
}

/// A depth map that could be true, of mean 1 and with the standard deviation `spread`: uneven, more often than not farther
/// towards the top, and brighter things farther or nearer. In RESIDE the ramp and the brightness explain a third of the
/// variance: a network that was taught that what is bright is far darkens every sky.
/// Half of the maps break where the photograph has an edge, as the outlines of real objects do.
fn depth(clean: &Image, spread: f32, rng: &mut Rng) -> Plane {
    let (width, height) = (clean.width, clean.height);
    let grey = Plane::grey(clean);
    let slope = (0.4 + 0.6 * rng.normal()) as f32;
    let bright = (0.1 + 0.4 * rng.normal()) as f32;
    let cells = rng.int(2..7) as usize;
    let mut depth = Plane::ramp(width, height, slope, 0.0)
        .zip(&Plane::noise(width, height, cells, rng), |d, n| d + n)
        .zip(&grey.box_blur(4), |d, g| d + bright * g);
    if rng.chance(0.5) {
        let steps = rng.range(3.0..8.0) as f32;
        depth = depth.map(|d| (d * steps).round() / steps);
        depth = depth.guided(&grey, width.max(height).div_ceil(16), 1e-3);
    }
    let (mean, deviation) = (depth.mean(), depth.deviation());
    depth.map(|d| (1.0 + spread * (d - mean) / deviation.max(1e-3)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haze_lifts_the_dark_and_flattens_contrast() {
        let clean = Image::from_fn(64, 64, |x, y| [if (x / 2 + y / 2) % 2 == 0 { 0.1 } else { 0.5 }; 3]);
        let mut kept = 0.0;
        for index in 0..100 {
            let image = haze(&clean, &mut Rng::at(3, 0, index));
            let [dark, light] = [image.pixel(32, 32)[1], image.pixel(34, 32)[1]];
            assert!(dark >= 0.1 && light >= 0.5 && light - dark <= 0.4 + 1e-3);
            kept += f64::from(light - dark) / 0.4 / 100.0;
        }
        // The mean transmission; RESIDE's test images have about 0.55 indoors and 0.68 outdoors.
        assert!((0.5..0.75).contains(&kept), "{kept}");
    }
}
