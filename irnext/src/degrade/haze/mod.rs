//! Haze: I = J t + A (1 - t), with the transmission t = exp(-beta d) of depth d (Koschmieder's law,
//! applied to sRGB values as the RESIDE data set does).
//!
//! There are two models of it. [`even`] is fitted to RESIDE's outdoor test set, where depth hardly
//! shows. In [`deep`] the near is clear and the far is lost, as in photographs of real haze; its
//! depth comes from [`scene`], which divides the picture into [`segments`] and finds the [`sky`].

mod deep;
mod even;
mod scene;
mod segments;
mod sky;

pub(super) use deep::pair;
pub(super) use even::haze;

use crate::image::{Image, Plane};

/// I = J t + A (1 - t): the view of `scene` through air that lets `transmission` of its light
/// through and adds `airlight`'s color at each place.
fn through_air(scene: &Image, transmission: &Plane, airlight: impl Fn(usize) -> [f32; 3]) -> Image {
    let mut image = scene.clone();
    let pixels = image.data.chunks_exact_mut(3).zip(&transmission.data);
    for (place, (pixel, &t)) in pixels.enumerate() {
        for (value, a) in pixel.iter_mut().zip(airlight(place)) {
            *value = *value * t + a * (1.0 - t);
        }
    }
    image
}
