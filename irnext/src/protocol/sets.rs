//! The thirteen data sets of the paper, with the number of their pairs, the scores of the degraded
//! images, and the paper's scores.

use super::Protocol;
use crate::data::Role;
use serde::Serialize;
use std::path::Path;

/// A data set.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Its name in the paper.
    pub name: &'static str,
    /// Its protocol.
    pub protocol: Protocol,
    /// Words that the names of its folders contain: in lower case, with spaces for whatever is
    /// neither a letter nor a digit.
    words: &'static [&'static str],
    /// Pairs in the training split: as published, then in other circulating forms.
    pub train: &'static [usize],
    /// Pairs in the validation split.
    pub validation: &'static [usize],
    /// Pairs in the test split.
    pub test: &'static [usize],
    /// Figures to compare with.
    pub published: Published,
}

/// Mean scores over the whole test split, as published.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Published {
    /// PSNR of the degraded images, dB, by the set's protocol.
    pub input_psnr: Option<f64>,
    /// PSNR that the paper reports for IRNeXt, dB.
    pub irnext_psnr: f64,
    /// SSIM that the paper reports for IRNeXt.
    pub irnext_ssim: f64,
}

const fn published(input_psnr: Option<f64>, irnext_psnr: f64, irnext_ssim: f64) -> Published {
    Published { input_psnr, irnext_psnr, irnext_ssim }
}

/// The composite training set of the deraining papers; the copies that can be downloaded lack one
/// pair.
const RAIN_TRAINING: &[usize] = &[13_712, 13_711];

/// All data sets, in the order of the paper's Table 14.
pub const SETS: [Set; 13] = [
    Set {
        name: "DPDD",
        protocol: Protocol::Dpdd,
        words: &["dpdd", "dd dp dataset canon"],
        train: &[350],
        validation: &[74],
        test: &[76],
        published: published(None, 26.30, 0.814),
    },
    Set {
        name: "SOTS-indoor",
        protocol: Protocol::Sots,
        words: &["sots indoor", "reside indoor", "its", "nyuhaze500"],
        train: &[13_990],
        validation: &[],
        test: &[500],
        published: published(Some(11.97), 41.21, 0.996),
    },
    Set {
        name: "SOTS-outdoor",
        protocol: Protocol::Sots,
        words: &["sots outdoor", "reside outdoor", "ots"],
        train: &[313_950],
        validation: &[],
        test: &[500],
        published: published(Some(15.92), 39.18, 0.996),
    },
    Set {
        name: "Dense-Haze",
        protocol: Protocol::DenseHaze,
        words: &["dense haze", "densehaze"],
        train: &[50, 45],
        validation: &[5],
        test: &[5],
        published: published(None, 17.60, 0.659),
    },
    Set {
        name: "NH-HAZE",
        protocol: Protocol::NhHaze,
        words: &["nh haze", "nhhaze"],
        train: &[50, 45],
        validation: &[5],
        test: &[5],
        published: published(None, 20.55, 0.813),
    },
    Set {
        name: "Test100",
        protocol: Protocol::RainY,
        words: &["test100"],
        train: RAIN_TRAINING,
        validation: &[],
        test: &[100],
        published: published(None, 31.53, 0.919),
    },
    Set {
        name: "Rain100H",
        protocol: Protocol::RainY,
        words: &["rain100h"],
        train: RAIN_TRAINING,
        validation: &[],
        test: &[100],
        published: published(Some(13.55), 31.64, 0.902),
    },
    Set {
        name: "Rain100L",
        protocol: Protocol::RainY,
        words: &["rain100l"],
        train: RAIN_TRAINING,
        validation: &[],
        test: &[100],
        published: published(Some(26.90), 38.14, 0.972),
    },
    Set {
        name: "CSD",
        protocol: Protocol::Snow,
        words: &["csd"],
        train: &[8_000, 2_500],
        validation: &[],
        test: &[2_000],
        published: published(None, 37.29, 0.99),
    },
    Set {
        name: "SRRS",
        protocol: Protocol::Snow,
        words: &["srrs"],
        train: &[15_005, 2_500],
        validation: &[],
        test: &[15_005, 2_000],
        published: published(None, 31.91, 0.98),
    },
    Set {
        name: "Snow100K",
        protocol: Protocol::Snow,
        words: &["snow100k"],
        train: &[50_000, 2_500],
        validation: &[],
        test: &[50_000, 2_000],
        published: published(None, 33.61, 0.95),
    },
    Set {
        name: "GoPro",
        protocol: Protocol::Gopro,
        words: &["gopro", "gopro large"],
        train: &[2_103],
        validation: &[1_111],
        test: &[1_111],
        published: published(None, 33.16, 0.962),
    },
    Set {
        name: "RSBlur",
        protocol: Protocol::Rsblur,
        words: &["rsblur"],
        train: &[8_878],
        validation: &[1_120],
        test: &[3_360],
        published: published(None, 34.08, 0.869),
    },
];

