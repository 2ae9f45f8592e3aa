//! A network in use: values that do not change any more, and the plans made for them.

use crate::context::{Context, Mode};
use crate::Result;
use engine::{DType, Planner, Tensor};
use std::sync::Arc;

/// The values of a network, in the order of its [`Params`](crate::Params), for good. What depends on
/// them alone is computed once: weights packed, batch normalization folded. Threads may share it.
pub struct Frozen {
    values: Arc<Vec<Tensor>>,
    compute: Option<DType>,
    planner: Planner,
}

impl Frozen {
    /// These values; passes compute in `compute`, or in the values' own dtype.
    pub fn new(values: Vec<Tensor>, compute: Option<DType>) -> Self {
        let planner = Planner::new(&values);
        Self { values: Arc::new(values), compute, planner }
    }

    /// Runs `f` on `inputs` as planned, in evaluation mode. Every call must come with the same `f`,
    /// which is called for shapes that are new; see [`Planner::run`].
    pub fn run(
        &self,
        inputs: Vec<Tensor>,
        f: impl FnOnce(&Context, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        self.planner.run(inputs, |inputs| {
            let cx = Context::over(self.values.clone(), Mode::Eval, None);
            f(&cx.computing_in(self.compute), inputs)
        })
    }
}
