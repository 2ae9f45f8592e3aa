//! Plans: traced computations, run with fewer operations.
//!
//! A network's code calls one operation after another. A [`Planner`] traces the code once for each
//! input shape (`trace.rs`). From then on it runs a plan, which is made in three steps:
//!
//! 1. `fuse.rs` joins neighboring operations into one pass over memory: a convolution with the
//!    bias, residual and GELU around it, a sum with enlarged maps, pools of the same map.
//!    `filters.rs` has its rules about dynamic filters.
//! 2. `fold.rs` computes once what depends on constants alone, and packs constant weights.
//! 3. `schedule.rs` puts the operations that are left in order, and marks the last reader of each
//!    tensor. That reader frees the tensor's memory or writes its result there. The result is a
//!    [`Plan`].
//!
//! A plan computes the same results as the code. If an input is on a tape, the plan records the
//! operations that it runs, fused ones included. A rule that changes the order of a sum changes its
//! rounding; the comment on the rule says so.

mod filters;
mod fold;
mod fuse;
mod graph;
mod schedule;
mod strips;

#[cfg(test)]
mod tests;

use crate::trace::{TracedGraph, is_tracing, trace};
use crate::{Device, Error, Meta, Result, Tensor};
use fold::Constants;
use graph::PlanGraph;
use schedule::Plan;
use std::sync::{Arc, Mutex, PoisonError};
pub use strips::Strips;

