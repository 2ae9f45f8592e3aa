//! The device and the precision of a computation.

use crate::error::{Error, Result};
use engine::{DType, Device, Numerics};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The precision of a network's products and sums. Weights, losses and the optimizer's state are
/// always in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Single precision, whose products the GPU rounds to 10 bits of mantissa first (NVIDIA's
    /// TF32).
    Tf32,
    /// bfloat16, summed in f32.
    Bf16,
    /// Half precision, summed in f32; training scales the loss so that small gradients survive.
    F16,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::Bf16, Self::F16];

    /// The name in commands and files: `f32`, `tf32`, `bf16`, `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// The dtype of activations, if not that of the weights.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 | Self::Tf32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }

    /// The rounding of f32 products that a GPU may do.
    pub fn numerics(self) -> Numerics {
        Numerics { tf32: self == Self::Tf32, ..Numerics::default() }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| Error::Config {
            reason: format!(
                "unknown precision \"{name}\"; the precisions are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        })
    }
}

/// A device and a precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compute {
    /// `cpu`, `cuda` or `cuda:1`.
    #[serde(with = "device")]
    pub device: Device,
    /// f32, tf32, bf16 or f16; the CPU computes in f32.
    pub precision: Precision,
}

impl Compute {
    /// Checks that the device can be used.
    ///
    /// # Errors
    /// If it cannot, with advice; if it does not compute in this precision.
    pub fn check(self) -> Result<()> {
        if self.device == Device::Cpu && self.precision != Precision::F32 {
            let reason =
                format!("the CPU computes in f32; {} needs a GPU (--device cuda)", self.precision);
            return Err(Error::Config { reason });
        }
        Ok(self.device.check()?)
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.device, self.precision)
    }
}

/// A device as its name.
mod device {
    use engine::Device;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        device: &Device,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(device)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Device, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_refuses_what_it_does_not_compute_in() {
        let compute = |precision| Compute { device: Device::Cpu, precision };
        compute(Precision::F32).check().unwrap();
        for precision in [Precision::Tf32, Precision::Bf16, Precision::F16] {
            let message = compute(precision).check().unwrap_err().to_string();
            assert_eq!(
                message,
                format!("the CPU computes in f32; {precision} needs a GPU (--device cuda)")
            );
        }
    }

    #[test]
    fn display_and_parse_round_trip() {
        let compute = Compute { device: Device::Cuda(1), precision: Precision::Bf16 };
        let text = toml::to_string(&compute).unwrap();
        assert_eq!(text, "device = \"cuda:1\"\nprecision = \"bf16\"\n");
        assert_eq!(toml::from_str::<Compute>(&text).unwrap(), compute);
        assert!(toml::from_str::<Compute>("device = \"gpu\"").is_err());
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert!("f8".parse::<Precision>().unwrap_err().to_string().contains("f32, tf32"));
    }
}