impl Set {
    /// The set that the folders of a path name, among those of `protocol`, or among all if there is
    /// none; the longest name wins.
    pub fn of_path(path: &str, protocol: Option<Protocol>) -> Option<&'static Self> {
        let letters = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
        let plain: String = format!(" {path} ").chars().map(letters).collect();
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        let plain = format!(" {plain} ");
        let named =
            SETS.iter().filter(|set| protocol.is_none_or(|p| p == set.protocol)).flat_map(|set| {
                set.words
                    .iter()
                    .filter(|word| plain.contains(&format!(" {word} ")))
                    .map(move |word| (word.len(), set))
            });
        named.max_by_key(|(length, _)| *length).map(|(_, set)| set)
    }

    /// The set that the folders of the split `split` below `folder` name; see [`Set::of_path`].
    pub fn of_split(
        folder: &Path,
        split: &str,
        protocol: Option<Protocol>,
    ) -> Option<&'static Self> {
        let path = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()).join(split);
        Self::of_path(&path.display().to_string(), protocol)
    }

    /// The sets with a published split of this role and this number of pairs.
    pub fn with_count(role: Role, pairs: usize) -> impl Iterator<Item = &'static Self> {
        SETS.iter().filter(move |set| set.counts(role).contains(&pairs))
    }

    /// The published numbers of pairs of a split.
    pub fn counts(&self, role: Role) -> &'static [usize] {
        match role {
            Role::Train => self.train,
            Role::Validation => self.validation,
            Role::Test => self.test,
            Role::Unknown => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_name_their_sets() {
        let name = |path: &str| Set::of_path(path, None).map(|set| set.name);
        assert_eq!(name("/data/RESIDE/SOTS/indoor"), Some("SOTS-indoor"));
        assert_eq!(name("pairs/sots_outdoor"), Some("SOTS-outdoor"));
        assert_eq!(name("reside-outdoor/test"), Some("SOTS-outdoor"));
        assert_eq!(name("dense_haze_half/train"), Some("Dense-Haze"));
        assert_eq!(name("Datasets/test/Rain100L"), Some("Rain100L"));
        assert_eq!(name("media/test/Snow100K-L"), Some("Snow100K"));
        assert_eq!(name("GoPro_Large/test"), Some("GoPro"));
        assert_eq!(name("my pictures/nitscsdx"), None);
        assert_eq!(
            Set::of_path("GoPro/rain100l", Some(Protocol::Gopro)).map(|set| set.name),
            Some("GoPro")
        );
    }

    #[test]
    fn every_set_has_its_words_and_counts() {
        for set in &SETS {
            assert!(set.words.iter().all(|w| {
                w.chars().all(|c| c == ' ' || c.is_ascii_digit() || c.is_ascii_lowercase())
            }));
            assert_eq!(Set::of_path(set.words[0], None).map(|s| s.name), Some(set.name));
            assert!(!set.train.is_empty() && !set.test.is_empty());
        }
        let rain: Vec<_> = Set::with_count(Role::Train, 13_711).map(|set| set.name).collect();
        assert_eq!(rain, ["Test100", "Rain100H", "Rain100L"]);
    }
}
