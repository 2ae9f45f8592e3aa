//! The scale at which a network sees a photograph.
//!
//! A network knows pictures of the size it was trained on. In 24 megapixels it looks at a wall
//! where it expects a street, and at streaks and flakes that are ten times as wide as any it has
//! seen. So it restores a smaller copy, and the change of that copy is carried to the photograph.
//!
//! Haze, rain and snow lie between the camera and the scene. There, near each pixel of the copy,
//! the restored color is a straight line of the degraded one, fitted by a guided filter (He, Sun,
//! Tang: "Guided image filtering", 2010, and "Fast guided filter", 2015). Blur is a matter of the
//! picture alone: the copy's change is added. Either way, all detail that is finer than the copy's
//! is the photograph's own.

use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::image::{Image, Plane, linear_taps};
use rayon::prelude::*;
use std::fmt;
use std::str::FromStr;

/// The pixels of the copy that the network for a task sees, about those of its training and test
/// pictures (docs/src/restoring.md has the choice).
fn copy_pixels(task: Task) -> usize {
    match task {
        Task::Dehaze => 1 << 17,
        Task::Derain => 1 << 18,
        Task::Deblur => 1 << 19,
        Task::Desnow | Task::Defocus => 3 << 18,
    }
}

/// The pixels up to which the network for a task sees the photograph itself. Fine streaks of rain,
/// which a photograph of a megapixel shows, vanish from a smaller copy.
fn whole_pixels(task: Task) -> usize {
    match task {
        Task::Derain => 1 << 20,
        _ => copy_pixels(task),
    }
}

/// The radius of the window in which a line is fitted, in pixels of the copy.
const RADIUS: usize = 2;

/// The radius of the window whose line a smaller one without detail follows.
const WIDE: usize = 16;

/// The variance of a window above which it has detail to follow.
const EPSILON: f32 = 1e-4;

/// The scale at which a network sees a photograph.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scale {
    /// The scale that suits the task: a copy of an eighth to three quarters of a megapixel if the
    /// photograph is larger. Unknown tasks are done at full size.
    #[default]
    Auto,
    /// Full size.
    Full,
    /// A copy whose sides are this part of the photograph's, above 0 and below 1.
    Part(f64),
}

impl Scale {
    /// The sides of the copy of a photograph that the network for `task` sees; none for the
    /// photograph itself.
    pub(crate) fn copy(
        self,
        task: &str,
        (width, height): (usize, usize),
    ) -> Option<(usize, usize)> {
        let part = match self {
            Self::Full => return None,
            Self::Part(part) => part,
            Self::Auto => {
                let (task, pixels) = (task.parse().ok()?, width * height);
                if pixels <= whole_pixels(task) {
                    return None;
                }
                (copy_pixels(task) as f64 / pixels as f64).sqrt()
            }
        };
        let side = |side: usize| ((side as f64 * part).round() as usize).clamp(1, side.max(1));
        let copy = (side(width), side(height));
        (part < 1.0 && copy != (width, height)).then_some(copy)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Full => f.write_str("full"),
            Self::Part(part) => write!(f, "{part}"),
        }
    }
}

impl FromStr for Scale {
    type Err = Error;

    /// `auto`, `full`, or a part such as `1/2` or `0.5`.
    fn from_str(text: &str) -> Result<Self> {
        let part = match text.split_once('/') {
            _ if text == "auto" => return Ok(Self::Auto),
            _ if text == "full" => return Ok(Self::Full),
            Some((part, whole)) => {
                part.parse().ok().zip(whole.parse().ok()).map(|(p, w): (f64, f64)| p / w)
            }
            None => text.parse().ok(),
        };
        match part {
            Some(1.0) => Ok(Self::Full),
            Some(part) if part > 0.0 && part < 1.0 => Ok(Self::Part(part)),
            _ => Err(Error::Config {
                reason: format!(
                    "\"{text}\" is not a scale: auto, full, or a part such as 1/2 or 0.5"
                ),
            }),
        }
    }
}

/// The lines that carry the change of a copy over to the photograph.
pub(super) struct LinearFit {
    width: usize,
    height: usize,
    /// For each pixel of the copy, the slopes and offsets of three channels.
    coefficients: Vec<f32>,
}

