//! The features of a picture for the classifier, and their meaning in words.

use super::{haze, sharpness, streaks, tiles};
use crate::image::{Image, whole_factor};

/// The number of pixels that are examined, a little more than 1280×720. A larger picture is shrunk
/// by a whole factor first.
pub(super) const PIXELS: usize = 1_500_000;

/// For each feature: its name, a description of pictures where it is larger than in clear ones, and
/// one of pictures where it is smaller.
pub(super) const FIGURES: [(&str, &str, &str); 39] = [
    ("dark channel", WASHED, DEEP),
    ("dark channel, lower half", WASHED, DEEP),
    ("dark channel, least", WASHED, DEEP),
    ("darkest", "its blacks are gray", "it has true blacks"),
    ("color", "colors are strong", "colors are pale"),
    ("contrast", "contrast is high", "contrast is low"),
    ("local contrast", "details stand out", "details are faint"),
    ("brightest", "it has bright whites", "it has no whites"),
    ("upright lines, white to black", STREAKS, NO_STREAKS),
    ("upright lines, white to black, low", STREAKS, NO_STREAKS),
    ("strong upright lines, white to black", STREAKS, NO_STREAKS),
    ("upright to level, white to black", UPRIGHT, LEVEL),
    ("white lines, upright to level", UPRIGHT, LEVEL),
    ("white upright lines, low", EVERYWHERE, SMOOTH),
    ("likeness along lines", ONE_WAY, NO_WAY),
    ("likeness along lines, white less black", ONE_WAY, NO_WAY),
    ("spots, white to black", SPOTS, NO_SPOTS),
    ("spots, white to black, low", SPOTS, NO_SPOTS),
    ("strong spots, white to black", SPOTS, NO_SPOTS),
    ("strong spots, white to black, high", SPOTS, NO_SPOTS),
    ("white spots, low", "small spots all over it", "places without any spots"),
    ("bright spots", "many bright spots", "few bright spots"),
    ("coarse spots, white to black", SPOTS, NO_SPOTS),
    ("strong coarse spots, white to black", SPOTS, NO_SPOTS),
    ("strong coarse spots, white to black, high", SPOTS, NO_SPOTS),
    ("coarse white spots, low", "small spots all over it", "places without any spots"),
    ("slope 1", FINE, SOFT),
    ("slope 2", FINE, SOFT),
    ("slope 4", COARSE, SMEARED),
    ("slope 8", COARSE, SMEARED),
    ("slope, sharpest", "some of it is very sharp", "none of it is sharp"),
    ("slope, middle", FINE, SOFT),
    ("slope, softest", "sharp all over", "parts of it are very soft"),
    ("direction 1", DIRECTED, UNDIRECTED),
    ("direction 2", DIRECTED, UNDIRECTED),
    ("direction 4", DIRECTED, UNDIRECTED),
    ("direction 8", DIRECTED, UNDIRECTED),
    ("direction of squares 1", "soft along one direction in places", "as sharp in every direction"),
    ("direction of squares 2", "soft along one direction in places", "as sharp in every direction"),
];

const WASHED: &str = "washed out: hardly any dark patches";
const DEEP: &str = "deep shadows and colors";
const STREAKS: &str = "thin upright lines, more bright than dark";
const NO_STREAKS: &str = "no more bright thin lines than dark ones";
const UPRIGHT: &str = "bright lines run down rather than across";
const LEVEL: &str = "bright lines run across rather than down";
const EVERYWHERE: &str = "fine bright lines everywhere";
const SMOOTH: &str = "places without fine lines";
const ONE_WAY: &str = "bright lines share one direction";
const NO_WAY: &str = "bright lines share no direction";
const SPOTS: &str = "spots, more bright than dark";
const NO_SPOTS: &str = "no more bright spots than dark ones";
const FINE: &str = "fine detail is sharp";
const SOFT: &str = "fine detail is soft";
const COARSE: &str = "coarse detail is sharp";
const SMEARED: &str = "even coarse detail is soft";
const DIRECTED: &str = "soft along one direction throughout";
const UNDIRECTED: &str = "soft along no one direction";

/// The features of a picture, in the order of the classifier's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Features(pub [f64; FIGURES.len()]);

impl Features {
    /// The features of `image`, of any size. They are finite, and do not depend on the number of
    /// threads.
    pub fn of(image: &Image) -> Self {
        let factor = whole_factor(image.width, image.height, PIXELS);
        let image = match image.data.is_empty() {
            true => Image::new(tiles::SIDE, tiles::SIDE),
            // A small picture is extended.
            false => image.shrink(factor).pad_reflect(tiles::SIDE, tiles::SIDE),
        };
        let mut all = haze::features(&image)
            .into_iter()
            .chain(streaks::features(&image))
            .chain(sharpness::features(&image));
        Self(std::array::from_fn(|_| all.next().filter(|v| v.is_finite()).unwrap_or(0.0)))
    }
}
