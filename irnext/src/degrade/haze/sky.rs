//! A rough mask of a picture's sky.

use crate::image::{Image, Plane};

/// The darkest that sky may be, as the mean of its channels.
const DARKEST: f32 = 0.35;
/// How much more green it may have than red and blue.
const GREENEST: f32 = 0.05;
/// How much a channel may change from one pixel to the next.
const ROUGHEST: f32 = 0.09;
/// The share of the picture that it may be, and the least share of the first row.
const SHARE: std::ops::RangeInclusive<f32> = 0.03..=0.7;
const LEAST_TOP: f32 = 0.2;

/// 1 where there is sky, 0 elsewhere; none if that would be hardly anything or nearly all. Sky is
/// bright, smooth, not green, connected to the first row, and on the whole brighter than the rest
/// of the picture. A white wall may pass for it. `image` should be small, so that clouds are
/// smooth.
pub(super) fn sky(image: &Image) -> Option<Plane> {
    let (width, height) = (image.width, image.height);
    let change = |a: usize, b: usize| {
        let pixel = |at: usize| &image.data[3 * at..3 * at + 3];
        pixel(a).iter().zip(pixel(b)).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()))
    };
    let gray = Plane::gray(image);
    let may_be = |at: usize| {
        let [red, green, blue] = image.at(at % width, at / width);
        gray.data[at] >= DARKEST && green <= red.max(blue) + GREENEST
    };
    let mut sky = Plane::new(width, height);
    let mut next: Vec<usize> = (0..width.min(image.data.len())).filter(|&at| may_be(at)).collect();
    next.iter().for_each(|&at| sky.data[at] = 1.0);
    while let Some(at) = next.pop() {
        let (x, y) = (at % width, at / width);
        let beside = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then_some(at + 1),
            (y > 0).then(|| at - width),
            (y + 1 < height).then_some(at + width),
        ];
        for other in beside.into_iter().flatten() {
            if sky.data[other] == 0.0 && may_be(other) && change(at, other) <= ROUGHEST {
                sky.data[other] = 1.0;
                next.push(other);
            }
        }
    }
    let brightness = |of: f32| {
        let chosen = gray.data.iter().zip(&sky.data).filter(|(_, sky)| **sky == of);
        let (sum, count) = chosen.fold((0.0, 0.0), |(sum, n), (gray, _)| (sum + gray, n + 1.0));
        sum / f32::max(count, 1.0)
    };
    let top = sky.data.iter().take(width).sum::<f32>() / width as f32;
    let plausible = SHARE.contains(&sky.mean()) && top >= LEAST_TOP;
    (plausible && brightness(1.0) > brightness(0.0)).then_some(sky)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(top: [f32; 3]) -> Image {
        Image::from_fn(40, 30, |x, y| match (x, y) {
            (10..14, 5..30) => [0.2, 0.2, 0.2],
            (20..30, 22..26) => [0.9, 0.9, 0.9],
            (_, 0..15) => top.map(|v| v + y as f32 / 300.0),
            _ => [0.2, 0.35, 0.1],
        })
    }

    #[test]
    fn sky_is_bright_and_reaches_the_top() {
        for top in [[0.5, 0.6, 0.9], [0.8, 0.8, 0.8], [0.9, 0.7, 0.5]] {
            let sky = sky(&picture(top)).unwrap();
            for (at, &found) in sky.data.iter().enumerate() {
                let (x, y) = (at % 40, at / 40);
                let expected = y < 15 && !((10..14).contains(&x) && y >= 5);
                assert_eq!(found == 1.0, expected, "{top:?} {x} {y}");
            }
        }
    }

    #[test]
    fn woods_and_night_are_no_sky() {
        assert!(sky(&picture([0.4, 0.6, 0.3])).is_none());
        assert!(sky(&picture([0.1, 0.1, 0.2])).is_none());
        assert!(sky(&Image::from_fn(40, 30, |_, _| [0.8; 3])).is_none(), "a white wall");
        assert!(sky(&Image::new(0, 0)).is_none());
    }
}