/// Slopes and offsets of a pixel.
const COEFFICIENTS: usize = 6;

impl LinearFit {
    /// The lines from `copy` to what became of it by the removal that `task` names.
    pub fn of(task: &str, copy: &Image, restored: &Image) -> Self {
        match task.parse() {
            Ok(Task::Deblur | Task::Defocus) => Self::shift(copy, restored),
            _ => Self::fit(copy, restored),
        }
    }

    /// The lines from `copy` to what became of it.
    fn fit(copy: &Image, restored: &Image) -> Self {
        let (width, height) = (copy.width, copy.height);
        let mut coefficients = vec![0.0; width * height * COEFFICIENTS];
        // Where the copy has no detail, the photograph may have some: it is not to be flattened,
        // but to change as its surroundings do, of this channel or at least of all.
        let as_it_is = Plane::new(width, height).map(|_| 1.0);
        let (gray, _) = Plane::gray(restored).lines(&Plane::gray(copy), WIDE, EPSILON, &as_it_is);
        let fitted: Vec<_> = (0..3)
            .into_par_iter()
            .map(|channel| {
                let (guide, restored) =
                    (Plane::channel(copy, channel), Plane::channel(restored, channel));
                let (wide, _) = restored.lines(&guide, WIDE, EPSILON, &gray);
                restored.lines(&guide, RADIUS, EPSILON, &wide)
            })
            .collect();
        for (channel, (slope, offset)) in fitted.iter().enumerate() {
            let pixels = coefficients.chunks_exact_mut(COEFFICIENTS);
            for (pixel, (&slope, &offset)) in pixels.zip(slope.data.iter().zip(&offset.data)) {
                pixel[channel] = slope;
                pixel[3 + channel] = offset;
            }
        }
        Self { width, height, coefficients }
    }

    /// The lines that add the change of each pixel.
    fn shift(copy: &Image, restored: &Image) -> Self {
        let pixels = copy.data.chunks_exact(3).zip(restored.data.chunks_exact(3));
        let coefficients = pixels.flat_map(|(copy, restored)| {
            let offset = |c: usize| restored[c] - copy[c];
            [1.0, 1.0, 1.0, offset(0), offset(1), offset(2)]
        });
        Self { width: copy.width, height: copy.height, coefficients: coefficients.collect() }
    }

