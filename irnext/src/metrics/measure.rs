//! Scores by name, as in the columns of a table.

use super::{AlignedScores, Error, Lpips, Niqe, Result, Ssim, View, aligned, mae, psnr};
use crate::image::Image;
use std::cell::OnceCell;
use std::fmt;
use std::str::FromStr;

/// A way to score an image, mostly against its ground truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Peak signal-to-noise ratio, dB.
    Psnr(View),
    /// Structural similarity.
    Ssim(Ssim, View),
    /// Mean absolute error, as a fraction of the range.
    Mae,
    /// LPIPS, with AlexNet.
    Lpips,
    /// PSNR after alignment, dB.
    AlignedPsnr,
    /// SSIM after alignment.
    AlignedSsim,
    /// NIQE, which does not look at the ground truth.
    Niqe(Niqe),
}

impl Measure {
    /// PSNR on RGB.
    pub const PSNR: Self = Self::Psnr(View::Rgb);
    /// SSIM on RGB, Gaussian window.
    pub const SSIM: Self = Self::Ssim(Ssim::Gaussian, View::Rgb);

    /// SSIM of the published code: RGB, downscaled.
    pub const SSIM_DOWNSCALED: Self = Self::Ssim(Ssim::Downscaled, View::Rgb);

    /// All measures, with their names and the software that defines them so.
    pub const ALL: [(Self, &'static str, &'static str); 19] = [
        (Self::PSNR, "psnr", "RGB as computed; scikit-image on floats, the published code"),
        (
            Self::Psnr(View::Rgb8),
            "psnr_8bit",
            "RGB as an 8-bit file holds it; MATLAB and BasicSR on saved files",
        ),
        (Self::Psnr(View::Luma), "psnr_y", "luma, not rounded; BasicSR"),
        (
            Self::Psnr(View::Luma8),
            "psnr_y_8bit",
            "luma of 8-bit values, rounded; MATLAB, papers on deraining",
        ),
        (Self::Mae, "mae", "mean absolute error of RGB, as a fraction of the range"),
        (Self::SSIM, "ssim", "RGB, Gaussian window; scikit-image with gaussian_weights"),
        (Self::Ssim(Ssim::Gaussian, View::Rgb8), "ssim_8bit", "the same for 8-bit values; BasicSR"),
        (
            Self::Ssim(Ssim::GaussianSample, View::Rgb),
            "ssim_sample",
            "the same with sample covariance; scikit-image",
        ),
        (Self::Ssim(Ssim::Msssim, View::Rgb), "ssim_pytorch", "RGB; pytorch_msssim"),
        (
            Self::Ssim(Ssim::Uniform, View::Rgb),
            "ssim_uniform7",
            "RGB, uniform 7×7 window; scikit-image's default",
        ),
        (
            Self::Ssim(Ssim::Cube, View::Rgb8),
            "ssim_3d",
            "8-bit RGB as a volume, 11×11×11 window; MATLAB, papers on GoPro",
        ),
        (
            Self::SSIM_DOWNSCALED,
            "ssim_downscaled",
            "RGB after adaptive pooling; the published code",
        ),
        (Self::Ssim(Ssim::Gaussian, View::Luma), "ssim_y", "luma, not rounded; BasicSR"),
        (
            Self::Ssim(Ssim::Gaussian, View::Luma8),
            "ssim_y_8bit",
            "luma of 8-bit values, rounded; MATLAB, Wang's script",
        ),
        (Self::Lpips, "lpips", "distance in the features of AlexNet, lower is better; lpips 0.1"),
        (
            Self::AlignedPsnr,
            "psnr_aligned",
            "8-bit RGB, brightness and homography matched first; RSBlur's script",
        ),
        (Self::AlignedSsim, "ssim_aligned", "the same, Gaussian window; RSBlur's script"),
        (
            Self::Niqe(Niqe::Gray),
            "niqe",
            "distance from clean photographs, without ground truth, lower is better; its authors'",
        ),
        (Self::Niqe(Niqe::Luma), "niqe_y", "the same of luma; BasicSR"),
    ];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The compared values, and the software with the same definition.
    pub fn description(self) -> &'static str {
        self.row().2
    }

    /// Whether it is computed by default: false for measures that run a network or an optimization,
    /// and for NIQE, which small images do not have.
    pub fn is_default(self) -> bool {
        !matches!(self, Self::Lpips | Self::AlignedPsnr | Self::AlignedSsim | Self::Niqe(_))
    }

    /// Whether it takes no ground truth.
    pub fn is_blind(self) -> bool {
        matches!(self, Self::Niqe(_))
    }

    fn row(self) -> (Self, &'static str, &'static str) {
        Self::ALL.into_iter().find(|row| row.0 == self).unwrap_or((
            self,
            "unnamed",
            "not a column of tables",
        ))
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|row| row.1 == text).map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|row| row.1).collect();
            format!("unknown measure {text:?}: expected one of {}", names.join(", "))
        })
    }
}

