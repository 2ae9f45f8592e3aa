//! Haze that hides distances and leaves foregrounds.

use engine::Rng;

use super::scene::Scene;
use super::{even, through_air};
use crate::image::{Image, Plane};

/// How many pictures have even haze; the others have haze with depth.
const EVEN: f64 = 0.55;
/// How many of those with depth are in dense fog.
const FOG: f64 = 0.3;

/// The least transmission.
const LEAST: f32 = 0.05;

/// (hazy, clean). The clean picture is the photograph, but for the sky where haze has depth: behind
/// haze there is no blue sky to restore, so that it has the air's color in both.
pub(in super::super) fn pair(photograph: &Image, rng: &mut Rng) -> (Image, Image) {
    if rng.chance(EVEN) {
        return (even::haze(photograph, rng), photograph.clone());
    }
    let air = Air::draw(photograph, rng);
    let clean = air.under(photograph);
    (air.over(&clean), clean)
}

/// The air between the camera and a scene, and the light that the scene has under it.
struct Air {
    airlight: [f32; 3],
    /// The factor of the airlight: the air is lighter in places.
    glow: Plane,
    transmission: Plane,
    sky: Plane,
    /// The sum of this and the photograph's sky has the air's color.
    sky_shift: [f32; 3],
    light: Light,
}

impl Air {
    fn draw(photograph: &Image, rng: &mut Rng) -> Self {
        let (width, height) = (photograph.width, photograph.height);
        let Scene { depth, sky } = Scene::draw(photograph, rng);
        // Optical depths, -ln t, of the farthest and the nearest thing.
        let (far, near) = if rng.chance(FOG) {
            let far = rng.range(2.0..3.5);
            (far, far * rng.range(0.4..0.9))
        } else {
            let far = 0.6 * (4.0f64 / 0.6).powf(rng.uniform());
            (far, far * rng.range(0.0..0.2))
        };
        let bend = rng.range(0.7..1.6) as f32;
        let uneven = if rng.chance(0.6) { rng.range(0.1..0.5) as f32 } else { 0.0 };
        let density = Plane::noise(width, height, rng.int(2..5) as usize, rng);
        // The sky's light is that of all the air; what changes in it is in front of that.
        let of_sky = rng.range(0.1..1.2) as f32;
        let transmission = depth
            .zip(&density, |d, noise| {
                let thickness = near as f32 + (far - near) as f32 * d.powf(bend);
                thickness * (1.0 + uneven * (2.0 * noise - 1.0))
            })
            .zip(&sky, |thickness, sky| thickness + sky * (of_sky - thickness))
            .map(|thickness| (-thickness.max(0.0)).exp().max(LEAST));
        let of_sky = mean_where(photograph, &sky);
        let airlight = match of_sky {
            Some(color) if rng.chance(0.6) => veiled(color, rng),
            Some(color) => near_to(color, airlight(rng)),
            None => airlight(rng),
        };
        let part = rng.range(0.75..1.0);
        let sky_shift = of_sky.map_or([0.0; 3], |color| {
            [0, 1, 2].map(|channel| (part * (airlight[channel] - color[channel])) as f32)
        });
        let brighter = if rng.chance(0.5) { rng.range(0.0..0.12) as f32 } else { 0.0 };
        let glow = Plane::noise(width, height, 2, rng).map(|v| 1.0 + brighter * (v - 0.5));
        let light = Light::draw(airlight, rng);
        let airlight = airlight.map(|v| v as f32);
        Self { airlight, glow, transmission, sky, sky_shift, light }
    }

    /// The photograph, with a sky of the air's color.
    fn under(&self, photograph: &Image) -> Image {
        let mut image = photograph.clone();
        for (pixel, sky) in image.data.chunks_exact_mut(3).zip(&self.sky.data) {
            for (value, shift) in pixel.iter_mut().zip(self.sky_shift) {
                *value = (*value + sky * shift).clamp(0.0, 1.0);
            }
        }
        image
    }

    /// `clean` in its light behind the air.
    fn over(&self, clean: &Image) -> Image {
        let mut lit = clean.clone();
        for (pixel, sky) in lit.data.chunks_exact_mut(3).zip(&self.sky.data) {
            for (channel, value) in pixel.iter_mut().enumerate() {
                let light = self.light.on(*value, channel);
                *value = light + sky * (*value - light);
            }
        }
        through_air(&lit, &self.transmission, |place| {
            self.airlight.map(|a| (a * self.glow.data[place]).min(1.0))
        })
    }
}

