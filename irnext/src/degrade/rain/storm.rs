//! Rain as people photograph it, light or heavy: dense streaks of several directions, fine rain
//! behind which distances fade, streaks in the light of lamps, drops near the lens.

use engine::Rng;

use super::{Streaks, light};
use crate::degrade::haze;
use crate::degrade::stroke::stroke;
use crate::image::{Image, Plane};

/// How many pictures have light rain, bright dense streaks, and streaks in uneven light; the others
/// are downpours behind which distances fade.
const LIGHT: f64 = 0.4;
const HEAVY: f64 = 0.25;
const LIT: f64 = 0.1;
/// How many pictures have drops near the lens.
const DROPS: f64 = 0.15;

/// (rainy, clean). The clean picture is the photograph, but for the sky of some downpours, which
/// has the air's color, as in haze with depth, and for nights, which are darker.
pub(in super::super) fn pair(photograph: &Image, rng: &mut Rng) -> (Image, Image) {
    let place = rng.uniform();
    let (mut rainy, clean) = if place < LIGHT {
        (light::rain(photograph, rng), photograph.clone())
    } else if place < LIGHT + HEAVY {
        (heavy(photograph, rng), photograph.clone())
    } else if place < LIGHT + HEAVY + LIT {
        let clean = at_night(photograph, rng);
        (lit(&clean, rng), clean)
    } else {
        let (veiled, clean) = haze::pair(photograph, rng);
        (downpour(veiled, rng), clean)
    };
    if rng.chance(DROPS) {
        drops(&mut rainy, rng);
    }
    (rainy, clean)
}

/// Bright wide streaks, of one wind or of several directions, over most of the picture: as in
/// Rain100H.
fn heavy(clean: &Image, rng: &mut Rng) -> Image {
    let mut added = Plane::new(clean.width, clean.height);
    let wind = rng.range(-35.0..35.0);
    let apart = if rng.chance(0.6) { 35.0 } else { 5.0 };
    for _ in 0..rng.int(1..5) {
        let angle: f64 = wind + rng.range(-apart..apart);
        let streaks = Streaks {
            angle: angle.to_radians(),
            length: rng.range(25.0..110.0),
            sigma: rng.range(0.5..1.5),
            brightness: rng.range(0.1..0.45),
            cover: rng.range(0.2..1.0),
        };
        streaks.draw(&mut added, rng);
    }
    let mut rainy = clean.clone();
    for (pixel, &s) in rainy.data.chunks_exact_mut(3).zip(&added.data) {
        pixel.iter_mut().for_each(|value| *value = (*value + s).min(1.0));
    }
    rainy
}

/// The photograph, in half of the cases darker, as at dusk or at night.
fn at_night(photograph: &Image, rng: &mut Rng) -> Image {
    let gamma = if rng.chance(0.5) { rng.range(1.2..2.5) as f32 } else { 1.0 };
    let mut image = photograph.clone();
    image.data.iter_mut().for_each(|value| *value = value.powf(gamma));
    image
}

/// Streaks that are bright where the light around them is: under lamps, before windows.
fn lit(clean: &Image, rng: &mut Rng) -> Image {
    let mut added = Plane::new(clean.width, clean.height);
    let angle: f64 = 10.0 * rng.normal();
    for _ in 0..rng.int(1..4) {
        let streaks = Streaks {
            angle: (angle + rng.range(-5.0..5.0)).to_radians(),
            length: rng.range(12.0..80.0),
            sigma: rng.range(0.5..1.0),
            brightness: rng.range(0.15..0.5),
            cover: rng.range(0.1..0.5),
        };
        streaks.draw(&mut added, rng);
    }
    let reach = (clean.width.max(clean.height) / 8).max(1);
    let lamps = Plane::gray(clean).map(|v| v * v).box_blur(reach);
    let least = rng.range(0.1..0.5) as f32;
    let mut rainy = clean.clone();
    let pixels = rainy.data.chunks_exact_mut(3);
    for (pixel, (&s, &lamp)) in pixels.zip(added.data.iter().zip(&lamps.data)) {
        let s = s * (least + (1.0 - least) * lamp);
        pixel.iter_mut().for_each(|value| *value = (*value + s).min(1.0));
    }
    rainy
}

/// `veiled` behind fine dense streaks in the color of the air.
fn downpour(mut veiled: Image, rng: &mut Rng) -> Image {
    let mut cover = Plane::new(veiled.width, veiled.height);
    let angle = 12.0 * rng.normal();
    let fine = rng.range(0.5..1.0);
    for _ in 0..rng.int(1..4) {
        let streaks = Streaks {
            angle: (angle + rng.range(-4.0..4.0)).to_radians(),
            length: rng.range(6.0..45.0),
            sigma: 0.4 + 0.5 * fine * rng.uniform(),
            brightness: rng.range(0.05..0.25),
            cover: rng.range(0.1..0.9),
        };
        streaks.draw(&mut cover, rng);
    }
    let air = rng.range(0.65..1.0) as f32;
    for (pixel, &cover) in veiled.data.chunks_exact_mut(3).zip(&cover.data) {
        let through = (-cover).exp();
        pixel.iter_mut().for_each(|value| *value = *value * through + air * (1.0 - through));
    }
    veiled
}

