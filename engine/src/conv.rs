//! The description of a convolution that operations and backends share: settings, direction and
//! epilogue.

/// Settings of a convolution, alike for both axes.
///
/// ```
/// use engine::{Conv2dOptions, Tensor};
/// let x = Tensor::ones(&[1, 8, 32, 32], engine::DType::F32)?;
/// let weight = Tensor::ones(&[16, 4, 3, 3], engine::DType::F32)?;
/// let options = Conv2dOptions { stride: 2, padding: 1, groups: 2, ..Conv2dOptions::default() };
/// assert_eq!(x.conv2d(&weight, None, options)?.shape(), [1, 16, 16, 16]);
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// Input pixels from one kernel element to the next.
    pub dilation: usize,
    /// Independent parts that the channels are split into.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    /// Stride 1, no padding, no dilation, one group.
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

/// Whether a map with the weight's input channels becomes one with its output channels, or the
/// other way around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    InToOut,
    OutToIn,
}

impl Direction {
    /// The direction of the gradient.
    pub(crate) fn reversed(self) -> Self {
        match self {
            Self::InToOut => Self::OutToIn,
            Self::OutToIn => Self::InToOut,
        }
    }
}

/// The operations fused into a convolution, without a pass over memory of their own:
///
/// y = \[gelu\](conv(\[gelu\](x), w) + bias + residual) · \[gelu′(slope)\]
///
/// One description for all: plans choose it, and every backend computes it. `D` stands for an
/// operand: its index among the inputs, a tensor, a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epilogue<D> {
    /// Convolve the GELU of x.
    pub(crate) gelu_input: bool,
    /// A number for each output channel.
    pub(crate) bias: Option<D>,
    /// A map of the result's shape.
    pub(crate) residual: Option<D>,
    /// The map that the numbers before the GELU are written to, if they are saved for backward.
    pub(crate) pre_activation: Option<D>,
    /// Take the GELU of the sum.
    pub(crate) gelu: bool,
    /// A map of the result's shape, whose GELU's derivative the result is multiplied by.
    pub(crate) slope: Option<D>,
}

impl<D> Epilogue<D> {
    /// No epilogue.
    pub(crate) const NONE: Self = Self {
        gelu_input: false,
        bias: None,
        residual: None,
        pre_activation: None,
        gelu: false,
        slope: None,
    };

    /// The same with `f` of each operand.
    pub(crate) fn try_map<E, Error>(
        &self,
        mut f: impl FnMut(&D) -> Result<E, Error>,
    ) -> Result<Epilogue<E>, Error> {
        let &Self { gelu_input, gelu, .. } = self;
        let mut map = |operand: &Option<D>| operand.as_ref().map(&mut f).transpose();
        Ok(Epilogue {
            gelu_input,
            bias: map(&self.bias)?,
            residual: map(&self.residual)?,
            pre_activation: map(&self.pre_activation)?,
            gelu,
            slope: map(&self.slope)?,
        })
    }

    /// Whether there is anything to compute.
    pub(crate) fn is_some(&self) -> bool {
        let Self { gelu_input, bias, residual, gelu, pre_activation, slope } = self;
        let operands = [bias, residual, pre_activation, slope].iter().any(|x| x.is_some());
        operands || *gelu_input || *gelu
    }

    /// The same with `f` of each operand.
    pub(crate) fn map<E>(&self, mut f: impl FnMut(&D) -> E) -> Epilogue<E> {
        match self.try_map(|operand| Ok::<_, std::convert::Infallible>(f(operand))) {
            Ok(mapped) => mapped,
        }
    }

    /// The same with references to its operands.
    pub(crate) fn as_ref(&self) -> Epilogue<&D> {
        let &Self { gelu_input, gelu, .. } = self;
        Epilogue {
            gelu_input,
            bias: self.bias.as_ref(),
            residual: self.residual.as_ref(),
            pre_activation: self.pre_activation.as_ref(),
            gelu,
            slope: self.slope.as_ref(),
        }
    }
}
