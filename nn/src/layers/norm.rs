//! Normalization layers.

use super::{Module, in_layer, require_dtype};
use crate::{Builder, Context, Cost, LayerKind, ParamId, Result};
use engine::{Tensor, counted};

/// PyTorch's default for all of them.
const EPS: f64 = 1e-5;

/// PyTorch's default: the weight of a batch's statistics in the running ones.
const MOMENTUM: f64 = 0.1;

/// Batch normalization (Ioffe and Szegedy 2015) of `[N, C, H, W]` over N, H and W; over all parts
/// of a batch that [ranks share](Context::with_ranks).
///
/// Parameters: `weight` and `bias`; buffers: `running_mean` and `running_var`; all `[C]`.
///
/// ```
/// use engine::{DType, Tape, Tensor};
/// use nn::layers::{BatchNorm2d, Module};
/// use nn::{Context, Params};
/// let (norm, mut params) = Params::build(0, DType::F64, |b| Ok(BatchNorm2d::new(b, 1)))?;
/// let x = Tensor::from_slice(&[0.0, 200.0], &[2, 1, 1, 1])?;
/// let (tape, running_mean) = (Tape::new(), 2);
/// let cx = Context::training(&params, &tape);
/// let y = norm.forward(&cx, &x)?.to_f64_vec()?;
/// assert!((y[0] + 1.0).abs() < 1e-8 && (y[1] - 1.0).abs() < 1e-8);
/// // The layer changes nothing: the pass holds the new running statistics.
/// cx.finish().update_buffers(&mut params)?;
/// assert_eq!(params.values()[running_mean].item()?, 0.9 * 0.0 + 0.1 * 100.0);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    path: String,
    affine: Affine,
    running_mean: ParamId,
    running_var: ParamId,
}

impl BatchNorm2d {
    /// A layer for maps of `channels` channels; weight 1, bias 0, running mean 0 and variance 1.
    pub fn new(b: &mut Builder<'_>, channels: usize) -> Self {
        Self {
            path: b.prefix().to_string(),
            affine: Affine::new(b, &[channels]),
            running_mean: b.buffer("running_mean", &[channels], 0.0),
            running_var: b.buffer("running_var", &[channels], 1.0),
        }
    }
}

impl Module for BatchNorm2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.affine.params(cx, &self.path, x)?;
        let (mean, var) = (cx.buffer(self.running_mean)?, cx.buffer(self.running_var)?);
        let y = if cx.is_training() {
            let trained = x.batch_norm_train_among(&weight, &bias, EPS, cx.ranks());
            let (y, batch) = in_layer(&self.path, trained)?;
            let blend = |running: &Tensor, new: &Tensor| {
                running.scale(1.0 - MOMENTUM)?.add(&new.scale(MOMENTUM)?)
            };
            cx.update_buffer(self.running_mean, blend(&mean, &batch.mean)?);
            cx.update_buffer(self.running_var, blend(&var, &batch.var)?);
            y
        } else {
            in_layer(&self.path, x.batch_norm_eval(&mean, &var, &weight, &bias, EPS))?
        };
        cx.report(|| {
            Cost::new(&self.path, LayerKind::BatchNorm, x, &y).with_parameters(2 * weight.numel())
        });
        Ok(y)
    }
}

/// Instance normalization (Ulyanov et al. 2016) of `[N, C, H, W]` over H and W.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{InstanceNorm2d, Module};
/// use nn::{Context, Params};
/// let build = |b: &mut nn::Builder<'_>| Ok(InstanceNorm2d::affine(b, 1));
/// let (affine, params) = Params::build(0, DType::F64, build)?;
/// let cx = Context::inference(&params);
/// let x = Tensor::from_slice(&[0.0, 200.0], &[1, 1, 1, 2])?;
/// let y = InstanceNorm2d::new().forward(&cx, &x)?;
/// assert!((y.to_f64_vec()?[1] - 1.0).abs() < 1e-8);
/// // The scale starts at 1, and the shift at 0.
/// assert_eq!(affine.forward(&cx, &x)?.to_f64_vec()?, y.to_f64_vec()?);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InstanceNorm2d {
    path: String,
    affine: Option<Affine>,
}

impl InstanceNorm2d {
    /// A layer without parameters, as PyTorch's is by default.
    #[expect(clippy::new_without_default, reason = "the other layers have no default either")]
    pub fn new() -> Self {
        Self { path: String::new(), affine: None }
    }

    /// A layer for maps of `channels` channels with a trained scale and shift, PyTorch's
    /// `affine=True`. Parameters: `weight`, 1 at first, and `bias`, 0, both `[C]`.
    pub fn affine(b: &mut Builder<'_>, channels: usize) -> Self {
        Self { path: b.prefix().to_string(), affine: Some(Affine::new(b, &[channels])) }
    }
}

impl Module for InstanceNorm2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = match &self.affine {
            Some(affine) => affine.params(cx, &self.path, x)?,
            None => {
                // One number each, seen as many: the channels may be more than fit into memory.
                let channels = x.dim("instance_norm", 1)?;
                let all = |value| x.constant(&[value], &[1])?.broadcast_to(&[channels]);
                (all(1.0)?, all(0.0)?)
            }
        };
        let y = in_layer(&self.path, x.instance_norm(&weight, &bias, EPS))?;
        cx.report(|| {
            let parameters = if self.affine.is_some() { 2 * weight.numel() } else { 0 };
            Cost::new(&self.path, LayerKind::InstanceNorm, x, &y).with_parameters(parameters)
        });
        Ok(y)
    }
}

