//! The activation functions. They are layers in [`crate::layers`].

/// An element-wise activation, or softmax over channels.
///
/// ```
/// use nn::layers::{Activation, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, engine::DType::F64, |_| Ok(()))?;
/// let x = engine::Tensor::from_slice(&[-1.0, 2.0], &[2])?;
/// let y = Activation::Relu.forward(&Context::inference(&params), &x)?;
/// assert_eq!(y.to_f64_vec()?, [0.0, 2.0]);
/// assert_eq!(Activation::Relu.name(), "relu");
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// x·Φ(x), exact.
    Gelu,
    /// max(x, 0).
    Relu,
    /// x where it is positive, and this slope times x elsewhere. PyTorch's default is 0.01.
    LeakyRelu(f64),
    /// x/(1 + e⁻ˣ), also called swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// eˣ over its sum along dimension 1.
    Softmax,
}

impl Activation {
    /// The usual name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
        }
    }
}
