//! Planning: a computation is traced, and what was traced is run in a faster way.
//!
//! The code of a network says what is computed, one operation after the other. A [`Planner`] calls
//! it once for each shape of the inputs, to trace it (`trace.rs`), and from then on runs a plan:
//!
//! 1. `fuse.rs` joins neighbouring operations into one pass over memory: a convolution with the
//!    bias, residual and GELU around it, a sum with enlarged maps, pools of the same map.
//! 2. `fold.rs` computes once what depends on constants alone, and packs constant weights.
//! 3. `schedule.rs` puts the operations in an order that needs little memory, and says who reads a
//!    tensor last: its memory is free from then on, or holds the result.
//!
//! A plan computes what the code computes, with the same operations recorded on a tape if an input
//! is on one. Where a rule changes the order of a sum, results differ by rounding; the rules say
//! so.

mod fold;
mod fuse;
mod graph;
mod schedule;

#[cfg(test)]
mod tests;

use crate::trace::{Written, is_tracing, trace};
use crate::{Error, Meta, Result, Tensor};
use fold::Constants;
use graph::PlanGraph;
use schedule::Schedule;
use std::sync::{Arc, Mutex, PoisonError};

/// Runs `f` on `inputs` as planned. For a computation that is run once, such as a step of training;
/// a [`Planner`] keeps its plans.
///
/// `f` sees tensors without elements: it may ask for shapes and not for values.
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

/// As [`planned`], of one result.
#[cfg(any(test, feature = "checks"))]
pub(crate) fn planned_one(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<Tensor> {
    Ok(planned(inputs, |inputs| Ok::<_, Error>(vec![f(inputs)?]))?.swap_remove(0))
}

/// The shapes and dtypes of what `f` would give for `inputs`. Nothing is computed.
///
/// # Errors
/// As [`planned`].
pub fn infer<E: From<Error>>(
    inputs: &[&Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<Vec<Meta>, E> {
    let inputs: Vec<Tensor> = inputs.iter().map(|&x| x.clone()).collect();
    let Written { graph, outputs, .. } = trace(&inputs, f)?;
    Ok(outputs.into_iter().map(|id| graph.values[id].clone()).collect())
}

/// Plans for one computation on inputs of various shapes, made as they are needed. Threads may
/// share it.
#[derive(Default)]
pub struct Planner {
    constants: Constants,
    /// The plans used last, the newest at the end, with what their inputs are like.
    plans: Mutex<Vec<(Vec<Meta>, Arc<Schedule>)>>,
}

/// So many plans are kept: those of a tile, of the strips at its sides, of their corner, and spare.
const PLANS: usize = 8;

impl Planner {
    /// A planner for computations whose `constants`, a network's parameters, do not change any
    /// more: what is computed of them alone is shared by all plans.
    pub fn new(constants: &[Tensor]) -> Self {
        Self { constants: Constants::new(constants), plans: Mutex::default() }
    }

    /// Runs `f` on `inputs` as planned. Every call must come with the same `f`; it is called for
    /// shapes that are new, or that have not been seen for long. What depends on constants alone
    /// keeps the [`Numerics`](crate::Numerics) of the call that first needed it.
    ///
    /// # Errors
    /// As [`planned`].
    pub fn run<E: From<Error>>(
        &self,
        inputs: Vec<Tensor>,
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Vec<Tensor>, E> {
        if is_tracing() {
            return f(&inputs);
        }
        let metas: Vec<Meta> = inputs.iter().map(Tensor::meta).collect();
        let found = {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            let found = plans.iter().position(|(like, _)| *like == metas);
            found.map(|i| {
                let newest = plans.remove(i);
                plans.push(newest.clone());
                newest.1
            })
        };
        let plan = match found {
            Some(plan) => plan,
            None => {
                let plan = Arc::new(plan(&inputs, f, &self.constants)?);
                let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
                if plans.len() == PLANS {
                    plans.remove(0);
                }
                plans.push((metas, plan.clone()));
                plan
            }
        };
        Ok(plan.run(inputs)?)
    }
}

/// Traces `f` and plans what was traced.
fn plan<E: From<Error>>(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    constants: &Constants,
) -> Result<Schedule, E> {
    let written = trace(inputs, f)?;
    let on_tape = inputs.iter().any(Tensor::is_on_tape);
    let mut graph = PlanGraph::new(written, on_tape);
    fuse::apply(&mut graph)?;
    fold::apply(&mut graph, constants)?;
    Ok(Schedule::of(graph))
}
