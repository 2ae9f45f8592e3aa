//! A convolution, one of its three passes, as the graph of operations that cuDNN's backend is
//! given:
//!
//! ```text
//!     to the output      y = x ∗ w  [+ bias] [+ residual] [GELU]
//!     to the input       x = the adjoint of that, of y  [+ bias] [+ residual] [GELU]
//!     to the weight      w = Σ over pixels of x · y
//! ```
//!
//! All three passes have the same x (the map with the weight's input channels), w and y; one of
//! these is the result. Maps lie channels-last and weights in the order output channel, row,
//! column, input channel: cuDNN's NHWC. Intermediate results are f32 and never reach memory.

use super::descriptor::{Attempt, Descriptor};
use super::sys::{
    ConvolutionMode, CudnnLibrary, DataType, Handle, HandleValue, PointwiseMode, Raw,
    attribute as a, kind,
};
use crate::DType;
use crate::conv::Conv2dOptions;

/// Which of the three is computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ConvolutionPass {
    Output,
    Input,
    Weight,
}

/// The tensors of a convolution, by the names that they have in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(super) enum Name {
    X = 1,
    Weight,
    Y,
    Bias,
    Residual,
    /// The first of those between two operations.
    Between,
}

/// The computation of a graph: one pass of a convolution between maps of these shapes, with its
/// epilogue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GraphSpec {
    pub(super) pass: ConvolutionPass,
    /// Elements are of this type, and sums of f32.
    pub(super) dtype: DType,
    pub(super) x: [usize; 4],
    pub(super) weight: [usize; 4],
    pub(super) y: [usize; 4],
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
    pub(super) bias: bool,
    pub(super) residual: bool,
    pub(super) gelu: bool,
}

impl GraphSpec {
    /// Without anything after it; `shapes` are those of x, the weight and y.
    pub(super) fn new(
        pass: ConvolutionPass,
        dtype: DType,
        options: Conv2dOptions,
        [x, weight, y]: [[usize; 4]; 3],
    ) -> Self {
        // The groups follow from the shapes.
        let Conv2dOptions { stride, padding, dilation, groups: _ } = options;
        let (bias, residual, gelu) = (false, false, false);
        Self { pass, dtype, x, weight, y, stride, padding, dilation, bias, residual, gelu }
    }

    /// The name and shape of the result.
    pub(super) fn result(&self) -> (Name, [usize; 4]) {
        match self.pass {
            ConvolutionPass::Output => (Name::Y, self.y),
            ConvolutionPass::Input => (Name::X, self.x),
            ConvolutionPass::Weight => (Name::Weight, self.weight),
        }
    }

    /// Whether there are no ready-made engines: those that add something, add it to a convolution's
    /// output, and none knows the GELU.
    pub(super) fn needs_compiler(&self) -> bool {
        self.gelu || self.pass == ConvolutionPass::Input && (self.bias || self.residual)
    }

    /// cuDNN's name of the dtype, if it is one that is given to cuDNN. f64 is not: it has hardly
    /// any kernels for it in this layout.
    pub(super) fn data_type(&self) -> Option<DataType> {
        match self.dtype {
            DType::F32 => Some(DataType::FLOAT),
            DType::F16 => Some(DataType::HALF),
            DType::BF16 => Some(DataType::BFLOAT16),
            _ => None,
        }
    }
}

/// Addresses are multiples of this.
pub(super) const ALIGNMENT: u64 = 16;

/// A complete graph, and the descriptors that it refers to.
pub(super) struct OperationGraph {
    pub(super) graph: Descriptor,
    _parts: Vec<Descriptor>,
}

