//! The network of the paper: configuration, blocks, the network itself, its loss.
//!
//! | equation or figure | file |
//! |---|---|
//! | Fig. 3a, the U | [`network`](IrNext) |
//! | Fig. 3b and 3c, [ConvS](conv_s) and CNNBlock of [residual blocks](ResBlock) | `blocks` |
//! | 1, 2: [MSM](Msm) | `msm` |
//! | 3 to 7: [LAM](Lam), FM | `lam` |
//! | 8 to 10: the loss | [`loss`](dual_domain) |

mod blocks;
mod config;
mod file;
mod lam;
mod loss;
mod msm;
mod network;
mod recognise;

pub use blocks::{ResBlock, conv_s};
pub use config::{ModelConfig, Pooling, Preset, TapActivation, Variant};
pub use file::TASK;
pub use lam::Lam;
pub use loss::{Loss, LossConfig, Spectrum, dual_domain};
pub use msm::Msm;
pub use network::IrNext;
pub use recognise::strip_prefix;

use crate::error::Result;
use engine::{DType, Tensor};
use nn::{Context, Frozen, Params};
use std::sync::Arc;

/// A network and its numbers.
pub struct Model {
    /// Which network.
    pub config: ModelConfig,
    /// Its structure.
    pub network: IrNext,
    /// Its parameters and buffers.
    pub params: Params,
}

impl Model {
    /// A network with fresh parameters, drawn from `seed`.
    pub fn new(config: &ModelConfig, seed: u64, dtype: DType) -> Result<Self> {
        config.validate()?;
        let (network, params) = Params::build(seed, dtype, |b| Ok(IrNext::new(b, config)))?;
        Ok(Self { config: config.clone(), network, params })
    }

    /// The model for use: its values will not change, so what can be computed of them is computed once.
    pub fn freeze(&self) -> FrozenModel<'_> {
        self.freeze_with(self.params.values())
    }

    /// As [`Model::freeze`], with other values for its parameters, in their order: a moving average.
    pub fn freeze_with(&self, values: Vec<Tensor>) -> FrozenModel<'_> {
        FrozenModel { config: &self.config, network: &self.network, values: Arc::new(Frozen::new(values)) }
    }
}

/// A model in use; threads may share it.
pub struct FrozenModel<'a> {
    /// Which network.
    pub config: &'a ModelConfig,
    network: &'a IrNext,
    values: Arc<Frozen>,
}

impl FrozenModel<'_> {
    /// The restored image, at full size, for a degraded `[N, 3, H, W]`; see [`IrNext::predict`].
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.network.predict(&Context::frozen(&self.values), x)?)
    }
}

#[cfg(test)]
mod tests;
