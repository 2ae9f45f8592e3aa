//! The network of the paper: configuration, blocks, the network itself, its loss.
//!
//! | equation or figure | file |
//! |---|---|
//! | Fig. 3a, the U | [`network`](IrNext) |
//! | Fig. 3b and 3c, [ConvS](conv_s) and CNNBlock of [residual blocks](ResBlock) | `blocks` |
//! | 1, 2: [MSM](Msm) | `msm` |
//! | 3 to 7: [LAM](Lam), FM | `lam` |
//! | 8 to 10: the loss | [`loss`](dual_domain) |
//!
//! A network with fresh parameters, and its prediction; [`Model::read`] reads a weight file, and
//! [`shipped::load`](crate::shipped::load) the built-in weights:
//!
//! ```
//! use engine::{DType, Tensor};
//! use irnext::model::{Model, ModelConfig, Preset};
//!
//! let config = ModelConfig { width: 8, ..ModelConfig::preset(Preset::Tiny) };
//! let model = Model::new(&config, 0, DType::F32)?;
//! println!("{} parameters", model.params.count());
//! let frozen = model.freeze();
//! let degraded = Tensor::full(&[1, 3, 64, 96], 0.5, DType::F32)?;
//! assert_eq!(frozen.predict(&degraded)?.shape(), [1, 3, 64, 96]);
//! # Ok::<(), irnext::Error>(())
//! ```

mod blocks;
mod config;
mod detect;
mod file;
mod lam;
mod loss;
mod msm;
mod network;

pub use blocks::{ResBlock, conv_s};
pub use config::{ModelConfig, Pooling, Preset, TapActivation, Variant};
pub use detect::strip_prefix;
pub use file::TASK;
pub use lam::Lam;
pub use loss::{Loss, LossConfig, Spectrum, dual_domain};
pub use msm::Msm;
pub use network::IrNext;

use crate::compute::{Compute, Precision};
use crate::error::Result;
use engine::{DType, Device, Numerics, Replay, Strips, Tensor};
use nn::{Context, Frozen, Params};
use std::sync::{Arc, Mutex, PoisonError};

/// A network and its parameters.
pub struct Model {
    /// The configuration of the network.
    pub config: ModelConfig,
    /// The structure of the network.
    pub network: Arc<IrNext>,
    /// Its parameters and buffers.
    pub params: Params,
}

impl Model {
    /// A network with fresh parameters, drawn from `seed`.
    pub fn new(config: &ModelConfig, seed: u64, dtype: DType) -> Result<Self> {
        config.validate()?;
        let (network, params) = Params::build(seed, dtype, |b| Ok(IrNext::new(b, config)))?;
        Ok(Self { config: config.clone(), network: Arc::new(network), params })
    }

    /// The same model on the device of `compute`, which is checked first.
    pub fn on(self, compute: Compute) -> Result<Self> {
        compute.check()?;
        Ok(Self { params: self.params.to_device(compute.device)?, ..self })
    }

    /// The model for predictions. Its values no longer change, so everything that depends on them
    /// alone is computed once.
    pub fn freeze(&self) -> FrozenModel {
        self.frozen(self.params.clone())
    }

    /// Like [`Model::freeze`], but with other values for its parameters, in their order: a moving
    /// average.
    pub fn freeze_with(&self, values: Vec<Tensor>) -> Result<FrozenModel> {
        Ok(self.frozen(self.params.with_values(values)?))
    }

    fn frozen(&self, params: Params) -> FrozenModel {
        FrozenModel {
            config: self.config.clone(),
            network: self.network.clone(),
            device: params.entries().first().map_or(Device::Cpu, |entry| entry.value.device()),
            frozen: Frozen::new(&params, None, Numerics::default()),
            params,
            replay: Mutex::default(),
        }
    }
}

/// A model for predictions. Threads may share it.
pub struct FrozenModel {
    /// The configuration of the network.
    pub config: ModelConfig,
    network: Arc<IrNext>,
    params: Params,
    frozen: Frozen,
    device: Device,
    replay: Mutex<Replay>,
}

impl FrozenModel {
    /// The same model, computing in `precision`.
    pub fn computing_in(self, precision: Precision) -> Self {
        let frozen = Frozen::new(&self.params, precision.dtype(), precision.numerics());
        // Earlier recordings are in another precision.
        Self { frozen, replay: Mutex::default(), ..self }
    }

    /// The same model in single precision, which shares the values of this one.
    pub fn in_f32(&self) -> Self {
        Self {
            config: self.config.clone(),
            network: self.network.clone(),
            params: self.params.clone(),
            frozen: Frozen::new(&self.params, None, Numerics::default()),
            device: self.device,
            replay: Mutex::default(),
        }
    }

    /// The restored image, at full size, for a degraded `[N, 3, H, W]`, on the model's device; see
    /// [`IrNext::predict`].
    ///
    /// On a GPU the pass is recorded when a shape comes a second time in a row, and replayed from
    /// then on.
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.to_device(self.device)?;
        let pass = |x: Vec<Tensor>| self.frozen.run(x, |cx, x| self.pass(cx, x));
        if self.device == Device::Cpu {
            return Ok(pass(vec![x])?.swap_remove(0));
        }
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = replay.run(&[x], |x| pass(x.to_vec()))?;
        // The next pass overwrites the memory of the recording.
        Ok(outputs[0].copy()?)
    }

    /// At most this many bytes are taken at once to predict an image of this size, beside the
    /// parameters.
    pub fn peak_bytes(&self, width: usize, height: usize) -> Result<usize> {
        Ok(self.frozen.peak_bytes(&[self.blank(width, height)?], |cx, x| self.pass(cx, x))?)
    }

    /// The prediction for an image of this size in strips of rows: the quickest way that takes at
    /// most `bytes` at once, or the one that takes least if that is more
    /// ([`Strips::peak_bytes`]). It is that of [`FrozenModel::predict`] but for rounding. What
    /// [`FrozenModel::predict`] has recorded on a GPU is forgotten, for its memory.
    pub fn strips(&self, width: usize, height: usize, bytes: usize) -> Result<Strips> {
        let image = self.blank(width, height)?;
        *self.replay.lock().unwrap_or_else(PoisonError::into_inner) = Replay::default();
        Ok(self.frozen.strips(&image, bytes, |cx, x| self.pass(cx, x))?)
    }

    /// The device that predicts.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// An image of this size that takes no memory, for plans.
    fn blank(&self, width: usize, height: usize) -> Result<Tensor> {
        let pixel = Tensor::zeros(&[1, 3, 1, 1], DType::F32)?.to_device(self.device)?;
        Ok(pixel.broadcast_to(&[1, 3, height, width])?)
    }

    fn pass(&self, cx: &Context, x: &[Tensor]) -> nn::Result<Vec<Tensor>> {
        let y = self.network.predict(cx, &cx.to_compute(&x[0])?)?;
        Ok(vec![if y.dtype() == x[0].dtype() { y } else { y.to_dtype(x[0].dtype())? }])
    }
}

#[cfg(test)]
mod tests;