impl OperationGraph {
    /// For the GPU of `handle`, if there is one.
    pub(super) fn new(
        library: &'static CudnnLibrary,
        handle: Option<Handle>,
        of: &GraphSpec,
        dtype: DataType,
    ) -> Attempt<Self> {
        let mut builder = GraphBuilder {
            library,
            parts: Vec::new(),
            operations: Vec::new(),
            between: Name::Between as i64,
        };
        let (name, shape) = of.result();
        let mut epilogue = Vec::new();
        if of.residual {
            let residual = builder.tensor(Name::Residual as i64, shape, dtype, false)?;
            epilogue.push((PointwiseMode::ADD, Some(residual)));
        }
        if of.bias {
            let bias = builder.tensor(Name::Bias as i64, [1, shape[1], 1, 1], dtype, false)?;
            epilogue.push((PointwiseMode::ADD, Some(bias)));
        }
        if of.gelu {
            epilogue.push((PointwiseMode::GELU_FWD, None));
        }
        let result = builder.tensor(name as i64, shape, dtype, false)?;
        let mut last = if epilogue.is_empty() { result } else { builder.between(shape)? };
        builder.convolution(of, dtype, last)?;
        let count = epilogue.len();
        for (index, (mode, other)) in epilogue.into_iter().enumerate() {
            let to = if index + 1 == count { result } else { builder.between(shape)? };
            builder.pointwise(mode, last, other, to)?;
            last = to;
        }
        builder.graph(handle)
    }
}

struct GraphBuilder {
    library: &'static CudnnLibrary,
    parts: Vec<Descriptor>,
    operations: Vec<Raw>,
    /// The number of the next tensor between two operations.
    between: i64,
}

impl GraphBuilder {
    /// Completes `descriptor` and makes it a part of the graph.
    fn complete(&mut self, descriptor: Descriptor) -> Attempt<Raw> {
        descriptor.complete()?;
        let raw = descriptor.raw();
        self.parts.push(descriptor);
        Ok(raw)
    }

    /// A tensor that lies channels-last; one that is virtual is only passed on.
    fn tensor(
        &mut self,
        name: i64,
        shape: [usize; 4],
        dtype: DataType,
        is_virtual: bool,
    ) -> Attempt<Raw> {
        let [n, c, h, w] = shape.map(|size| size as i64);
        let tensor = Descriptor::new(self.library, kind::TENSOR)?;
        tensor.set(a::TENSOR_UNIQUE_ID, &[name])?;
        tensor.set(a::TENSOR_DATA_TYPE, &[dtype])?;
        tensor.set(a::TENSOR_DIMENSIONS, &[n, c, h, w])?;
        tensor.set(a::TENSOR_STRIDES, &[h * w * c, 1, w * c, c])?;
        tensor.set(a::TENSOR_BYTE_ALIGNMENT, &[ALIGNMENT as i64])?;
        tensor.set(a::TENSOR_IS_VIRTUAL, &[is_virtual])?;
        self.complete(tensor)
    }

    fn between(&mut self, shape: [usize; 4]) -> Attempt<Raw> {
        self.between += 1;
        self.tensor(self.between - 1, shape, DataType::FLOAT, true)
    }

