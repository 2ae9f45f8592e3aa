//! Blur: the remaining fine detail is made stronger, blindly (unsharp masking) or by a kernel that
//! is taken for known (Wiener).

use crate::plane::{Plane, by_channel};
use irnext::image::Image;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

/// The picture, and `amount` of the detail that a mean over `2 * radius + 1` pixels, taken twice,
/// leaves out.
pub fn unsharp(image: &Image, [radius, amount]: [f32; 2]) -> Image {
    by_channel(image, |plane| {
        let soft = plane.mean(radius as usize).mean(radius as usize);
        plane.zip(&soft, |v, soft| v + amount * (v - soft))
    })
}

/// Wiener's filter for a disk whose radius is in pixels.
pub fn wiener_disk(image: &Image, [radius, noise]: [f32; 2]) -> Image {
    wiener(image, noise, |x, y| (radius + 0.5 - x.hypot(y)).clamp(0.0, 1.0))
}

/// Wiener's filter for a level line whose length is in pixels, which a hand that shakes draws as
/// often as any other.
pub fn wiener_line(image: &Image, [length, noise]: [f32; 2]) -> Image {
    wiener(image, noise, |x, y| {
        if y == 0.0 { (length / 2.0 + 0.5 - x.abs()).clamp(0.0, 1.0) } else { 0.0 }
    })
}

/// Pixels by which the picture is continued by reflection on each side: the transform takes it for
/// a tile of many.
const MARGIN: usize = 24;

/// F⁻¹[ F[image] conj(H) / (|H|² + noise) ], H being the transform of `kernel(x, y)` about its
/// middle, its sum made 1.
fn wiener(image: &Image, noise: f32, kernel: impl Fn(f32, f32) -> f32) -> Image {
    let (width, height) = (image.width() + 2 * MARGIN, image.height() + 2 * MARGIN);
    let spread = Plane {
        width,
        height,
        data: (0..width * height)
            .map(|i| {
                let from_start =
                    |v: usize, side: usize| v as f32 - if 2 * v > side { side as f32 } else { 0.0 };
                kernel(from_start(i % width, width), from_start(i / width, height))
            })
            .collect(),
    };
    let sum: f32 = spread.data.iter().sum();
    let transfer = transform(
        &spread.data.iter().map(|v| Complex::new(v / sum, 0.0)).collect::<Vec<_>>(),
        width,
        false,
    );
    by_channel(image, |plane| {
        let mirrored = |v: usize, side: usize| {
            let v = (v as isize - MARGIN as isize).abs();
            v.min(2 * (side as isize - 1) - v)
        };
        let large: Vec<_> = (0..width * height)
            .map(|i| {
                plane.at(mirrored(i % width, image.width()), mirrored(i / width, image.height()))
            })
            .map(|v| Complex::new(v, 0.0))
            .collect();
        let mut spectrum = transform(&large, width, false);
        spectrum
            .iter_mut()
            .zip(&transfer)
            .for_each(|(f, h)| *f = *f * h.conj() / (h.norm_sqr() + noise) * (1.0 + noise));
        let restored = transform(&spectrum, width, true);
        let scale = 1.0 / (width * height) as f32;
        let row = |y: usize| {
            restored[(y + MARGIN) * width + MARGIN..][..image.width()].iter().map(|c| c.re * scale)
        };
        Plane { data: (0..image.height()).flat_map(row).collect(), ..*plane }
    })
}

/// The transform of a map with rows of `width`, unnormalized, there or back.
fn transform(map: &[Complex<f32>], width: usize, back: bool) -> Vec<Complex<f32>> {
    let height = map.len() / width;
    let mut planner = FftPlanner::new();
    let mut plan =
        |len| if back { planner.plan_fft_inverse(len) } else { planner.plan_fft_forward(len) };
    let mut rows = map.to_vec();
    plan(width).process(&mut rows);
    let mut columns: Vec<_> =
        (0..map.len()).map(|i| rows[i % height * width + i / height]).collect();
    plan(height).process(&mut columns);
    (0..map.len()).map(|i| columns[i % width * height + i / width]).collect()
}

#[test]
fn a_known_disk_and_a_known_line_are_undone() {
    let clean = Image::build(80, 60, |x, y| {
        let check = if (x / 9 + y / 7) % 2 == 0 { 0.25 } else { 0.7 };
        [check, 0.2 + 0.6 * x as f32 / 80.0, 0.5 * check + 0.2]
    })
    .unwrap();
    let spread = |offsets: &[(isize, isize)]| {
        by_channel(&clean, |plane| {
            let data = (0..60 * 80).map(|i| {
                let mean = |(dx, dy): &(isize, isize)| plane.at(i % 80 + dx, i / 80 + dy);
                offsets.iter().map(mean).sum::<f32>() / offsets.len() as f32
            });
            Plane { data: data.collect(), ..*plane }
        })
    };
    let around = || (-3..=3isize).flat_map(|y| (-3..=3isize).map(move |x| (x, y)));
    let disk: Vec<_> = around().filter(|&(x, y)| (x as f32).hypot(y as f32) <= 2.5).collect();
    let line: Vec<_> = around().filter(|&(_, y)| y == 0).collect();
    // Away from the borders, where the outside is unknown.
    let error = |image: &Image| {
        let inside = |image: &Image| image.crop(12, 12, 56, 36).unwrap();
        let (a, b) = (inside(image), inside(&clean));
        (a.data().iter().zip(b.data()).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
            / a.data().len() as f32)
            .sqrt()
    };
    type Undo = fn(&Image, [f32; 2]) -> Image;
    for (blurred, undo, size) in
        [(spread(&disk), wiener_disk as Undo, 2.3), (spread(&line), wiener_line, 7.0)]
    {
        let restored = undo(&blurred, [size, 2e-3]);
        let (before, after) = (error(&blurred), error(&restored));
        assert!(before > 0.06 && after < 0.5 * before, "{before} {after}");
        // For another kernel than it was, it does harm.
        assert!(error(&undo(&blurred, [2.0 * size, 2e-3])) > after);
    }
    let sharper = unsharp(&spread(&disk), [2.0, 1.0]);
    assert!(error(&sharper) < error(&spread(&disk)));
}