/// Light under haze: less of it than in the clean picture, and of another color.
struct Light {
    gamma: f32,
    tint: [f32; 3],
}

impl Light {
    /// The clean picture's own light in more than half of the cases.
    fn draw(airlight: [f64; 3], rng: &mut Rng) -> Self {
        let gamma = if rng.chance(0.35) { rng.range(1.0..1.6) } else { 1.0 };
        let part = if rng.chance(0.1) { rng.range(0.0..0.3) } else { 0.0 };
        let tint = airlight.map(|a| (1.0 + part * (a / gray(airlight) - 1.0)) as f32);
        Self { gamma: gamma as f32, tint }
    }

    fn on(&self, value: f32, channel: usize) -> f32 {
        let dimmed = if self.gamma == 1.0 { value } else { value.powf(self.gamma) };
        dimmed * self.tint[channel]
    }
}

/// Light gray as a rule, darker at times; bluish in three pictures of ten, yellowish in two.
fn airlight(rng: &mut Rng) -> [f64; 3] {
    let gray = if rng.chance(0.8) { rng.range(0.75..1.0) } else { rng.range(0.5..0.8) };
    let [red, green, blue] = match rng.below(10) {
        0..3 => {
            let tint = rng.range(0.02..0.12);
            [-tint, -0.2 * tint, 0.7 * tint]
        }
        3..5 => {
            let tint = rng.range(0.02..0.14);
            [0.6 * tint, 0.1 * tint, -1.2 * tint]
        }
        _ => [0, 1, 2].map(|_| 0.012 * rng.normal()),
    };
    [red, green, blue].map(|tint| (gray + tint).clamp(0.45, 1.0))
}

/// The air's color before a sky of this one: between it and gray, as bright or brighter.
fn veiled(sky: [f64; 3], rng: &mut Rng) -> [f64; 3] {
    let part = rng.range(0.2..1.0);
    let brighter = (gray(sky) + rng.range(0.0..0.25)).clamp(0.6, 0.97);
    sky.map(|v| (brighter + (1.0 - part) * (v - gray(sky))).clamp(0.45, 1.0))
}

/// `airlight`, as bright as the sky or brighter.
fn near_to(sky: [f64; 3], airlight: [f64; 3]) -> [f64; 3] {
    let own = gray(airlight);
    let step = own.clamp(gray(sky) - 0.05, gray(sky) + 0.25).max(0.6) - own;
    airlight.map(|v| (v + step).clamp(0.45, 1.0))
}

fn gray(color: [f64; 3]) -> f64 {
    color.iter().sum::<f64>() / 3.0
}