/// Runs `f` on `inputs` as planned. For a computation that runs once, such as a step of training; a
/// [`Planner`] keeps its plans.
///
/// `f` sees tensors without elements: it may ask for shapes and not for values. An operation that
/// leads to no result is not computed, and fails only if its shapes do not fit.
///
/// ```
/// use engine::{Error, Tensor, planned};
/// let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
/// let y = planned(&[x], |x| Ok::<_, Error>(vec![x[0].matmul(&x[0])?.scale(0.5)?]))?;
/// assert_eq!(y[0].to_f64_vec()?, [3.5, 5.0, 7.5, 11.0]);
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// Those of `f`; [`Error::Traced`] if it asks for values.
pub fn planned<E: From<Error>>(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<Vec<Tensor>, E> {
    if is_tracing() {
        return f(inputs);
    }
    Ok(plan(inputs, f, &Constants::default())?.run(inputs.to_vec())?)
}

/// Like [`planned`], but for one result.
#[cfg(any(test, feature = "checks"))]
pub(crate) fn planned_one(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<Tensor> {
    Ok(planned(inputs, |inputs| Ok::<_, Error>(vec![f(inputs)?]))?.swap_remove(0))
}

/// The shapes and dtypes of the results that `f` would return for `inputs`. Nothing is computed.
///
/// ```
/// use engine::{DType, Error, Meta, Tensor, infer};
/// let x = Tensor::zeros(&[64, 3], DType::F32)?;
/// let weight = Tensor::zeros(&[3, 10], DType::F32)?;
/// let outputs = infer(&[&x], |x| Ok::<_, Error>(vec![x[0].matmul(&weight)?.softmax(1)?]))?;
/// assert_eq!(outputs, [Meta { shape: vec![64, 10], dtype: DType::F32 }]);
/// # Ok::<_, engine::Error>(())
/// ```
///
/// # Errors
/// Same errors as [`planned`].
pub fn infer<E: From<Error>>(
    inputs: &[&Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<Vec<Meta>, E> {
    let inputs: Vec<Tensor> = inputs.iter().map(|&x| x.clone()).collect();
    let TracedGraph { graph, outputs, .. } = trace(&inputs, f)?;
    Ok(outputs.into_iter().map(|id| graph.values[id].clone()).collect())
}

/// Plans for one computation on inputs of various shapes, made as they are needed. Threads may
/// share it.
///
/// ```
/// use engine::{Error, Planner, Tensor};
/// let weight = Tensor::from_slice(&[1.0, 2.0], &[2, 1])?;
/// let planner = Planner::new(&[weight.clone()]);
/// let predict = |rows: &[f64]| {
///     let x = Tensor::from_slice(rows, &[rows.len() / 2, 2])?;
///     let layer = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].matmul(&weight.exp()?)?.log()?]);
///     planner.run(vec![x], layer)?[0].to_f64_vec()
/// };
/// // The first call of each shape traces; e¹ and e² are computed once, for all shapes.
/// assert_eq!(predict(&[1.0, 0.0])?, [1.0]);
/// assert_eq!(predict(&[0.0, 1.0])?, [2.0]);
/// assert_eq!(predict(&[1.0, 0.0, 0.0, 1.0])?, [1.0, 2.0]);
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Default)]
pub struct Planner {
    constants: Constants,
    /// The plans used last, the newest at the end, each with the keys of its inputs.
    plans: Mutex<Vec<(Vec<InputKey>, Arc<Plan>)>>,
}

/// The properties of an input that a plan depends on: shape and dtype, device, and whether it is on
/// a tape.
type InputKey = (Meta, Device, bool);

/// The number of cached plans: for a full tile, the smaller tiles at the edges, and some spares.
const PLANS: usize = 8;

impl Planner {
    /// A planner whose `constants`, such as a network's parameters, never change. All of its plans
    /// share the values computed from them.
    pub fn new(constants: &[Tensor]) -> Self {
        Self { constants: Constants::new(constants), plans: Mutex::default() }
    }

    /// Runs `f` on `inputs` as planned. Every call must come with the same `f`; it is called for
    /// shapes that are new, or that have not been seen recently. What depends on constants alone
    /// keeps the [`Numerics`](crate::Numerics) of the call that first needed it.
    ///
    /// # Errors
    /// Same errors as [`planned`].
    pub fn run<E: From<Error>>(
        &self,
        inputs: Vec<Tensor>,
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Vec<Tensor>, E> {
        if is_tracing() {
            return f(&inputs);
        }
        Ok(self.plan_for(&inputs, f)?.run(inputs)?)
    }

    /// At most this many bytes are taken at once, by [`Planner::run`] with `f` on `inputs`, for the
    /// tensors of the pass, inputs and results included. The constants, and the buffers of the
    /// operations, which are small beside large maps, are not. Nothing is computed, so that a view
    /// without memory of its own may stand for an input.
    ///
    /// ```
    /// use engine::{DType, Error, Planner, Tensor};
    /// let planner = Planner::new(&[]);
    /// // One element, seen as 16 million.
    /// let x = Tensor::zeros(&[1, 1], DType::F32)?.broadcast_to(&[4096, 4096])?;
    /// let square = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].square()?.square()?]);
    /// assert_eq!(planner.peak_bytes(&[x], square)?, 2 * 4096 * 4096 * 4);
    /// # Ok::<_, Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`planned`].
    pub fn peak_bytes<E: From<Error>>(
        &self,
        inputs: &[Tensor],
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    ) -> Result<usize, E> {
        Ok(self.plan_for(inputs, f)?.peak_bytes())
    }

    /// `f` of a map like `input`, `[1, C, H, W]`, planned to go over it in strips of rows: the
    /// quickest way that takes at most `bytes` at once, or the one that takes least if that is
    /// more ([`Strips::peak_bytes`]). A view without memory of its own may stand for the input.
    ///
    /// The result is that of [`Planner::run`], but for rounding: means over all pixels are those of
    /// the whole map. Where `bytes` are few, maps are kept in f16 meanwhile.
    ///
    /// ```
    /// use engine::{DType, Error, Planner, Tensor};
    /// let planner = Planner::new(&[]);
    /// let center = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].sub(&x[0].global_avg_pool()?)?]);
    /// let x = Tensor::zeros(&[1, 1, 1, 1], DType::F64)?.broadcast_to(&[1, 1, 4, 2])?;
    /// let strips = planner.strips(&x, center, 1 << 20)?;
    /// let whole = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[1, 1, 4, 2])?;
    /// let mut result = Vec::new();
    /// strips.run(
    ///     |rows| whole.narrow(2, rows.start, rows.len()),
    ///     |_, rows| Ok::<_, Error>(result.extend(rows.to_f64_vec()?)),
    ///     &|_| (),
    /// )?;
    /// assert_eq!(result, [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]);
    /// assert!(strips.peak_bytes() < 1 << 20 && strips.work() < 1.5);
    /// # Ok::<_, Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`planned`]; [`Error::Shape`] if `f` has an operation that cannot be computed
    /// in strips.
    pub fn strips<E: From<Error>>(
        &self,
        input: &Tensor,
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
        bytes: usize,
    ) -> Result<Strips, E> {
        Strips::new(input, f, &self.constants, bytes)
    }

    /// The plan of `f` for such inputs, made or found.
    fn plan_for<E: From<Error>>(
        &self,
        inputs: &[Tensor],
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Arc<Plan>, E> {
        let key = |x: &Tensor| (x.meta(), x.device(), x.is_on_tape());
        let keys: Vec<InputKey> = inputs.iter().map(key).collect();
        if let Some(plan) = self.cached(&keys) {
            return Ok(plan);
        }
        let plan = Arc::new(plan(inputs, f, &self.constants)?);
        // A plan holds its captured tensors, and a tape serves one pass.
        if !plan.is_recorded() && self.cached(&keys).is_none() {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if plans.len() == PLANS {
                plans.remove(0);
            }
            plans.push((keys, plan.clone()));
        }
        Ok(plan)
    }

    /// The plan for inputs with these keys, which becomes the newest.
    fn cached(&self, keys: &[InputKey]) -> Option<Arc<Plan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let found = plans.iter().position(|(like, _)| like == keys)?;
        let newest = plans.remove(found);
        plans.push(newest);
        plans.last().map(|(_, plan)| plan.clone())
    }
}

/// Traces `f` and plans the traced graph.
fn plan<E: From<Error>>(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    constants: &Constants,
) -> Result<Plan, E> {
    let traced = trace(inputs, f)?;
    let on_tape = inputs.iter().any(Tensor::is_on_tape);
    let mut graph = PlanGraph::new(traced, on_tape);
    fuse::apply(&mut graph)?;
    fold::apply(&mut graph, constants)?;
    Ok(Plan::schedule(graph))
}
