//! A network for evaluation: values that no longer change, and the plans made for them.

use crate::Result;
use crate::context::{Context, Mode};
use crate::params::{ModelId, Params};
use engine::{DType, Numerics, Planner, Strips, Tensor};
use std::sync::Arc;

/// The values of a network, which no longer change.
/// Everything that depends on them alone is computed once: packed weights, folded batch
/// normalization. Threads may share it.
///
/// ```
/// use engine::{DType, Numerics, Tensor};
/// use nn::layers::{BatchNorm2d, Conv2d, Module, Sequential};
/// use nn::{Frozen, Params};
/// let (net, params) = Params::build(0, DType::F32, |b| {
///     let conv = Conv2d::new(&mut b.at(0), 3, 8, 3).padding(1);
///     Ok(Sequential::new().then(conv).then(BatchNorm2d::new(&mut b.at(1), 8)))
/// })?;
/// let frozen = Frozen::new(&params, None, Numerics::default());
/// let predict = |x| frozen.run(vec![x], |cx, x| Ok(vec![net.forward(cx, &x[0])?]));
/// let y = predict(Tensor::zeros(&[1, 3, 32, 32], DType::F32)?)?;
/// assert_eq!(y[0].shape(), [1, 8, 32, 32]);
/// # Ok::<_, nn::Error>(())
/// ```
pub struct Frozen {
    values: Arc<Vec<Tensor>>,
    model: ModelId,
    compute: Option<DType>,
    numerics: Numerics,
    planner: Planner,
}

impl Frozen {
    /// Passes over the values of `params` compute in `compute`, or in the values' own dtype, and
    /// with `numerics`, whatever those of the caller. Later changes to `params` do not show.
    pub fn new(params: &Params, compute: Option<DType>, numerics: Numerics) -> Self {
        let values = params.values();
        let planner = Planner::new(&values);
        Self { values: Arc::new(values), model: params.model(), compute, numerics, planner }
    }

    /// Runs `f` on `inputs` as planned, in evaluation mode. Every call must have the same `f`,
    /// which is called for new shapes; see [`Planner::run`].
    pub fn run(
        &self,
        inputs: Vec<Tensor>,
        f: impl FnOnce(&Context, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        self.numerics.scope(|| self.planner.run(inputs, |inputs| f(&self.context(), inputs)))
    }

    /// At most this many bytes are taken at once by [`Frozen::run`] on such inputs, beside the
    /// values; see [`Planner::peak_bytes`].
    ///
    /// ```
    /// use engine::{DType, Numerics, Tensor};
    /// use nn::layers::{Conv2d, Module};
    /// use nn::{Frozen, Params};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Conv2d::new(b, 3, 8, 3).padding(1));
    /// let (conv, params) = Params::build(0, DType::F32, build)?;
    /// let frozen = Frozen::new(&params, None, Numerics::default());
    /// let large = Tensor::zeros(&[1, 3, 1, 1], DType::F32)?.broadcast_to(&[1, 3, 8192, 8192])?;
    /// let peak = frozen.peak_bytes(&[large], |cx, x| Ok(vec![conv.forward(cx, &x[0])?]))?;
    /// assert_eq!(peak, (3 + 8) * 8192 * 8192 * 4);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn peak_bytes(
        &self,
        inputs: &[Tensor],
        f: impl FnOnce(&Context, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<usize> {
        self.numerics.scope(|| self.planner.peak_bytes(inputs, |inputs| f(&self.context(), inputs)))
    }

    /// `f` of an input like this, `[1, C, H, W]`, in strips of rows that take at most `bytes` at
    /// once, if it can be done in so few; see [`Planner::strips`].
    ///
    /// ```
    /// use engine::{DType, Numerics, Tensor};
    /// use nn::layers::{Conv2d, Module};
    /// use nn::{Frozen, Params};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Conv2d::new(b, 3, 8, 3).padding(1));
    /// let (conv, params) = Params::build(0, DType::F32, build)?;
    /// let frozen = Frozen::new(&params, None, Numerics::default());
    /// let large = Tensor::zeros(&[1, 3, 1, 1], DType::F32)?.broadcast_to(&[1, 3, 8192, 8192])?;
    /// let f = |cx: &nn::Context, x: &[Tensor]| Ok(vec![conv.forward(cx, &x[0])?]);
    /// let strips = frozen.strips(&large, 100 << 20, f)?;
    /// assert!(strips.peak_bytes() < 100 << 20);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn strips(
        &self,
        input: &Tensor,
        bytes: usize,
        f: impl FnOnce(&Context, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Strips> {
        let f = |inputs: &[Tensor]| f(&self.context(), inputs);
        self.numerics.scope(|| self.planner.strips(input, f, bytes))
    }

    fn context(&self) -> Context {
        let cx = Context::over(self.values.clone(), self.model, Mode::Eval, None);
        cx.computing_in(self.compute)
    }
}