    /// The convolution, with `result`.
    fn convolution(&mut self, of: &GraphSpec, dtype: DataType, result: Raw) -> Attempt<()> {
        let both = |size: usize| [size as i64; 2];
        let settings = Descriptor::new(self.library, kind::CONVOLUTION)?;
        settings.set(a::CONVOLUTION_SPATIAL_DIMS, &[2i64])?;
        settings.set(a::CONVOLUTION_COMP_TYPE, &[DataType::FLOAT])?;
        settings.set(a::CONVOLUTION_CONV_MODE, &[ConvolutionMode::CROSS_CORRELATION])?;
        settings.set(a::CONVOLUTION_PRE_PADDINGS, &both(of.padding))?;
        settings.set(a::CONVOLUTION_POST_PADDINGS, &both(of.padding))?;
        settings.set(a::CONVOLUTION_FILTER_STRIDES, &both(of.stride))?;
        settings.set(a::CONVOLUTION_DILATIONS, &both(of.dilation))?;
        let settings = self.complete(settings)?;
        let mut tensor = |name: Name, shape| match of.result().0 == name {
            true => Ok(result),
            false => self.tensor(name as i64, shape, dtype, false),
        };
        let (x, weight, y) =
            (tensor(Name::X, of.x)?, tensor(Name::Weight, of.weight)?, tensor(Name::Y, of.y)?);
        let (kind, names) = match of.pass {
            ConvolutionPass::Output => (
                kind::OPERATION_CONVOLUTION_FORWARD,
                Attributes {
                    settings: a::OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                    x: a::OPERATION_CONVOLUTION_FORWARD_X,
                    weight: a::OPERATION_CONVOLUTION_FORWARD_W,
                    y: a::OPERATION_CONVOLUTION_FORWARD_Y,
                    alpha: a::OPERATION_CONVOLUTION_FORWARD_ALPHA,
                    beta: a::OPERATION_CONVOLUTION_FORWARD_BETA,
                },
            ),
            ConvolutionPass::Input => (
                kind::OPERATION_CONVOLUTION_BACKWARD_DATA,
                Attributes {
                    settings: a::OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                    x: a::OPERATION_CONVOLUTION_BWD_DATA_DX,
                    weight: a::OPERATION_CONVOLUTION_BWD_DATA_W,
                    y: a::OPERATION_CONVOLUTION_BWD_DATA_DY,
                    alpha: a::OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                    beta: a::OPERATION_CONVOLUTION_BWD_DATA_BETA,
                },
            ),
            ConvolutionPass::Weight => (
                kind::OPERATION_CONVOLUTION_BACKWARD_FILTER,
                Attributes {
                    settings: a::OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                    x: a::OPERATION_CONVOLUTION_BWD_FILTER_X,
                    weight: a::OPERATION_CONVOLUTION_BWD_FILTER_DW,
                    y: a::OPERATION_CONVOLUTION_BWD_FILTER_DY,
                    alpha: a::OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                    beta: a::OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                },
            ),
        };
        let operation = Descriptor::new(self.library, kind)?;
        operation.set(names.settings, &[settings])?;
        operation.set(names.x, &[x])?;
        operation.set(names.weight, &[weight])?;
        operation.set(names.y, &[y])?;
        operation.set(names.alpha, &[1f32])?;
        operation.set(names.beta, &[0f32])?; // the earlier result is not read
        let operation = self.complete(operation)?;
        self.operations.push(operation);
        Ok(())
    }

    /// An operation of `x`, and of `other` if it takes two, element by element.
    fn pointwise(
        &mut self,
        mode: PointwiseMode,
        x: Raw,
        other: Option<Raw>,
        y: Raw,
    ) -> Attempt<()> {
        let settings = Descriptor::new(self.library, kind::POINTWISE)?;
        settings.set(a::POINTWISE_MODE, &[mode])?;
        settings.set(a::POINTWISE_MATH_PREC, &[DataType::FLOAT])?;
        let settings = self.complete(settings)?;
        let operation = Descriptor::new(self.library, kind::OPERATION_POINTWISE)?;
        operation.set(a::OPERATION_POINTWISE_PW_DESCRIPTOR, &[settings])?;
        operation.set(a::OPERATION_POINTWISE_XDESC, &[x])?;
        if let Some(other) = other {
            operation.set(a::OPERATION_POINTWISE_BDESC, &[other])?;
        }
        operation.set(a::OPERATION_POINTWISE_YDESC, &[y])?;
        let operation = self.complete(operation)?;
        self.operations.push(operation);
        Ok(())
    }

    fn graph(self, handle: Option<Handle>) -> Attempt<OperationGraph> {
        let graph = Descriptor::new(self.library, kind::OPERATIONGRAPH)?;
        if let Some(handle) = handle {
            graph.set(a::OPERATIONGRAPH_HANDLE, &[HandleValue(handle)])?;
        }
        graph.set(a::OPERATIONGRAPH_OPS, &self.operations)?;
        graph.complete()?;
        Ok(OperationGraph { graph, _parts: self.parts })
    }
}

/// The names of the attributes of a pass.
struct Attributes {
    settings: i32,
    x: i32,
    weight: i32,
    y: i32,
    alpha: i32,
    beta: i32,
}