    /// Moves row `y` of a photograph of this size along the lines. Between the copy's pixels the
    /// coefficients are interpolated bilinearly.
    pub fn over(
        &self,
        (width, height): (usize, usize),
    ) -> impl Fn(usize, &mut [f32]) + Sync + use<'_> {
        let columns = linear_taps(self.width, width);
        let rows = linear_taps(self.height, height);
        let len = self.width * COEFFICIENTS;
        let stored = move |y: usize| &self.coefficients[y * len..][..len];
        move |y, row| {
            let (above, below, down) = rows[y];
            let pairs = stored(above).iter().zip(stored(below));
            let between: Vec<f32> =
                pairs.map(|(above, below)| above + down * (below - above)).collect();
            for (pixel, &(left, right, across)) in row.chunks_exact_mut(3).zip(&columns) {
                let left = &between[left * COEFFICIENTS..][..COEFFICIENTS];
                let right = &between[right * COEFFICIENTS..][..COEFFICIENTS];
                let at = |i: usize| left[i] + across * (right[i] - left[i]);
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = at(channel) * *value + at(3 + channel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_photographs_are_seen_as_a_copy() {
        assert_eq!(Scale::Auto.copy("dehaze", (6000, 4000)), Some((443, 296)));
        assert_eq!(Scale::Auto.copy("dehaze", (400, 300)), None);
        assert_eq!(Scale::Auto.copy("desnow", (6000, 4000)), Some((1086, 724)));
        assert_eq!(Scale::Auto.copy("derain", (6000, 4000)), Some((627, 418)));
        // Fine streaks stay in sight.
        assert_eq!(Scale::Auto.copy("derain", (1024, 1024)), None);
        assert_eq!(Scale::Auto.copy("derain", (1025, 1024)), Some((512, 512)));
        assert_eq!(Scale::Auto.copy("deblur-motion", (1280, 720)), Some((965, 543)));
        assert_eq!(Scale::Auto.copy("something", (6000, 4000)), None);
        assert_eq!(Scale::Full.copy("dehaze", (6000, 4000)), None);
        assert_eq!(Scale::Part(0.25).copy("derain", (400, 1)), Some((100, 1)));
        assert_eq!(Scale::Part(0.9).copy("derain", (1, 1)), None);
        assert_eq!(Scale::Auto.copy("dehaze", (0, 0)), None);
        assert_eq!(Scale::Auto.copy("dehaze", (1 << 30, 1)), Some((11_863_283, 1)));
    }

    #[test]
    fn scales_are_words_fractions_or_numbers() {
        for (text, scale) in [
            ("auto", Scale::Auto),
            ("full", Scale::Full),
            ("1", Scale::Full),
            ("1/2", Scale::Part(0.5)),
            ("0.25", Scale::Part(0.25)),
        ] {
            assert_eq!(text.parse::<Scale>().unwrap(), scale, "{text}");
        }
        for text in ["", "0", "2", "-1/2", "1/0", "NaN", "half", "1/2/3", "0/1"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }

    fn applied(lines: &LinearFit, photo: &Image) -> Image {
        let (mut result, lines) = (photo.clone(), lines.over((photo.width, photo.height)));
        let rows = result.data.chunks_exact_mut(3 * photo.width).enumerate();
        rows.for_each(|(y, row)| lines(y, row));
        result
    }

    /// Smooth colors with an edge.
    fn scene(width: usize, height: usize) -> Image {
        Image::from_fn(width, height, |x, y| {
            let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
            [0.2 + 0.5 * x, if x + y < 0.8 { 0.3 } else { 0.7 }, 0.9 - 0.4 * y]
        })
    }

    #[test]
    fn a_copy_that_stays_as_it_is_leaves_the_photograph_nearly_alone() {
        let photo = scene(300, 200);
        let copy = photo.resampled(75, 50);
        let result = applied(&LinearFit::fit(&copy, &copy), &photo);
        let worst = result.data.iter().zip(&photo.data).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 0.02);
    }

    /// The copy is sharpened; finer noise stays as it is.
    #[test]
    fn the_change_of_a_blurred_copy_is_added() {
        let noisy = |size: (usize, usize), by: f32| {
            Image::from_fn(size.0, size.1, |x, y| {
                let noise = if (x + y) % 2 == 0 { by } else { -by };
                scene(size.0, size.1).at(x, y).map(|v| v + noise)
            })
        };
        let (photo, copy) = (noisy((300, 200), 0.02), scene(75, 50));
        let restored = Image { data: copy.data.iter().map(|v| 1.2 * v - 0.1).collect(), ..copy };
        let result = applied(&LinearFit::of("deblur-motion", &copy, &restored), &photo);
        let smooth = scene(300, 200);
        for (x, y) in [(150, 150), (151, 150), (250, 20), (250, 21)] {
            let pixels = [&result, &photo, &smooth].map(|image| image.at(x, y));
            for ((result, photo), smooth) in pixels[0].iter().zip(pixels[1]).zip(pixels[2]) {
                let expected = photo + 0.2 * smooth - 0.1;
                assert!((result - expected).abs() < 0.004, "{result} {expected}");
            }
        }
    }

    #[test]
    fn detail_that_the_copy_does_not_have_is_kept() {
        // Haze of t = 0.5, A = 0.8, and a fine pattern in the photograph alone.
        let clean = Image::from_fn(320, 200, |x, y| {
            scene(320, 200).at(x, y).map(|v| v + if (x + y) % 2 == 0 { 0.02 } else { -0.02 })
        });
        let hazed = |image: &Image| Image {
            data: image.data.iter().map(|v| 0.5 * v + 0.4).collect(),
            ..*image
        };
        let small = clean.resampled(80, 50);
        let result = applied(&LinearFit::of("dehaze", &hazed(&small), &small), &hazed(&clean));
        let inside = |image: &Image| image.part(160, 120, 60, 60).data;
        for (a, b) in inside(&result).iter().zip(inside(&clean)) {
            assert!((a - b).abs() < 0.004, "{a} {b}");
        }
    }
}
