//! Haze: I = J t + A (1 - t), with the transmission t = exp(-beta d) of depth d (Koschmieder's law, applied to
//! sRGB values as the RESIDE data set does).

use engine::Rng;

use super::filter::Plane;
use crate::image::Image;

/// `clean` behind haze. RESIDE's outdoor test images keep 0.45 to 0.85 of the light of the scene, its indoor ones
/// 0.3 to 0.9; airlight is grey, 0.8 to 1.
pub(super) fn haze(clean: &Image, rng: &mut Rng) -> Image {
    let depth = depth(clean, rng);
    // Thin haze is more common than fog.
    let beta = 0.3 + 1.5 * rng.uniform().powi(2);
    let airlight = rng.range(0.7..1.0);
    // Real haze is not quite grey: bluish far off, yellowish with dust.
    let tint = if rng.chance(0.3) { rng.range(-0.03..0.03) } else { 0.0 };
    let airlight = [airlight - tint, airlight, airlight + tint].map(|a| a.clamp(0.0, 1.0) as f32);

    let mut image = clean.clone();
    for (pixel, &d) in image.data.chunks_exact_mut(3).zip(&depth.data) {
        let t = (-beta as f32 * d).exp();
        for (value, a) in pixel.iter_mut().zip(airlight) {
            *value = *value * t + a * (1.0 - t);
        }
    }
    image
}

/// A depth map that could be true: farther towards the top, uneven, and brighter things (sky) farther away.
/// Half of them break where the photograph has an edge, as the outlines of real objects do.
fn depth(clean: &Image, rng: &mut Rng) -> Plane {
    let (width, height) = (clean.width, clean.height);
    let grey = Plane::grey(clean);
    let (top, bottom) = (rng.range(0.5..1.0) as f32, rng.range(0.0..0.4) as f32);
    let uneven = rng.range(0.0..0.5) as f32;
    let cells = rng.int(2..6) as usize;
    let bright = rng.range(0.0..0.3) as f32;
    let mut depth = Plane::ramp(width, height, top, bottom)
        .zip(&Plane::noise(width, height, cells, rng), |d, n| d + uneven * n)
        .zip(&grey.box_blur(4), |d, g| d + bright * g);
    if rng.chance(0.5) {
        let steps = rng.range(2.0..5.0) as f32;
        depth = depth.map(|d| (d * steps).round() / steps);
        depth = depth.guided(&grey, width.max(height).div_ceil(16), 1e-3);
    }
    // A crop of a large photograph sees less of the depth than the whole: most maps are flatter than a full ramp.
    let (mean, contrast) = (depth.mean(), rng.range(0.2..1.0) as f32);
    depth.map(|d| (mean + contrast * (d - mean)).max(0.0))
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
