//! The pixels of two photos side by side.

use crate::image::Photo;

/// The largest and the mean difference between the pixels that are seen, in steps of 8 bits.
pub(super) fn apart(photo: &Photo, other: &Photo) -> (f32, f32) {
    apart_in(photo, other, photo.sides().0)
}

/// Like [`apart`], in the first columns.
pub(super) fn apart_in(photo: &Photo, other: &Photo, columns: usize) -> (f32, f32) {
    assert_eq!(photo.sides(), other.sides());
    let width = photo.sides().0;
    let opacities = photo.alpha.clone().unwrap_or_else(|| vec![1.0; photo.pixels.iter().count()]);
    let (mut largest, mut sum, mut count) = (0.0f32, 0.0, 0.0);
    let pairs = photo.pixels.iter().zip(other.pixels.iter()).zip(opacities).enumerate();
    for (i, ((pixel, other), opacity)) in pairs {
        for c in (0..3).filter(|_| opacity > 0.0 && i % width < columns) {
            let apart = 255.0 * (pixel[c] - other[c]).abs();
            largest = largest.max(apart);
            (sum, count) = (sum + apart, count + 1.0);
        }
    }
    (largest, sum / count)
}

/// The opacities in 8 bits.
pub(super) fn opacities(photo: &Photo) -> Vec<u8> {
    let all = photo.alpha.iter().flatten();
    all.map(|opacity| (255.0 * opacity).round() as u8).collect()
}