/// Drops and short wide streaks out of focus, near the lens: pale and translucent.
fn drops(rainy: &mut Image, rng: &mut Rng) {
    let (width, height) = (rainy.width, rainy.height);
    let mut through = Plane::new(width, height).map(|_| 1.0);
    let count = ((width * height) as f64 / 4000.0 * rng.range(0.1..1.0)).ceil() as usize;
    let angle: f64 = rng.range(-20.0f64..20.0).to_radians();
    for _ in 0..count {
        let radius = rng.range(1.5..7.0);
        let half = radius * rng.range(0.0..5.0);
        let [dx, dy] = [half * angle.sin(), half * angle.cos()];
        let [x, y] = [rng.range(0.0..width as f64), rng.range(0.0..height as f64)];
        let opacity = rng.range(0.05..0.3) as f32;
        let (radius, fade) = (radius as f32, rng.range(1.0..3.0) as f32);
        let from = [(x - dx) as f32, (y - dy) as f32];
        let to = [(x + dx) as f32, (y + dy) as f32];
        stroke(width, height, from, to, radius + fade, |pixel, distance, _| {
            let inside = ((radius - distance) / fade + 0.5).clamp(0.0, 1.0);
            through.data[pixel] *= 1.0 - opacity * inside;
        });
    }
    let air = rng.range(0.6..1.0) as f32;
    for (pixel, &through) in rainy.data.chunks_exact_mut(3).zip(&through.data) {
        pixel.iter_mut().for_each(|value| *value = *value * through + air * (1.0 - through));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::degrade::statistics::photographs;
    use crate::metrics::{View, psnr};

    #[test]
    fn heavy_rain_harms_about_as_much_as_rain100h() {
        let photographs = photographs();
        let score = |index: usize| {
            let clean = &photographs[index % photographs.len()];
            let rainy = heavy(clean, &mut Rng::at(5, 0, index as u64));
            psnr(&rainy, clean, View::Luma).unwrap()
        };
        let mean = (0..36).map(score).sum::<f64>() / 36.0;
        println!("heavy rain: {mean:.2} dB on Y");
        assert!((12.0..16.0).contains(&mean), "{mean}");
    }

    #[test]
    fn fine_rain_hides_what_is_behind_it_and_does_not_lighten_the_air() {
        let halves = Image::from_fn(64, 64, |x, _| if x < 32 { [0.1; 3] } else { [0.9; 3] });
        let (mut dark, mut bright) = (0.0, 0.0);
        for index in 0..20 {
            let rainy = downpour(halves.clone(), &mut Rng::at(3, 0, index));
            let mean = |from: usize| {
                let values = (0..64).flat_map(|y| (from..from + 32).map(move |x| (x, y)));
                values.map(|(x, y)| rainy.at(x, y)[1]).sum::<f32>() / (32.0 * 64.0)
            };
            (dark, bright) = (dark + mean(0) - 0.1, bright + (mean(32) - 0.9).abs());
        }
        assert!(dark > 6.0 * bright, "{dark} {bright}");
    }

    #[test]
    fn streaks_are_brighter_where_the_light_is() {
        let halves = Image::from_fn(128, 64, |x, _| if x < 64 { [0.02; 3] } else { [0.6; 3] });
        let mut gains = [0.0; 2];
        for index in 0..20 {
            let rainy = lit(&halves, &mut Rng::at(3, 0, index));
            for (x, y) in (0..64).flat_map(|y| (0..128).map(move |x| (x, y))) {
                gains[x / 64] += rainy.at(x, y)[0] - halves.at(x, y)[0];
            }
        }
        assert!(gains[0] > 0.0 && gains[1] > 1.3 * gains[0], "{gains:?}");
    }

    #[test]
    fn a_pair_differs_from_its_photograph_only_by_skies_and_nights() {
        let photograph = photographs()[1].resampled(72, 48);
        let (mut same, mut darker) = (0, 0);
        for index in 0..200 {
            let (rainy, clean) = pair(&photograph, &mut Rng::at(3, 0, index));
            assert_ne!(rainy, clean, "{index}: no rain");
            same += usize::from(clean == photograph);
            let mut values = clean.data.iter().zip(&photograph.data);
            darker += usize::from(clean != photograph && values.all(|(a, b)| *a <= b + 1e-6));
        }
        assert!(same > 140 && (3..22).contains(&darker), "{same} {darker}");
    }

    #[test]
    fn drops_near_the_lens_are_pale_and_let_the_picture_through() {
        let dark = Image::from_fn(96, 96, |_, _| [0.1; 3]);
        for index in 0..20 {
            let mut rainy = dark.clone();
            drops(&mut rainy, &mut Rng::at(3, 0, index));
            assert!(rainy.data.iter().all(|v| (0.1 - 1e-6..0.9).contains(v)));
            assert!(rainy.data.iter().any(|&v| v > 0.12));
        }
    }
}
