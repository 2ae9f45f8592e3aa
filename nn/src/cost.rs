//! The costs of layers, recorded during a forward pass.

use crate::activation::Activation;
use engine::Tensor;
use std::fmt;

/// One use of a layer: its kind, the shapes, and the number of parameters.
///
/// [`Context::count_costs`](crate::Context::count_costs) shows how to get one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// The layer's dotted path; empty for layers without parameters.
    pub path: String,
    /// The kind of layer.
    pub kind: LayerKind,
    /// Shape of the input.
    pub input: Vec<usize>,
    /// Shape of the output.
    pub output: Vec<usize>,
    /// The number of trained parameters.
    pub parameters: usize,
}

/// The kind of a layer, with the settings that its cost depends on besides the shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerKind {
    /// A convolution.
    Conv2d {
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// The number of products in each output element.
        fan_in: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// A transposed convolution.
    ConvTranspose2d {
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// The number of products with each input element.
        fan_out: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// A linear map of the last dimension.
    Linear {
        /// The number of products in each output element.
        fan_in: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Rows of a table.
    Embedding,
    /// A filter computed from the input, shared by the channels of a group.
    DynamicFilter {
        /// Height and width of the filter.
        kernel: [usize; 2],
    },
    /// Batch normalization.
    BatchNorm,
    /// Instance normalization.
    InstanceNorm,
    /// Layer normalization.
    LayerNorm,
    /// Group normalization.
    GroupNorm,
    /// The means of windows of this side.
    AvgPool2d(usize),
    /// The maxima of windows of this side.
    MaxPool2d(usize),
    /// The mean of each channel.
    GlobalAvgPool,
    /// An activation function.
    Activation(Activation),
    /// Bilinear resizing.
    Bilinear,
    /// Dropout.
    Dropout,
    /// Several dimensions as one.
    Flatten,
    /// A function without parameters.
    Function,
}

impl Cost {
    /// A layer without parameters that computed `output` from `input`.
    pub fn new(path: &str, kind: LayerKind, input: &Tensor, output: &Tensor) -> Self {
        let (input, output) = (input.shape().to_vec(), output.shape().to_vec());
        Self { path: path.to_string(), kind, input, output, parameters: 0 }
    }

    /// The same cost with `parameters` trained parameters.
    ///
    /// ```
    /// use nn::{Cost, LayerKind};
    /// let x = engine::Tensor::zeros(&[2, 3], engine::DType::F32)?;
    /// let cost = Cost::new("scale", LayerKind::Function, &x, &x).with_parameters(3);
    /// assert_eq!((cost.parameters, cost.multiply_adds()), (3, 0));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn with_parameters(self, parameters: usize) -> Self {
        Self { parameters, ..self }
    }

    /// The true multiply-adds of convolutions, linear maps and filters, by their definition, at
    /// most [`u64::MAX`]. 0 for everything else.
    pub fn multiply_adds(&self) -> u64 {
        match self.kind {
            LayerKind::Conv2d { fan_in, .. } | LayerKind::Linear { fan_in, .. } => {
                self.output_elements().saturating_mul(fan_in as u64)
            }
            LayerKind::ConvTranspose2d { fan_out, .. } => {
                self.input_elements().saturating_mul(fan_out as u64)
            }
            LayerKind::DynamicFilter { kernel: [height, width] } => {
                self.output_elements().saturating_mul(elements(&[height, width]))
            }
            _ => 0,
        }
    }

    /// The number of input elements, at most [`u64::MAX`].
    ///
    /// ```
    /// use nn::{Cost, LayerKind};
    /// let x = engine::Tensor::zeros(&[1, 8, 4, 6], engine::DType::F32)?;
    /// let cost = Cost::new("", LayerKind::MaxPool2d(2), &x, &x.max_pool2d(2, 2)?);
    /// assert_eq!((cost.input_elements(), cost.output_elements()), (8 * 4 * 6, 8 * 2 * 3));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn input_elements(&self) -> u64 {
        elements(&self.input)
    }

    /// The number of output elements, at most [`u64::MAX`].
    ///
    /// [`Cost::input_elements`] shows it.
    pub fn output_elements(&self) -> u64 {
        elements(&self.output)
    }
}

/// Traced shapes may be larger than any tensor in memory.
fn elements(shape: &[usize]) -> u64 {
    if shape.contains(&0) {
        return 0;
    }
    shape.iter().fold(1, |product: u64, &side| product.saturating_mul(side as u64))
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv2d { kernel: [h, w], .. } => write!(f, "conv2d {h}×{w}"),
            Self::ConvTranspose2d { kernel: [h, w], .. } => write!(f, "conv_transpose2d {h}×{w}"),
            Self::Linear { .. } => f.write_str("linear"),
            Self::Embedding => f.write_str("embedding"),
            Self::DynamicFilter { kernel: [h, w] } => write!(f, "dynamic_filter {h}×{w}"),
            Self::BatchNorm => f.write_str("batch_norm"),
            Self::InstanceNorm => f.write_str("instance_norm"),
            Self::LayerNorm => f.write_str("layer_norm"),
            Self::GroupNorm => f.write_str("group_norm"),
            Self::AvgPool2d(side) => write!(f, "avg_pool2d {side}"),
            Self::MaxPool2d(side) => write!(f, "max_pool2d {side}"),
            Self::GlobalAvgPool => f.write_str("global_avg_pool"),
            Self::Activation(activation) => f.write_str(activation.name()),
            Self::Bilinear => f.write_str("bilinear"),
            Self::Dropout => f.write_str("dropout"),
            Self::Flatten => f.write_str("flatten"),
            Self::Function => f.write_str("function"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_absurd_sizes_saturate() {
        let vast = vec![1 << 40, 1 << 40];
        let conv = LayerKind::Conv2d { kernel: [3, 3], fan_in: 9, bias: true };
        let transposed = LayerKind::ConvTranspose2d { kernel: [4, 4], fan_out: 16, bias: true };
        let filter = LayerKind::DynamicFilter { kernel: [usize::MAX; 2] };
        let cost = |kind, shape: &[usize]| Cost {
            path: String::new(),
            kind,
            input: shape.to_vec(),
            output: shape.to_vec(),
            parameters: 0,
        };
        let linear = LayerKind::Linear { fan_in: 64, bias: true };
        for kind in [conv, transposed, filter, linear] {
            assert_eq!(cost(kind, &vast).multiply_adds(), u64::MAX, "{kind}");
        }
        assert_eq!(cost(filter, &[1]).multiply_adds(), u64::MAX);
        assert_eq!(cost(conv, &[1 << 40, 1 << 40, 0]).multiply_adds(), 0);
    }
}
