//! The dual-domain loss (equations 8 to 10): L1 between images and between their spectra, at three
//! scales.

use engine::{FrequencyNorm, Tensor};
use nn::Result;
use nn::loss::l1;
use serde::{Deserialize, Serialize};

/// How the magnitude of a complex difference is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spectrum {
    /// As the published code: the mean of |re| and |im|, which is Σ(|re| + |im|)/2P.
    Stacked,
    /// As equation 9: the modulus, Σ|F|/P.
    Modulus,
}

/// The loss's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// λ of equation 10.
    pub lambda: f64,
    /// How the frequency term measures magnitudes.
    pub spectrum: Spectrum,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { lambda: 0.1, spectrum: Spectrum::Stacked }
    }
}

/// The loss and its parts, each a number on the tape.
pub struct Loss {
    /// Equation 8.
    pub spatial: Tensor,
    /// Its terms at quarter, half and full size.
    pub spatial_scales: Vec<Tensor>,
    /// Equation 9.
    pub frequency: Tensor,
    /// Its terms at quarter, half and full size.
    pub frequency_scales: Vec<Tensor>,
    /// Equation 10: spatial + λ·frequency.
    pub total: Tensor,
}

/// Compares the predictions at quarter, half and full size with `target` `[N, 3, H, W]`,
/// downsampled bilinearly for the smaller two (corners not aligned, no antialiasing).
pub fn dual_domain(predictions: &[Tensor; 3], target: &Tensor, config: LossConfig) -> Result<Loss> {
    let norm = match config.spectrum {
        Spectrum::Stacked => FrequencyNorm::Stacked,
        Spectrum::Modulus => FrequencyNorm::Modulus,
    };
    let (mut spatial_scales, mut frequency_scales) = (Vec::new(), Vec::new());
    for prediction in predictions {
        let target = target.bilinear(prediction.shape()[2], prediction.shape()[3], false)?;
        spatial_scales.push(l1(prediction, &target)?);
        frequency_scales.push(prediction.frequency_l1(&target, norm)?);
    }
    let sum = |terms: &[Tensor]| terms[0].add(&terms[1])?.add(&terms[2]);
    let (spatial, frequency) = (sum(&spatial_scales)?, sum(&frequency_scales)?);
    let total = spatial.add(&frequency.scale(config.lambda)?)?;
    Ok(Loss { spatial, spatial_scales, frequency, frequency_scales, total })
}
