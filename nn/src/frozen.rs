//! A network for evaluation: values that no longer change, and the plans made for them.

use crate::Result;
use crate::context::{Context, Mode};
use crate::params::{ModelId, Params};
use engine::{DType, Numerics, Planner, Tensor};
use std::sync::Arc;

/// The values of a network, which no longer change.
/// Everything that depends on them alone is computed once: packed weights, folded batch
/// normalization. Threads may share it.
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
        let pass = |inputs: &[Tensor]| {
            let cx = Context::over(self.values.clone(), self.model, Mode::Eval, None);
            f(&cx.computing_in(self.compute), inputs)
        };
        self.numerics.scope(|| self.planner.run(inputs, pass))
    }
}
