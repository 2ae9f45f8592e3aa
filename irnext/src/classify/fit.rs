//! Fits the classifier: its training samples, and the optimization.

use super::features::FIGURES;
use super::{CLASSES, Classifier, Features};
use crate::degrade::{Task, degrade};
use crate::image::{Image, Photo, Plane};
use engine::Rng;

/// The features of a picture, and its class.
pub struct LabeledFeatures {
    /// The index in [`CLASSES`].
    pub class: usize,
    /// The features.
    pub features: Features,
}

/// The longer side of the pictures that are degraded, pixels.
const SIDES: std::ops::Range<f64> = 400.0..1025.0;

/// One sample of each class from the clear photograph number `index`, at a random size. Half of the
/// samples get noise and half get JPEG compression, as good and bad pictures alike have them from
/// cameras and files.
pub fn samples(clean: &Image, seed: u64, index: u64) -> Vec<LabeledFeatures> {
    let sample = |class: usize| {
        let mut rng = Rng::at(seed, class as u32, index);
        let longer = clean.width.max(clean.height) as f64;
        let scale = (rng.range(SIDES) / longer).min(1.0);
        let side = |side: usize| ((side as f64 * scale).round() as usize).max(1);
        let clean = clean.resampled(side(clean.width), side(clean.height));
        let mut image = match CLASSES[class] {
            Some(task @ (Task::Derain | Task::Desnow)) => {
                uneven(&clean, degrade(task, &clean, &mut rng), &mut rng)
            }
            Some(task) => degrade(task, &clean, &mut rng),
            None => clean,
        };
        if rng.chance(0.5) {
            let sigma = rng.range(0.0..0.012);
            image.data.iter_mut().for_each(|v| *v += (sigma * rng.normal()) as f32);
        }
        let image = if rng.chance(0.5) {
            compressed(image.clamp(), rng.int(60..96) as u8)
        } else {
            image.clamp()
        };
        LabeledFeatures { class, features: Features::of(&image) }
    };
    (0..CLASSES.len()).map(sample).collect()
}

/// Rain and snow that show better in some places than in others: in half of the pictures the
/// degradation is partly undone, more here and less there. The generator by itself knows no
/// differences of light.
fn uneven(clean: &Image, mut image: Image, rng: &mut Rng) -> Image {
    if rng.chance(0.5) {
        let most = rng.range(0.6..1.0) as f32;
        let part = Plane::noise(clean.width, clean.height, rng.int(1..5) as usize, rng);
        let pixels = image.data.chunks_exact_mut(3).zip(clean.data.chunks_exact(3)).zip(&part.data);
        for ((pixel, clean), part) in pixels {
            let part = (1.6 * part - 0.1).clamp(0.0, 1.0) * most;
            pixel.iter_mut().zip(clean).for_each(|(v, clean)| *v = clean + part * (*v - clean));
        }
    }
    image
}

/// `image` after JPEG compression of this quality.
fn compressed(image: Image, quality: u8) -> Image {
    let photo = Photo::new(image);
    photo.through_jpeg(quality).unwrap_or_else(|_| photo.pixels.into_image())
}

/// The weight decay.
const DECAY: f64 = 1e-3;

/// The weight of clear photographs relative to each other class: to damage a good picture is worse
/// than to leave a bad one alone.
const CLEAR: f64 = 3.0;

/// The number of optimization steps.
const STEPS: usize = 4000;

/// The classifier that makes `samples` most likely (maximum a posteriori with a normal prior). Each
/// class has the same weight, but for clear photographs, which have three times as much. The same
/// samples give the same numbers.
pub fn fit(samples: &[LabeledFeatures]) -> Classifier {
    const N: usize = FIGURES.len();
    const K: usize = CLASSES.len();
    let mean = |j: usize, of: &dyn Fn(&LabeledFeatures) -> bool| {
        let chosen = samples.iter().filter(|sample| of(sample)).map(|sample| sample.features.0[j]);
        let (sum, count) = chosen.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    let means: [f64; N] = std::array::from_fn(|j| mean(j, &|sample| sample.class == 0));
    let deviations = std::array::from_fn(|j| {
        let middle = mean(j, &|_| true);
        let square =
            samples.iter().map(|sample| (sample.features.0[j] - middle).powi(2)).sum::<f64>();
        (square / samples.len().max(1) as f64).sqrt().max(1e-6)
    });
    let mut classifier = Classifier { means, deviations, weights: [[0.0; N]; K], biases: [0.0; K] };
    let z: Vec<[f64; N]> =
        samples.iter().map(|sample| classifier.standardized(&sample.features)).collect();
    let count = |k: usize| samples.iter().filter(|sample| sample.class == k).count().max(1) as f64;
    let weight = |k: usize| if k == 0 { CLEAR } else { 1.0 };
    let shares: [f64; K] =
        std::array::from_fn(|k| weight(k) / ((K as f64 - 1.0 + CLEAR) * count(k)));

    // Gradient descent with Nesterov's momentum. The curvature is at most half the mean square of
    // z.
    let square = z.iter().flatten().map(|v| v * v).sum::<f64>() / samples.len().max(1) as f64;
    let rate = 1.0 / (0.5 * (square + 1.0));
    let mut before = classifier.clone();
    for step in 0..STEPS {
        let momentum = step as f64 / (step as f64 + 3.0);
        let ahead = |now: f64, before: f64| now + momentum * (now - before);
        let mut at = classifier.clone();
        for k in 0..K {
            at.biases[k] = ahead(classifier.biases[k], before.biases[k]);
            (0..N).for_each(|j| {
                at.weights[k][j] = ahead(classifier.weights[k][j], before.weights[k][j])
            });
        }
        let mut slopes = [[0.0; N]; K];
        let mut bias_slopes = [0.0; K];
        for (z, sample) in z.iter().zip(samples) {
            let probabilities = at.probabilities(z);
            for k in 0..K {
                let error = shares[sample.class]
                    * (probabilities[k] - f64::from(u8::from(k == sample.class)));
                bias_slopes[k] += error;
                (0..N).for_each(|j| slopes[k][j] += error * z[j]);
            }
        }
        before = std::mem::replace(&mut classifier, at);
        for k in 0..K {
            classifier.biases[k] -= rate * bias_slopes[k];
            for j in 0..N {
                let slope = slopes[k][j] + DECAY * classifier.weights[k][j];
                classifier.weights[k][j] -= rate * slope;
            }
        }
    }
    classifier
}
