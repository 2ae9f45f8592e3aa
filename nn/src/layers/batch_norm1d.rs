//! Batch normalization of features and of sequences.

use super::{BatchNorm2d, Module, in_layer};
use crate::{Builder, Context, Result};
use engine::Tensor;

/// Batch normalization (Ioffe and Szegedy 2015) of `[N, C]` over N, or of `[N, C, L]` over N and L;
/// all else, the names of the entries included, as in [`BatchNorm2d`].
///
/// ```
/// use engine::{DType, Tape, Tensor};
/// use nn::layers::{BatchNorm1d, Module};
/// use nn::{Context, Params};
/// let (norm, params) = Params::build(0, DType::F64, |b| Ok(BatchNorm1d::new(b, 2)))?;
/// let features = Tensor::from_slice(&[0.0, 5.0, 200.0, 5.0], &[2, 2])?;
/// let y = norm.forward(&Context::training(&params, &Tape::new()), &features)?.to_f64_vec()?;
/// assert!((y[0] + 1.0).abs() < 1e-8 && (y[2] - 1.0).abs() < 1e-8);
/// assert_eq!((y[1], y[3]), (0.0, 0.0));
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm1d {
    path: String,
    maps: BatchNorm2d,
}

impl BatchNorm1d {
    /// A layer for `channels` features; weight 1, bias 0, running mean 0 and variance 1.
    pub fn new(b: &mut Builder<'_>, channels: usize) -> Self {
        Self { path: b.prefix().to_string(), maps: BatchNorm2d::new(b, channels) }
    }
}

impl Module for BatchNorm1d {
    /// # Errors
    /// If `x` has other dimensions or another number of channels; in training, if there is only one
    /// value for each channel.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let as_maps = match *x.shape() {
            [n, channels] => [n, channels, 1, 1],
            [n, channels, length] => [n, channels, length, 1],
            ref shape => {
                let message = format!("expected [N, C] or [N, C, L], got {shape:?}");
                return in_layer(&self.path, Err(engine::Error::shape("batch_norm", message)));
            }
        };
        Ok(self.maps.forward(cx, &x.reshape(&as_maps)?)?.reshape(x.shape())?)
    }
}
