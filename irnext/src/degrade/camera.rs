//! The traces of cameras and files in a picture: the sensor's noise and JPEG's losses.

use engine::Rng;

use crate::image::{Image, Photo};

/// How many pictures have noise, and how many have been through a JPEG file.
const NOISY: f64 = 0.35;
const COMPRESSED: f64 = 0.4;

/// `image`, with values in [0, 1], as a camera may have it: with noise, as a JPEG file of quality
/// 60 to 95, both, or as it is. Noise has a standard deviation of up to 0.02 in white, and up to
/// half of that in black: the part that comes from counting photons grows with the light.
pub(super) fn photographed(mut image: Image, rng: &mut Rng) -> Image {
    if rng.chance(NOISY) {
        let photons = rng.range(0.0..0.02).powi(2) as f32;
        let readout = rng.range(0.0..0.01).powi(2) as f32;
        for value in &mut image.data {
            let deviation = (photons * *value + readout).sqrt();
            *value = (*value + deviation * rng.normal() as f32).clamp(0.0, 1.0);
        }
    }
    if !rng.chance(COMPRESSED) {
        return image;
    }
    let photo = Photo::new(image);
    let quality = rng.int(60..96) as u8;
    photo.through_jpeg(quality).unwrap_or_else(|_| photo.pixels.into_image())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_pictures_stay_and_none_changes_much() {
        let clean = Image::from_fn(64, 48, |x, y| [x as f32 / 64.0, y as f32 / 48.0, 0.5]);
        let errors: Vec<f32> = (0..400)
            .map(|index| {
                let image = photographed(clean.clone(), &mut Rng::at(4, 0, index));
                assert!(image.data.iter().all(|v| (0.0..=1.0).contains(v)));
                let squares = image.data.iter().zip(&clean.data).map(|(a, b)| (a - b).powi(2));
                (squares.sum::<f32>() / clean.data.len() as f32).sqrt()
            })
            .collect();
        let same = errors.iter().filter(|&&error| error == 0.0).count() as f64 / 400.0;
        let expected = (1.0 - NOISY) * (1.0 - COMPRESSED);
        assert!((same - expected).abs() < 0.08, "{same}, not {expected}");
        let mut changed: Vec<f32> = errors.into_iter().filter(|&error| error > 0.0).collect();
        changed.sort_by(f32::total_cmp);
        let middle = changed[changed.len() / 2];
        assert!((0.003..0.02).contains(&middle) && changed[changed.len() - 1] < 0.06, "{middle}");
    }
}
