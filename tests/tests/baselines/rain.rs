//! Rain and snow are brighter than their background, and thin: medians and openings know no more
//! than that.

use crate::plane::{Plane, by_channel};
use irnext::image::Image;

/// The median of `across` pixels to either side and of `down` up and down, where it is darker: rain
/// only adds light.
pub fn median([across, down]: [f32; 2]) -> impl Fn(&Plane) -> Plane {
    move |plane| plane.zip(&plane.median(across as usize, down as usize), f32::min)
}

/// Rain: [`median`] across the streaks, which fall.
pub fn across_the_streaks(image: &Image, reach: [f32; 2]) -> Image {
    by_channel(image, median(reach))
}

/// Rain, by layers: the base that a guided filter leaves of the picture, and the part without
/// streaks of the rest.
pub fn guided_layers(image: &Image, [radius, across]: [f32; 2]) -> Image {
    by_channel(image, |plane| {
        let base = plane.guided(plane, radius as usize, 0.01);
        let detail = plane.zip(&base, |v, base| v - base);
        base.zip(&median([across, 0.0])(&detail), |base, detail| base + detail)
    })
}

/// Snow: where an opening by a square takes away more than `step`, flakes are taken to be, and the
/// median of twice that square is put there; elsewhere the picture stays.
pub fn opening(image: &Image, [radius, step]: [f32; 2]) -> Image {
    by_channel(image, |plane| {
        let radius = radius as usize;
        let opened = plane.erode(radius).dilate(radius);
        let flake = plane.zip(&opened, |v, opened| v - opened - step);
        let filled = plane.zip(&plane.median(2 * radius, 2 * radius), f32::min);
        let data = (0..plane.data.len())
            .map(|i| if flake.data[i] > 0.0 { filled.data[i] } else { plane.data[i] });
        Plane { data: data.collect(), ..*plane }
    })
}

/// Snow: the median of squares, where it is darker.
pub fn square_median(image: &Image, [radius, _]: [f32; 2]) -> Image {
    by_channel(image, median([radius, radius]))
}

/// Two shades, and on them lines two pixels wide or spots of 3×3.
#[cfg(test)]
fn scene(falling: bool) -> [Image; 2] {
    let clean = Image::build(64, 64, |x, _| if x < 32 { [0.2, 0.3, 0.1] } else { [0.5, 0.4, 0.6] })
        .unwrap();
    let lit =
        |x: usize, y: usize| if falling { (x + y / 8) % 11 < 2 } else { x % 11 < 3 && y % 13 < 3 };
    let image = Image::build(64, 64, |x, y| {
        clean.pixel(x, y).unwrap().map(|v| if lit(x, y) { v + 0.3 } else { v })
    })
    .unwrap();
    [clean, image]
}

#[cfg(test)]
fn error(image: &Image, clean: &Image) -> f32 {
    image.data().iter().zip(clean.data()).map(|(a, b)| (a - b).abs()).sum::<f32>()
        / clean.data().len() as f32
}

#[test]
fn thin_lines_go_and_edges_stay() {
    let [clean, rainy] = scene(true);
    assert!(error(&rainy, &clean) > 0.05);
    assert!(error(&across_the_streaks(&rainy, [3.0, 0.0]), &clean) < 0.2 * error(&rainy, &clean));
    assert!(error(&guided_layers(&rainy, [8.0, 5.0]), &clean) < 0.7 * error(&rainy, &clean));
    assert!(error(&across_the_streaks(&clean, [3.0, 0.0]), &clean) < 1e-6);
    // Along the lines a median sees nothing but line.
    assert!(error(&across_the_streaks(&rainy, [0.0, 3.0]), &clean) > 0.04);
}

#[test]
fn spots_go_and_edges_stay() {
    let [clean, snowy] = scene(false);
    assert!(error(&snowy, &clean) > 0.01);
    for restored in [opening(&snowy, [2.0, 0.1]), square_median(&snowy, [3.0, 0.0])] {
        assert!(error(&restored, &clean) < 1e-3, "{}", error(&restored, &clean));
    }
    assert!(error(&opening(&clean, [2.0, 0.1]), &clean) < 1e-6);
}
