//! Pictures that show nothing: of one color, or shading evenly and a little from one side to the
//! other.

use crate::image::Pixels;

/// The most deviation from an even shade of a picture that shows nothing: that of a sensor's noise
/// in good light. Of 50 pictures of Dense-Haze the least detailed has nearly twice as much.
const NOISE: f64 = 0.01;
/// The most deviation of the even shade: about a third of white from one side to the other.
const SHADE: f64 = 0.1;
/// How many places are looked at along a side, at most.
const PLACES: usize = 256;

/// Whether nothing can be seen in `picture`. Its gray may be that of fog over anything, and a
/// network can only guess at things behind it.
pub(crate) fn is_blank(picture: &Pixels) -> bool {
    let [across, down] = [picture.width, picture.height].map(|side| side.min(PLACES));
    let place = |k: usize, count: usize, side: usize| (2 * k + 1) * side / (2 * count);
    // Places that are the same distance apart from -1/2 to 1/2 make the two slopes of the best
    // plane independent of each other and of the mean.
    let offset = |k: usize, count: usize| (k as f64 + 0.5) / count as f64 - 0.5;
    let mut sums = [[0.0f64; 4]; 3];
    let mut squares = [0.0f64; 2];
    for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
        let (x, y) = (offset(j, across), offset(i, down));
        squares = [squares[0] + x * x, squares[1] + y * y];
        let at = place(i, down, picture.height) * picture.width + place(j, across, picture.width);
        for (sums, value) in sums.iter_mut().zip(picture.nth(at)) {
            let value = f64::from(value);
            let terms = [value, value * value, value * x, value * y];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }
    let count = (across * down) as f64;
    let explained = |sum: f64, squares: f64| if squares > 0.0 { sum * sum / squares } else { 0.0 };
    sums.iter().all(|&[sum, square, x, y]| {
        let shade = explained(x, squares[0]) + explained(y, squares[1]);
        let noise = square - sum * sum / count - shade;
        noise <= NOISE * NOISE * count && shade <= SHADE * SHADE * count
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::degrade::{Task, degrade};
    use crate::image::{Image, Photo};
    use engine::Rng;

    fn blank(picture: &Image) -> bool {
        is_blank(&Photo::new(picture.clone()).pixels)
    }

    #[test]
    fn one_color_and_an_even_shade_with_a_little_noise_are_blank() {
        let mut rng = Rng::new(3);
        for (width, height) in [(1, 1), (1, 300), (300, 2), (700, 500)] {
            let shade = Image::from_fn(width, height, |x, y| {
                let noise = 0.008 * rng.normal() as f32;
                let down = 0.2 * y as f32 / height as f32;
                [0.6 - 0.3 * x as f32 / width as f32 + noise, 0.3 + down + noise, 0.5]
            });
            assert!(blank(&shade), "{width}x{height}");
            let one = Image::from_fn(width, height, |_, _| [1.0, 0.2, 0.0]);
            assert!(blank(&one), "{width}x{height}");
        }
    }

    #[test]
    fn fog_rain_and_snow_over_one_color_are_not() {
        let sky = Image::from_fn(320, 240, |_, _| [0.6, 0.65, 0.7]);
        for task in [Task::Derain, Task::Desnow] {
            for index in 0..20 {
                assert!(!blank(&degrade(task, &sky, &mut Rng::at(5, 0, index))), "{task} {index}");
            }
        }
        let moon = |x: usize, y: usize| x.abs_diff(160).pow(2) + y.abs_diff(60).pow(2) < 25;
        let night = Image::from_fn(320, 240, |x, y| [if moon(x, y) { 0.8 } else { 0.02 }; 3]);
        assert!(!blank(&night));
        let towers = |x: usize| if (100..140).contains(&x) { 0.65 } else { 0.7 };
        assert!(!blank(&Image::from_fn(320, 240, |x, _| [towers(x); 3])));
        assert!(!blank(&Image::from_fn(320, 240, |x, _| [x as f32 / 320.0; 3])));
    }
}
