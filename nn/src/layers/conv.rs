//! Convolutions with their parameters.

use super::init::fan_bound;
use super::{Module, in_layer, require_dtype};
use crate::{Builder, Context, Cost, LayerKind, ParamId, Result};
use engine::{Conv2dOptions, Tensor};

/// A convolution of `[N, in, H, W]` maps with a k×k kernel. Parameters: `weight`
/// `[out, in/groups, k, k]` and `bias` `[out]`.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{Conv2d, Module};
/// use nn::{Context, Params};
/// let build = |b: &mut nn::Builder<'_>| {
///     Ok([
///         Conv2d::new(&mut b.at("valid"), 3, 8, 3),
///         Conv2d::new(&mut b.at("same"), 3, 8, 3).padding(1),
///         Conv2d::new(&mut b.at("half"), 3, 8, 3).padding(1).stride(2),
///     ])
/// };
/// let ([valid, same, half], params) = Params::build(0, DType::F32, build)?;
/// let (cx, x) = (Context::inference(&params), Tensor::zeros(&[1, 3, 32, 32], DType::F32)?);
/// assert_eq!(valid.forward(&cx, &x)?.shape(), [1, 8, 30, 30]);
/// assert_eq!(same.forward(&cx, &x)?.shape(), [1, 8, 32, 32]);
/// assert_eq!(half.forward(&cx, &x)?.shape(), [1, 8, 16, 16]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Conv2d {
    path: String,
    weight: ParamId,
    bias: Option<ParamId>,
    options: Conv2dOptions,
}

impl Conv2d {
    /// A convolution from `c_in` to `c_out` channels, with PyTorch's defaults: stride 1, no
    /// padding, a bias. [`Conv2d::stride`], [`Conv2d::padding`] and [`Conv2d::dilation`] change
    /// them. Groups determine the shape of the weight: [`Conv2d::with_options`] takes them.
    ///
    /// Initialized as in PyTorch (He et al. 2015 with a = √5): weight and bias uniform within
    /// 1/√(fan-in).
    pub fn new(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Self {
        Self::with_options(b, c_in, c_out, kernel, true, Conv2dOptions::default())
    }

    /// Like [`Conv2d::new`], but without a bias.
    ///
    /// ```
    /// use nn::{Params, layers::Conv2d};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Conv2d::without_bias(b, 3, 8, 3));
    /// let (_conv, params) = Params::build(0, engine::DType::F32, build)?;
    /// assert_eq!(params.count(), 8 * 3 * 3 * 3);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn without_bias(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Self {
        Self::with_options(b, c_in, c_out, kernel, false, Conv2dOptions::default())
    }

    /// A convolution with all settings given. If the groups do not divide the channels, or kernel,
    /// stride or dilation is 0, the build ends with an error.
    ///
    /// ```
    /// use engine::{Conv2dOptions, DType};
    /// use nn::{Params, layers::Conv2d};
    /// let depthwise = |groups| {
    ///     let options = Conv2dOptions { padding: 1, groups, ..Conv2dOptions::default() };
    ///     Params::build(0, DType::F32, |b| Ok(Conv2d::with_options(b, 8, 8, 3, true, options)))
    /// };
    /// let (_conv, params) = depthwise(8)?;
    /// assert_eq!(params.entries()[0].value.shape(), [8, 1, 3, 3]);
    /// assert!(depthwise(3).is_err());
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn with_options(
        b: &mut Builder<'_>,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        bias: bool,
        options: Conv2dOptions,
    ) -> Self {
        require_steps(b, kernel, options);
        let [per_group, _] = per_group(b, [c_in, c_out], options.groups);
        let bound = fan_bound(taps_of(per_group, kernel));
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform("weight", &[c_out, per_group, kernel, kernel], bound),
            bias: bias.then(|| b.uniform("bias", &[c_out], bound)),
            options,
        }
    }

    /// This convolution with another stride, of both dimensions.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.options.stride = stride;
        self
    }

    /// This convolution with `padding` zeros at each of the four sides. With stride 1 an odd kernel
    /// keeps the size of the map for kernel / 2.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.options.padding = padding;
        self
    }

    /// This convolution with kernel elements that are `dilation` pixels apart, of both dimensions.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::layers::{Conv2d, Module};
    /// use nn::{Context, Params};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Conv2d::new(b, 1, 1, 3).dilation(4));
    /// let (conv, params) = Params::build(0, DType::F32, build)?;
    /// let x = Tensor::zeros(&[1, 1, 9, 10], DType::F32)?;
    /// // The kernel covers 9×9 pixels.
    /// assert_eq!(conv.forward(&Context::inference(&params), &x)?.shape(), [1, 1, 1, 2]);
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.options.dilation = dilation;
        self
    }
}

impl Module for Conv2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) =
            (cx.param(self.weight)?, self.bias.map(|bias| cx.param(bias)).transpose()?);
        require_dtype(&self.path, x, &weight)?;
        let y = in_layer(&self.path, x.conv2d(&weight, bias.as_ref(), self.options))?;
        cx.report(|| {
            let (kernel, fan_in) = taps(&weight);
            let kind = LayerKind::Conv2d { kernel, fan_in, bias: bias.is_some() };
            let parameters = weight.numel() + bias.as_ref().map_or(0, Tensor::numel);
            Cost::new(&self.path, kind, x, &y).with_parameters(parameters)
        });
        Ok(y)
    }
}

