//! Linear maps and tables of vectors.

use super::init::fan_bound;
use super::{Module, in_layer, require_dtype};
use crate::{Builder, Context, Cost, LayerKind, ParamId, Result, indices};
use engine::Tensor;

/// A linear map of the last dimension, y = x·Wᵀ + b: `[…, in]` to `[…, out]`. Parameters: `weight`
/// `[out, in]` and `bias` `[out]`.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{Linear, Module};
/// use nn::{Context, Params};
/// let (head, params) = Params::build(0, DType::F32, |b| Ok(Linear::new(b, 64, 10)))?;
/// let features = Tensor::zeros(&[8, 64], DType::F32)?;
/// let logits = head.forward(&Context::inference(&params), &features)?;
/// assert_eq!(logits.shape(), [8, 10]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    path: String,
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// A map from `inputs` to `outputs` numbers. Initialized as in PyTorch: weight and bias uniform
    /// within 1/√`inputs`.
    pub fn new(b: &mut Builder<'_>, inputs: usize, outputs: usize) -> Self {
        let map = Self::without_bias(b, inputs, outputs);
        Self { bias: Some(b.uniform("bias", &[outputs], fan_bound(inputs))), ..map }
    }

    /// Like [`Linear::new`], but without a bias.
    ///
    /// ```
    /// use nn::{Params, layers::Linear};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Linear::without_bias(b, 64, 10));
    /// let (_head, params) = Params::build(0, engine::DType::F32, build)?;
    /// assert_eq!(params.count(), 64 * 10);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn without_bias(b: &mut Builder<'_>, inputs: usize, outputs: usize) -> Self {
        Self {
            path: b.prefix().to_string(),
            weight: b.uniform("weight", &[outputs, inputs], fan_bound(inputs)),
            bias: None,
        }
    }
}

impl Module for Linear {
    /// # Errors
    /// If the last dimension of `x` is not the number of inputs.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) =
            (cx.param(self.weight)?, self.bias.map(|bias| cx.param(bias)).transpose()?);
        require_dtype(&self.path, x, &weight)?;
        let (outputs, inputs) = (weight.shape()[0], weight.shape()[1]);
        let Some(leading) = x.shape().strip_suffix(&[inputs]) else {
            let message = format!("expected […, {inputs}], got {:?}", x.shape());
            return in_layer(&self.path, Err(engine::Error::shape("linear", message)));
        };
        // All leading dimensions are rows of one product.
        let rows = leading.iter().product();
        let mut y = x.reshape(&[rows, inputs])?.matmul(&weight.transpose(0, 1)?)?;
        if let Some(bias) = &bias {
            y = y.add(bias)?;
        }
        let y = y.reshape(&[leading, &[outputs]].concat())?;
        cx.report(|| {
            let kind = LayerKind::Linear { fan_in: inputs, bias: bias.is_some() };
            let parameters = weight.numel() + bias.as_ref().map_or(0, Tensor::numel);
            Cost::new(&self.path, kind, x, &y).with_parameters(parameters)
        });
        Ok(y)
    }
}

/// A table of vectors, of which indices choose rows: `[…]` of i64 to `[…, width]`. Parameter:
/// `weight` `[count, width]`.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{Embedding, Module};
/// use nn::{Context, Params};
/// let (words, params) = Params::build(0, DType::F32, |b| Ok(Embedding::new(b, 1000, 16)))?;
/// let sentences = Tensor::from_slice(&[3i64, 14, 15, 92, 65, 3], &[2, 3])?;
/// let vectors = words.forward(&Context::inference(&params), &sentences)?;
/// assert_eq!(vectors.shape(), [2, 3, 16]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Embedding {
    path: String,
    weight: ParamId,
}

impl Embedding {
    /// A table of `count` vectors of `width` numbers. Initialized as in PyTorch: normal with mean 0
    /// and variance 1.
    pub fn new(b: &mut Builder<'_>, count: usize, width: usize) -> Self {
        let path = b.prefix().to_string();
        Self { path, weight: b.normal("weight", &[count, width], 1.0) }
    }
}

impl Module for Embedding {
    /// # Errors
    /// If `x` is not of i64. On the CPU, if an index is negative or not less than the number of
    /// vectors; on a GPU its vector is NaN.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let weight = cx.param(self.weight)?;
        let indices = indices::require_below::<Rows>(x, weight.shape()[0]);
        let indices = in_layer(&self.path, indices)?;
        let rows = weight.index_select(0, &indices.reshape(&[x.numel()])?)?;
        let y = rows.reshape(&[x.shape(), &weight.shape()[1..]].concat())?;
        cx.report(|| {
            Cost::new(&self.path, LayerKind::Embedding, x, &y).with_parameters(weight.numel())
        });
        Ok(y)
    }
}

/// The rows that indices name.
struct Rows;

impl indices::Named for Rows {
    const OP: &'static str = "embedding";

    fn out_of_range(index: i64, count: usize) -> String {
        format!("the index {index} is not a row: there are {count}, from 0 on")
    }
}
