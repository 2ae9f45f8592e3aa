//! The data sets that the paper's models are trained on.

use crate::protocol::Protocol;
use crate::protocol::sets::{SETS, Set};
use serde::{Deserialize, Serialize};

/// The data sets that the paper's models are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingSet {
    /// RESIDE's indoor training set, ITS.
    ResideIndoor,
    /// RESIDE's outdoor training set, OTS.
    ResideOutdoor,
    /// Dense-Haze.
    DenseHaze,
    /// NH-HAZE.
    NhHaze,
    /// The composite of deraining papers, for three test sets.
    Rain,
    /// CSD.
    Csd,
    /// SRRS.
    Srrs,
    /// Snow100K.
    Snow100k,
    /// GoPro.
    Gopro,
    /// RSBlur.
    Rsblur,
    /// DPDD.
    Dpdd,
}

impl TrainingSet {
    /// The sets that the paper scores this set's model on, by their names in [`SETS`].
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::ResideIndoor => &["SOTS-indoor"],
            Self::ResideOutdoor => &["SOTS-outdoor"],
            Self::DenseHaze => &["Dense-Haze"],
            Self::NhHaze => &["NH-HAZE"],
            Self::Rain => &["Test100", "Rain100H", "Rain100L"],
            Self::Csd => &["CSD"],
            Self::Srrs => &["SRRS"],
            Self::Snow100k => &["Snow100K"],
            Self::Gopro => &["GoPro"],
            Self::Rsblur => &["RSBlur"],
            Self::Dpdd => &["DPDD"],
        }
    }

    /// The rows of [`SETS`] that this set is for.
    pub fn sets(self) -> impl Iterator<Item = &'static Set> {
        SETS.iter().filter(move |set| self.names().contains(&set.name))
    }

    /// The protocol of its tables.
    pub fn protocol(self) -> Protocol {
        self.sets().next().map_or(Protocol::Plain, |set| set.protocol)
    }

    /// The published numbers of training pairs, then those of copies in circulation.
    pub fn counts(self) -> &'static [usize] {
        self.sets().next().map_or(&[], |set| set.train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_a_protocol_and_a_number_of_pairs() {
        let names = [
            "reside-indoor",
            "reside-outdoor",
            "dense-haze",
            "nh-haze",
            "rain",
            "csd",
            "srrs",
            "snow100k",
        ];
        let all: Vec<TrainingSet> = names
            .iter()
            .chain(&["gopro", "rsblur", "dpdd"])
            .map(|name| serde_json::from_str(&format!("{name:?}")).unwrap())
            .collect();
        assert_eq!(all.iter().flat_map(|set| set.sets()).count(), SETS.len());
        for set in all {
            assert!(
                !set.counts().is_empty() && set.sets().all(|row| row.protocol == set.protocol()),
                "{set:?}"
            );
        }
    }
}
