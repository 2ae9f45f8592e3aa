//! What layers cost: the facts about each use of a layer, noted while a forward pass runs.

use crate::activation::Activation;
use engine::Tensor;
use std::fmt;

/// One use of a layer: what it did, to which shapes, with how many parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The layer's dotted path; empty for layers without parameters.
    pub path: String,
    /// What it computed.
    pub operation: Operation,
    /// Shape of the input.
    pub input: Vec<usize>,
    /// Shape of the output.
    pub output: Vec<usize>,
    /// Numbers that are trained.
    pub parameters: usize,
}

/// What a layer computes, and what its arithmetic depends on besides the shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A convolution.
    Conv2d {
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Products that each output element is a sum of.
        fan_in: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// A transposed convolution.
    ConvTranspose2d {
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Products that each input element enters.
        fan_out: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// A filter made for this one input, shared by the channels of a group.
    DynamicFilter {
        /// Height and width of the filter.
        kernel: [usize; 2],
    },
    /// Batch normalization.
    BatchNorm,
    /// Instance normalization.
    InstanceNorm,
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
}

impl Cost {
    /// A layer without parameters that made `output` of `input`.
    pub fn free(path: &str, operation: Operation, input: &Tensor, output: &Tensor) -> Self {
        let (input, output) = (input.shape().to_vec(), output.shape().to_vec());
        Self { path: path.to_string(), operation, input, output, parameters: 0 }
    }

    /// The same layer with `parameters` trained numbers.
    pub fn with_parameters(self, parameters: usize) -> Self {
        Self { parameters, ..self }
    }

    /// Multiply-adds of convolutions and filters, true: what the definition asks for. 0 for
    /// everything else.
    pub fn multiply_adds(&self) -> u64 {
        match self.operation {
            Operation::Conv2d { fan_in, .. } => self.output_elements() * fan_in as u64,
            Operation::ConvTranspose2d { fan_out, .. } => self.input_elements() * fan_out as u64,
            Operation::DynamicFilter { kernel: [height, width] } => {
                self.output_elements() * (height * width) as u64
            }
            _ => 0,
        }
    }

    /// Numbers that go in.
    pub fn input_elements(&self) -> u64 {
        elements(&self.input)
    }

    /// Numbers that come out.
    pub fn output_elements(&self) -> u64 {
        elements(&self.output)
    }
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().map(|&side| side as u64).product()
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv2d { kernel: [h, w], .. } => write!(f, "conv2d {h}×{w}"),
            Self::ConvTranspose2d { kernel: [h, w], .. } => write!(f, "conv_transpose2d {h}×{w}"),
            Self::DynamicFilter { kernel: [h, w] } => write!(f, "dynamic_filter {h}×{w}"),
            Self::BatchNorm => f.write_str("batch_norm"),
            Self::InstanceNorm => f.write_str("instance_norm"),
            Self::AvgPool2d(side) => write!(f, "avg_pool2d {side}"),
            Self::MaxPool2d(side) => write!(f, "max_pool2d {side}"),
            Self::GlobalAvgPool => f.write_str("global_avg_pool"),
            Self::Activation(activation) => f.write_str(activation.name()),
            Self::Bilinear => f.write_str("bilinear"),
        }
    }
}