/// Computes several measures, with the network that they need.
pub struct Scorer {
    measures: Vec<Measure>,
    /// Needed by one of the measures.
    lpips: Option<Lpips>,
}

impl Scorer {
    /// A scorer for these measures. [`Measure::Lpips`] has scores once there is a network, by
    /// [`Scorer::with_lpips`].
    pub fn new(measures: &[Measure]) -> Self {
        Self { measures: measures.to_vec(), lpips: None }
    }

    /// Adds the network that [`Measure::Lpips`] is computed with.
    pub fn with_lpips(self, lpips: Lpips) -> Self {
        Self { lpips: Some(lpips), ..self }
    }

    /// The measures, in the order of their scores.
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// The scores of `image` against `target`, or the reason why there is none (an image smaller
    /// than SSIM's window, no network for LPIPS).
    ///
    /// # Errors
    /// [`Error::Sizes`] and [`Error::Empty`]: such images have no scores at all.
    pub fn score(&self, image: &Image, target: &Image) -> Result<Vec<Result<f64>>> {
        super::check(image, target)?;
        // Two measures share the alignment, which takes longer than all others together.
        let alignment = OnceCell::new();
        let aligned = |of: fn(&AlignedScores) -> f64| {
            alignment.get_or_init(|| aligned(image, target)).as_ref().map(of).map_err(Clone::clone)
        };
        let one = |measure: &Measure| match *measure {
            Measure::Psnr(view) => psnr(image, target, view),
            Measure::Ssim(ssim, view) => ssim.score(image, target, view),
            Measure::Mae => mae(image, target, View::Rgb),
            Measure::Lpips => match &self.lpips {
                Some(lpips) => lpips.score(image, target),
                None => Err(Error::Weights(format!("its weights ({}) are missing", Lpips::FILE))),
            },
            Measure::AlignedPsnr => aligned(|scores| scores.psnr),
            Measure::AlignedSsim => aligned(|scores| scores.ssim),
            Measure::Niqe(niqe) => niqe.score(image),
        };
        Ok(self.measures.iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_understood() {
        for (measure, name, _) in Measure::ALL {
            assert_eq!(name.parse::<Measure>(), Ok(measure));
        }
        assert!("psnr2".parse::<Measure>().unwrap_err().contains("psnr_y_8bit"));
    }

    #[test]
    fn a_measure_without_a_score_leaves_the_others() {
        let image = Image::from_fn(8, 8, |x, _| [x as f32 / 8.0; 3]);
        let measures = [Measure::PSNR, Measure::SSIM, Measure::Lpips];
        let scores = Scorer::new(&measures).score(&image, &image).unwrap();
        assert_eq!(scores[0], Ok(f64::INFINITY));
        assert!(matches!(scores[1], Err(Error::SmallerThanWindow { .. })));
        assert!(matches!(scores[2], Err(Error::Weights(_))));
    }
}
