//! The scoring protocols of the paper's tables: the pairs of a data set, and the variants of PSNR
//! and SSIM.
//!
//! A [`Protocol`] is a way to score; [`sets`] lists the thirteen data sets and the published
//! figures; [`groups`] divides a set (DPDD's indoor and outdoor scenes); a [`Report`] holds the
//! results, as a table, JSON or CSV.
//!
//! Reading order: this file → `sets` → `groups` → `report`.

pub mod groups;
mod report;
pub mod sets;

pub use report::{Mean, Report, ReportFormat, SetReport};

use crate::data::{Role, Split};
use crate::error::{Error, Result};
use crate::metrics::{Measure, Ssim, View};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A way of scoring that the papers on a task share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// RESIDE's test set, indoor and outdoor.
    Sots,
    /// Dense-Haze.
    DenseHaze,
    /// NH-HAZE.
    NhHaze,
    /// Rain100L, Rain100H, Test100, on luma.
    RainY,
    /// CSD, SRRS, Snow100K.
    Snow,
    /// GoPro.
    Gopro,
    /// RSBlur, after alignment.
    Rsblur,
    /// DPDD, indoor and outdoor.
    Dpdd,
    /// Any other pairs: RGB as computed.
    Plain,
}

impl Protocol {
    /// All protocols, with their names and descriptions.
    pub const ALL: [(Self, &'static str, &'static str); 9] = [
        (
            Self::Sots,
            "sots",
            "RGB as computed, SSIM after downscaling; ground truth of 640x480 cropped to the \
             central 620x460",
        ),
        (Self::DenseHaze, "dense-haze", "images 51 to 55; RGB as computed, SSIM after downscaling"),
        (Self::NhHaze, "nh-haze", "images 51 to 55; RGB as computed, SSIM after downscaling"),
        (Self::RainY, "rain-y", "the rounded luma of 8-bit images, Wang's SSIM"),
        (Self::Snow, "snow", "RGB as computed, SSIM after downscaling"),
        (
            Self::Gopro,
            "gopro",
            "RGB of 8-bit images, MATLAB's SSIM over the volume of height, width and channels",
        ),
        (
            Self::Rsblur,
            "rsblur",
            "8-bit images, brightness matched and aligned by a homography (ECC) first",
        ),
        (
            Self::Dpdd,
            "dpdd",
            "RGB as computed from 8-bit images, scikit-image's default SSIM, MAE, LPIPS; indoor, \
             outdoor",
        ),
        (Self::Plain, "plain", "RGB as computed, Gaussian SSIM; for your own pairs"),
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// A description of the scored images.
    pub fn description(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// The measures that the published tables hold.
    pub fn headline(self) -> Vec<Measure> {
        match self {
            Self::Sots | Self::DenseHaze | Self::NhHaze | Self::Snow => {
                vec![Measure::PSNR, Measure::SSIM_DOWNSCALED]
            }
            Self::RainY => {
                vec![Measure::Psnr(View::Luma8), Measure::Ssim(Ssim::Gaussian, View::Luma8)]
            }
            Self::Gopro => vec![Measure::Psnr(View::Rgb8), Measure::Ssim(Ssim::Cube, View::Rgb8)],
            Self::Rsblur => vec![Measure::AlignedPsnr, Measure::AlignedSsim],
            Self::Dpdd => {
                vec![
                    Measure::PSNR,
                    Measure::Ssim(Ssim::Uniform, View::Rgb),
                    Measure::Mae,
                    Measure::Lpips,
                ]
            }
            Self::Plain => vec![Measure::PSNR, Measure::SSIM],
        }
    }

    /// The splits to score among those found in `folder`, reduced to the pairs that the published
    /// figures are for.
    ///
    /// With `role`, the whole splits of that role. Without it, the test splits; if there are none,
    /// the validation splits (the authors' GoPro), then those of unknown role. A single split is
    /// taken whatever its role.
    pub fn select(
        self,
        folder: &Path,
        mut splits: Vec<Split>,
        role: Option<Role>,
    ) -> Result<Vec<Split>> {
        let wanted = role.or_else(|| {
            let has = |role: &Role| splits.iter().any(|split| split.role == *role);
            [Role::Test, Role::Validation, Role::Unknown]
                .into_iter()
                .find(has)
                .or((splits.len() == 1).then(|| splits[0].role))
        });
        let Some(wanted) = wanted else {
            let names: Vec<_> = splits.iter().map(|split| split.name.as_str()).collect();
            let reason = format!(
                "has no test split, only {}; name one with --split or its folder",
                names.join(", ")
            );
            return Err(Error::data(folder, reason));
        };
        splits.retain(|split| split.role == wanted);
        if role.is_none() && matches!(self, Self::DenseHaze | Self::NhHaze) {
            splits.iter_mut().for_each(keep_last_five);
        }
        splits.retain(|split| !split.pairing.pairs.is_empty());
        if splits.is_empty() {
            return Err(Error::data(folder, "has no pairs of photographs in the splits to score"));
        }
        Ok(splits)
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|row| row.1 == text).map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|row| row.1).collect();
            format!("unknown protocol {text:?}: expected one of {}", names.join(", "))
        })
    }
}