/// A transposed convolution with a k×k kernel. Parameters: `weight` `[in, out/groups, k, k]` and
/// `bias` `[out]`.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{ConvTranspose2d, Module};
/// use nn::{Context, Params};
/// let build = |b: &mut nn::Builder<'_>| Ok(ConvTranspose2d::new(b, 8, 4, 4).stride(2).padding(1));
/// let (double, params) = Params::build(0, DType::F32, build)?;
/// let x = Tensor::zeros(&[1, 8, 16, 16], DType::F32)?;
/// let y = double.forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.shape(), [1, 4, 32, 32]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    path: String,
    weight: ParamId,
    bias: Option<ParamId>,
    options: Conv2dOptions,
}

impl ConvTranspose2d {
    /// A transposed convolution from `c_in` to `c_out` channels, with PyTorch's defaults: stride 1,
    /// no padding, a bias. [`ConvTranspose2d::stride`] and [`ConvTranspose2d::padding`] change
    /// them.
    ///
    /// Initialized as in PyTorch: within 1/√(c_out·k²), with the fan-in of the weight's second
    /// dimension.
    pub fn new(b: &mut Builder<'_>, c_in: usize, c_out: usize, kernel: usize) -> Self {
        Self::with_options(b, c_in, c_out, kernel, true, Conv2dOptions::default())
    }

    /// A transposed convolution with all settings given; `options` are those of the convolution it
    /// transposes. If the groups do not divide the channels, or kernel, stride or dilation is 0,
    /// the build ends with an error.
    ///
    /// ```
    /// use engine::{Conv2dOptions, DType, Tensor};
    /// use nn::layers::{ConvTranspose2d, Module};
    /// use nn::{Context, Params};
    /// let options = Conv2dOptions { stride: 2, groups: 4, ..Conv2dOptions::default() };
    /// let (double, params) = Params::build(0, DType::F32, |b| {
    ///     Ok(ConvTranspose2d::with_options(b, 8, 4, 2, false, options))
    /// })?;
    /// assert_eq!(params.count(), 8 * 1 * 2 * 2);
    /// let x = Tensor::zeros(&[1, 8, 16, 16], DType::F32)?;
    /// let y = double.forward(&Context::inference(&params), &x)?;
    /// assert_eq!(y.shape(), [1, 4, 32, 32]);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn with_options(
        b: &mut Builder<'_>,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        bias: bool,
        options: Conv2dOptions,
    ) -> Self {
        require_steps(b, kernel, options);
        let [_, per_group] = per_group(b, [c_in, c_out], options.groups);
        let bound = fan_bound(taps_of(per_group, kernel));
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform("weight", &[c_in, per_group, kernel, kernel], bound),
            bias: bias.then(|| b.uniform("bias", &[c_out], bound)),
            options,
        }
    }

    /// This layer with another stride, of both dimensions.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.options.stride = stride;
        self
    }

    /// This layer without `padding` rows or columns of the result at each of the four sides.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.options.padding = padding;
        self
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) =
            (cx.param(self.weight)?, self.bias.map(|bias| cx.param(bias)).transpose()?);
        require_dtype(&self.path, x, &weight)?;
        let y = in_layer(&self.path, x.conv_transpose2d(&weight, bias.as_ref(), self.options))?;
        cx.report(|| {
            let (kernel, fan_out) = taps(&weight);
            let kind = LayerKind::ConvTranspose2d { kernel, fan_out, bias: bias.is_some() };
            let parameters = weight.numel() + bias.as_ref().map_or(0, Tensor::numel);
            Cost::new(&self.path, kind, x, &y).with_parameters(parameters)
        });
        Ok(y)
    }
}

/// The sides of a kernel, and the number of weights that one element meets: an output element of a
/// convolution, an input element of a transposed one. Those are all dimensions of `weight` but the
/// first.
fn taps(weight: &Tensor) -> ([usize; 2], usize) {
    let shape = weight.shape();
    ([shape[2], shape[3]], shape[1..].iter().product())
}

/// The number of taps of a kernel over `channels` channels.
fn taps_of(channels: usize, kernel: usize) -> usize {
    channels.saturating_mul(kernel).saturating_mul(kernel)
}

/// Refuses a kernel without taps, and steps of no length.
fn require_steps(b: &mut Builder<'_>, kernel: usize, options: Conv2dOptions) {
    let settings = [("kernel", kernel), ("stride", options.stride), ("dilation", options.dilation)];
    for (name, _) in settings.into_iter().filter(|&(_, value)| value == 0) {
        b.refuse(format!("the {name} must be at least 1, got 0"));
    }
}

/// The number of channels in each group, for both of `channels`.
fn per_group(b: &mut Builder<'_>, channels: [usize; 2], groups: usize) -> [usize; 2] {
    if groups == 0 || channels.iter().any(|count| count % groups != 0) {
        b.refuse(format!("{groups} groups do not divide {channels:?} channels"));
    }
    channels.map(|count| count / groups.max(1))
}