/// The mean color where `share` is; nothing if that is next to nowhere.
fn mean_where(image: &Image, share: &Plane) -> Option<[f64; 3]> {
    let mut sums = [0.0; 3];
    for (pixel, &share) in image.pixels().zip(&share.data) {
        sums.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += f64::from(share * v));
    }
    let count = f64::from(share.mean()) * share.data.len() as f64;
    (count > 0.01 * share.data.len() as f64).then(|| sums.map(|sum| sum / count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::degrade::statistics::photographs;

    /// Three photographs, each small, drawn a hundred times.
    fn draws() -> Vec<(Image, Air)> {
        let small: Vec<Image> =
            photographs().iter().map(|image| image.resampled(144, 96)).collect();
        (0..300)
            .map(|index| {
                let photograph = small[index % small.len()].clone();
                let air = Air::draw(&photograph, &mut Rng::at(3, 0, index as u64));
                (photograph, air)
            })
            .collect()
    }

    fn share(draws: &[(Image, Air)], of: impl Fn(&Air) -> bool) -> f64 {
        draws.iter().filter(|(_, air)| of(air)).count() as f64 / draws.len() as f64
    }

    fn median(mut values: Vec<f32>) -> f32 {
        values.sort_by(f32::total_cmp);
        values[values.len() / 2]
    }

    #[test]
    fn the_near_is_clear_and_the_far_is_hidden() {
        let draws = draws();
        let ends = |air: &Air| {
            let mut solid: Vec<f32> = air.transmission.data.clone();
            solid.sort_by(f32::total_cmp);
            let part = |share: usize| solid[(solid.len() - 1) * share / 100];
            (part(2), part(98))
        };
        let all = draws.iter().flat_map(|(_, air)| &air.transmission.data);
        assert!(all.clone().all(|t| (LEAST..=1.0).contains(t)));
        let both = share(&draws, |air| ends(air).0 < 0.3 && ends(air).1 > 0.7);
        let fog = share(&draws, |air| ends(air).1 < 0.45);
        let mean = median(draws.iter().map(|(_, air)| air.transmission.mean()).collect());
        let spread = |air: &Air| {
            let depth = air.transmission.clone().map(|t| -t.ln());
            depth.deviation() / depth.mean()
        };
        let spread = median(draws.iter().map(|(_, air)| spread(air)).collect());
        println!(
            "deep haze: median of the mean transmission {mean:.2}, of the spread of depth \
             {spread:.2}; from below 0.3 to above 0.7 in one picture {both:.2}; fog {fog:.2}"
        );
        assert!((0.4..0.7).contains(&mean) && (0.35..0.9).contains(&spread));
        assert!((0.25..0.6).contains(&both) && (0.1..0.3).contains(&fog));
    }

    #[test]
    fn air_is_gray_or_bluish_or_yellowish_and_neither_dark_nor_white_as_a_rule() {
        let draws = draws();
        let tint = |air: &Air| air.airlight[2] - air.airlight[0];
        let gray = |air: &Air| air.airlight.iter().sum::<f32>() / 3.0;
        let [bluish, yellowish] =
            [share(&draws, |air| tint(air) > 0.04), share(&draws, |air| tint(air) < -0.04)];
        let dark = share(&draws, |air| gray(air) < 0.7);
        println!("deep haze: bluish {bluish:.2}, yellowish {yellowish:.2}, dark {dark:.2}");
        assert!(bluish > 0.15 && yellowish > 0.1 && (0.1..0.5).contains(&dark));
        let range = |v: &f32| (0.45..=1.0).contains(v);
        assert!(draws.iter().all(|(_, air)| air.airlight.iter().all(range)));
    }

    #[test]
    fn haze_keeps_t_of_the_scene_and_adds_the_rest_of_the_air() {
        let mut plain = 0;
        for (photograph, air) in draws() {
            if air.light.gamma != 1.0 || air.light.tint != [1.0; 3] {
                continue;
            }
            plain += 1;
            let clean = air.under(&photograph);
            let hazy = air.over(&clean);
            for (at, (hazy, clean)) in hazy.pixels().zip(clean.pixels()).enumerate() {
                let (t, glow) = (air.transmission.data[at], air.glow.data[at]);
                for channel in 0..3 {
                    let a = (air.airlight[channel] * glow).min(1.0);
                    let expected = clean[channel] * t + a * (1.0 - t);
                    assert!((hazy[channel] - expected).abs() < 1e-5);
                }
            }
        }
        assert!((90..210).contains(&plain), "{plain}");
    }

    #[test]
    fn a_sky_is_of_the_airs_color_and_is_left_alone() {
        let blue = Image::from_fn(96, 72, |x, y| match y {
            0..36 => [0.45, 0.6, 0.85].map(|v| v + 0.02 * (x % 2) as f32),
            _ => [0.3, 0.25, 0.1],
        });
        for index in 0..50 {
            let air = Air::draw(&blue, &mut Rng::at(8, 0, index));
            let clean = air.under(&blue);
            let hazy = air.over(&clean);
            for (x, y) in [(10, 5), (50, 10), (90, 15)] {
                for channel in 0..3 {
                    let (hazy, clean) = (hazy.at(x, y)[channel], clean.at(x, y)[channel]);
                    assert!((clean - air.airlight[channel]).abs() < 0.13);
                    assert!((hazy - clean).abs() < 0.12, "{index}: {hazy} {clean}");
                }
            }
            for (x, y) in [(10, 60), (50, 65), (90, 70)] {
                let mut same = clean.at(x, y).into_iter().zip(blue.at(x, y));
                assert!(same.all(|(a, b)| (a - b).abs() < 0.02));
            }
        }
    }
}