/// Reduces a set that came with all 55 images to images 51 to 55; a set without those is left
/// whole.
fn keep_last_five(split: &mut Split) {
    if split.pairing.pairs.iter().any(|pair| is_of_the_last_five(&pair.name)) {
        split.pairing.pairs.retain(|pair| is_of_the_last_five(&pair.name));
    }
}

/// Whether a file of Dense-Haze or NH-HAZE is one of images 51 to 55, the test images.
pub(crate) fn is_of_the_last_five(name: &str) -> bool {
    let number =
        name.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<u32>().ok());
    number.is_some_and(|n| (51..=55).contains(&n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Pair, Pairing};

    fn split(name: &str, role: Role, images: &[&str]) -> Split {
        let pair = |image: &&str| Pair {
            name: image.to_string(),
            input: image.into(),
            target: image.into(),
        };
        let pairing = Pairing { pairs: images.iter().map(pair).collect(), unpaired: Vec::new() };
        Split { name: name.into(), role, pairing }
    }

    fn selected(protocol: Protocol, splits: &[Split], role: Option<Role>) -> Result<Vec<String>> {
        let found = protocol.select(Path::new("set"), splits.to_vec(), role)?;
        Ok(found.iter().map(|s| format!("{} {}", s.name, s.pairing.pairs.len())).collect())
    }

    #[test]
    fn names_are_understood_and_in_the_order_of_the_enum() {
        for (protocol, name, _) in Protocol::ALL {
            assert_eq!(name.parse::<Protocol>(), Ok(protocol));
            assert_eq!(protocol.name(), name);
            assert_eq!(serde_json::to_string(&protocol).unwrap(), format!("{name:?}"));
            assert!(protocol.headline().iter().all(|m| m.name() != "unnamed"));
        }
        assert!("sot".parse::<Protocol>().unwrap_err().contains("dense-haze"));
    }

    #[test]
    fn test_splits_are_scored_unless_another_is_named() {
        let splits = [split("test", Role::Test, &["a"]), split("train", Role::Train, &["b", "c"])];
        assert_eq!(selected(Protocol::Sots, &splits, None).unwrap(), ["test 1"]);
        assert_eq!(selected(Protocol::Sots, &splits, Some(Role::Train)).unwrap(), ["train 2"]);
        assert_eq!(
            selected(Protocol::Sots, &splits[1..], None).unwrap(),
            ["train 2"],
            "the folder itself was named"
        );
        let two = [split("a/train", Role::Train, &["b"]), split("b/train", Role::Train, &["b"])];
        assert!(selected(Protocol::Sots, &two, None).unwrap_err().to_string().contains("b/train"));
        let authors =
            [split("train", Role::Train, &["b"]), split("valid", Role::Validation, &["c"])];
        assert_eq!(selected(Protocol::Gopro, &authors, None).unwrap(), ["valid 1"]);
        assert!(selected(Protocol::Gopro, &authors, Some(Role::Test)).is_err());
    }

    #[test]
    fn the_last_five_of_dense_haze_are_its_test() {
        let all = split(
            "Dense-Haze",
            Role::Unknown,
            &["01_hazy.png", "50_hazy.png", "51_hazy.png", "55_hazy.png"],
        );
        let all = [all];
        assert_eq!(selected(Protocol::DenseHaze, &all, None).unwrap(), ["Dense-Haze 2"]);
        assert_eq!(
            selected(Protocol::DenseHaze, &all, Some(Role::Unknown)).unwrap(),
            ["Dense-Haze 4"]
        );
        assert_eq!(selected(Protocol::Sots, &all, None).unwrap(), ["Dense-Haze 4"]);
        let training = split("train", Role::Train, &["01_hazy.png", "50_hazy.png"]);
        assert_eq!(selected(Protocol::NhHaze, &[training], None).unwrap(), ["train 2"]);
    }
}