/// Layer normalization (Ba et al. 2016): every example brought to mean 0 and variance 1 over the
/// last dimensions, then scaled and shifted. Parameters: `weight`, 1 at first, and `bias`, 0, both
/// of the shape of those dimensions.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{LayerNorm, Module};
/// use nn::{Context, Params};
/// let (norm, params) = Params::build(0, DType::F64, |b| Ok(LayerNorm::new(b, &[2])))?;
/// let x = Tensor::from_slice(&[0.0, 200.0, 5.0, 5.0], &[2, 2])?;
/// let y = norm.forward(&Context::inference(&params), &x)?.to_f64_vec()?;
/// assert!((y[0] + 1.0).abs() < 1e-8 && (y[1] - 1.0).abs() < 1e-8);
/// assert_eq!(y[2..], [0.0, 0.0]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerNorm {
    path: String,
    affine: Affine,
}

impl LayerNorm {
    /// A layer for tensors whose last dimensions are `shape`.
    pub fn new(b: &mut Builder<'_>, shape: &[usize]) -> Self {
        Self { path: b.prefix().to_string(), affine: Affine::new(b, shape) }
    }
}

impl Module for LayerNorm {
    /// # Errors
    /// If the last dimensions of `x` are others, or have fewer than two elements.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        const NAME: &str = "layer_norm";
        let (weight, bias) = self.affine.params(cx, &self.path, x)?;
        let Some(leading) = x.shape().strip_suffix(weight.shape()) else {
            let (expected, got) = (weight.shape(), x.shape());
            let message = format!("expected {expected:?} as the last dimensions of {got:?}");
            return in_layer(&self.path, Err(engine::Error::shape(NAME, message)));
        };
        let rows = leading.iter().product();
        let standard = in_layer(&self.path, standardize(NAME, x, rows, weight.numel()))?;
        let y = standard.mul(&weight)?.add(&bias)?;
        cx.report(|| {
            Cost::new(&self.path, LayerKind::LayerNorm, x, &y).with_parameters(2 * weight.numel())
        });
        Ok(y)
    }
}

/// Group normalization (Wu and He 2018) of `[N, C, …]`: every group of channels of every example
/// brought to mean 0 and variance 1, then each channel scaled and shifted. Parameters: `weight`, 1
/// at first, and `bias`, 0, both `[C]`.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{GroupNorm, Module};
/// use nn::{Context, Params};
/// let (norm, params) = Params::build(0, DType::F32, |b| Ok(GroupNorm::new(b, 4, 32)))?;
/// let maps = Tensor::zeros(&[2, 32, 8, 8], DType::F32)?;
/// assert_eq!(norm.forward(&Context::inference(&params), &maps)?.shape(), [2, 32, 8, 8]);
/// // The groups must divide the channels.
/// assert!(Params::build(0, DType::F32, |b| Ok(GroupNorm::new(b, 5, 32))).is_err());
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GroupNorm {
    path: String,
    groups: usize,
    affine: Affine,
}

impl GroupNorm {
    /// A layer for `channels` channels in `groups` groups. If the groups do not divide the
    /// channels, the build ends with an error.
    pub fn new(b: &mut Builder<'_>, groups: usize, channels: usize) -> Self {
        if groups == 0 || !channels.is_multiple_of(groups) {
            b.refuse(format!("{groups} groups do not divide {}", counted(channels, "channel")));
        }
        Self { path: b.prefix().to_string(), groups, affine: Affine::new(b, &[channels]) }
    }
}

impl Module for GroupNorm {
    /// # Errors
    /// If `x` has another number of channels, or groups of fewer than two elements.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        const NAME: &str = "group_norm";
        let (weight, bias) = self.affine.params(cx, &self.path, x)?;
        let channels = weight.numel();
        if x.rank() < 2 || x.shape()[1] != channels {
            let message = format!("expected [N, {channels}, …], got {:?}", x.shape());
            return in_layer(&self.path, Err(engine::Error::shape(NAME, message)));
        }
        let per_channel = [&[channels], &vec![1; x.rank() - 2][..]].concat();
        let elements = x.shape()[1..].iter().product::<usize>() / self.groups.max(1);
        let rows = x.shape()[0].saturating_mul(self.groups);
        let standard = in_layer(&self.path, standardize(NAME, x, rows, elements))?;
        let y = standard.mul(&weight.reshape(&per_channel)?)?.add(&bias.reshape(&per_channel)?)?;
        cx.report(|| {
            Cost::new(&self.path, LayerKind::GroupNorm, x, &y).with_parameters(2 * channels)
        });
        Ok(y)
    }
}

/// A trained scale and shift.
#[derive(Clone, Debug)]
struct Affine {
    weight: ParamId,
    bias: ParamId,
}

impl Affine {
    /// The scale 1 and the shift 0.
    fn new(b: &mut Builder<'_>, shape: &[usize]) -> Self {
        Self { weight: b.constant("weight", shape, 1.0), bias: b.constant("bias", shape, 0.0) }
    }

    /// Both, for the input `x` of the layer at `path`.
    fn params(&self, cx: &Context, path: &str, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let (weight, bias) = (cx.param(self.weight)?, cx.param(self.bias)?);
        require_dtype(path, x, &weight)?;
        Ok((weight, bias))
    }
}

/// `x` with each of its `rows` pieces of `size` elements brought to mean 0 and variance 1: an
/// instance normalization of maps with one channel.
fn standardize(op: &'static str, x: &Tensor, rows: usize, size: usize) -> Result<Tensor> {
    if size < 2 {
        let message = format!("a single element has no variance, got {:?}", x.shape());
        return Err(engine::Error::shape(op, message).into());
    }
    let (one, zero) = (x.constant(&[1.0], &[1])?, x.constant(&[0.0], &[1])?);
    let maps = x.reshape(&[rows, 1, size, 1])?.instance_norm(&one, &zero, EPS)?;
    Ok(maps.reshape(x.shape())?)
}
