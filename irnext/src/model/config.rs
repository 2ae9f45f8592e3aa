//! The configuration of the network: everything that the paper's tables vary.

use crate::error::{Error, Result};
use nn::Builder;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The description of the network that is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The authors' published code, which their weight files fit.
    Released,
    /// Equations 1 to 7 of the paper. Where they are silent or contradict themselves, as released.
    Paper,
}

/// How MSM shrinks its input (Table 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean of each window.
    Average,
    /// The maximum of each window.
    Max,
    /// Depthwise 3×3 convolutions of stride 2, one for each halving.
    Learned,
}

/// The activation that turns LAM's scores into filter taps (Table 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TapActivation {
    /// Into (−1, 1): a filter may subtract.
    Tanh,
    /// Into (0, 1).
    Sigmoid,
    /// Positive, and summing to 1 over the K×K taps: a low-pass filter.
    Softmax,
}

/// The configuration of a network. `Default` is the full one with n = 3, as for dehazing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The published code's network or the paper's.
    pub variant: Variant,
    /// Channels at full size (C of Fig. 3); twice and four times that at half and quarter size.
    pub width: usize,
    /// Plain residual blocks in each CNNBlock, before the one with MSM.
    pub n: usize,
    /// Multi-scale modules in the last residual block: 1, or 0 and 2 as in the ablations.
    pub msm: usize,
    /// Pooling rates of MSM's branches, coarsest first (Table 8).
    pub branches: Vec<usize>,
    /// Whether branches end in a local attention module; without it they are 3×3 convolutions.
    pub lam: bool,
    /// Whether LAM modulates its filter (FM).
    pub modulation: bool,
    /// How branches shrink their input.
    pub pooling: Pooling,
    /// The activation that turns scores into taps.
    pub activation: TapActivation,
    /// Groups of channels that share a filter (G).
    pub groups: usize,
    /// Side of the filters (K), odd.
    pub kernel: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            variant: Variant::Released,
            width: 32,
            n: 3,
            msm: 1,
            branches: vec![8, 4, 2],
            lam: true,
            modulation: true,
            pooling: Pooling::Average,
            activation: TapActivation::Tanh,
            groups: 8,
            kernel: 3,
        }
    }
}

impl ModelConfig {
    /// The network of a preset.
    pub fn preset(preset: Preset) -> Self {
        let (width, n) = match preset {
            Preset::Tiny => (16, 1),
            Preset::Dehaze | Preset::Desnow => (32, 3),
            Preset::Gopro => (32, 13),
            Preset::Derain | Preset::Defocus => (32, 15),
        };
        Self { width, n, ..Self::default() }
    }

    /// The sides of an input must be multiples of this: two halvings, then MSM's coarsest pooling.
    pub fn multiple(&self) -> usize {
        4 * self.coarsest()
    }

    /// The least side of an input: LAM reflects the border of its coarsest map, which needs more
    /// pixels than it reflects.
    pub fn least_side(&self) -> usize {
        let border = if self.msm > 0 && self.lam { self.kernel / 2 } else { 0 };
        self.multiple() * (border + 1)
    }

    /// The least side of an input that holds `side` pixels.
    pub fn side_for(&self, side: usize) -> usize {
        side.next_multiple_of(self.multiple()).max(self.least_side())
    }

    fn coarsest(&self) -> usize {
        match self.msm {
            0 => 1,
            _ => self.branches.iter().copied().max().unwrap_or(1),
        }
    }

    /// Fails with the reason if there is no such network.
    pub fn validate(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Config { reason: format!("model: {reason}") });
        let falls = self.branches.windows(2).all(|pair| pair[0] > pair[1]);
        let powers =
            self.branches.iter().all(|&rate| rate.is_power_of_two() && (2..=64).contains(&rate));
        if self.width == 0 || !self.width.is_multiple_of(4) || self.width > 1024 {
            return refuse(format!("width must be a multiple of 4 up to 1024, got {}", self.width));
        }
        if self.n > 256 || self.msm > 8 {
            return refuse(format!(
                "n = {} and msm = {} must be at most 256 and 8",
                self.n, self.msm
            ));
        }
        if self.msm > 0 && (self.branches.is_empty() || !falls || !powers) {
            return refuse(format!(
                "branches must be strictly decreasing powers of two from 64 to 2, got {:?}",
                self.branches
            ));
        }
        if self.groups == 0 || !self.width.is_multiple_of(self.groups) {
            return refuse(format!(
                "groups must divide the width {}, got {}",
                self.width, self.groups
            ));
        }
        if self.kernel.is_multiple_of(2) || self.kernel > 15 {
            return refuse(format!("kernel must be odd and at most 15, got {}", self.kernel));
        }
        Ok(())
    }

    /// This configuration, for a part of a network that `b` builds. If there is no such network,
    /// the build ends with the reason, and the default stands in until then.
    pub(super) fn or_refuse(&self, b: &mut Builder<'_>) -> Self {
        match self.validate() {
            Ok(()) => self.clone(),
            Err(reason) => {
                b.refuse(reason);
                Self::default()
            }
        }
    }
}

/// Named networks: one for each task of the paper, and a small one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Width 16, n = 1: about a million parameters, for CPUs and for the built-in weights.
    Tiny,
    /// n = 3.
    Dehaze,
    /// n = 15.
    Derain,
    /// n = 3.
    Desnow,
    /// Motion deblurring, n = 13.
    Gopro,
    /// Defocus and RSBlur deblurring, n = 15.
    Defocus,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 6] =
        [Self::Tiny, Self::Dehaze, Self::Derain, Self::Desnow, Self::Gopro, Self::Defocus];

    fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Dehaze => "dehaze",
            Self::Derain => "derain",
            Self::Desnow => "desnow",
            Self::Gopro => "gopro",
            Self::Defocus => "defocus",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|preset| preset.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|preset| preset.name()).collect();
            format!("unknown preset {text:?}: expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_have_names() {
        for preset in Preset::ALL {
            ModelConfig::preset(preset).validate().unwrap();
            assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
        }
        assert!("huge".parse::<Preset>().unwrap_err().contains("tiny"));
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = |change: fn(&mut ModelConfig)| {
            let mut config = ModelConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(bad(|c| c.width = 0).contains("width"));
        assert!(bad(|c| c.groups = 5).contains("groups"));
        assert!(bad(|c| c.branches = vec![2, 4]).contains("branches"));
        assert!(bad(|c| c.kernel = 2).contains("kernel"));
    }

    #[test]
    fn inputs_are_multiples_of_32_from_64_on() {
        let config = ModelConfig::default();
        assert_eq!((config.multiple(), config.least_side()), (32, 64));
    }
}
