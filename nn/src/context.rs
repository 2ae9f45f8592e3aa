//! A forward pass: its values, its tape, its mode.
//!
//! Layers ask the [`Context`] for their parameters. On a tape each parameter becomes a leaf at its
//! first use, and layers see it in the dtype that the pass computes in; mixed precision needs
//! nothing else. A forward pass changes nothing by itself: BatchNorm records its new running
//! statistics, [`Context::finish`] returns them, and [`Pass::update_buffers`] stores them.

use crate::distributed::{Buckets, ProcessGroup};
use crate::params::{ModelId, ParamId, Params};
use crate::{Error, Result, cost::Cost};
use engine::{Collectives, DType, Gradients, Rng, Tape, Tensor};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Whether layers behave as in training or as in evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// BatchNorm normalizes by its batch and updates its running statistics.
    Train,
    /// BatchNorm normalizes by its running statistics.
    Eval,
}

/// One forward pass: its values, tape and mode.
///
/// ```
/// use engine::{DType, Tape, Tensor};
/// use nn::{Context, Params};
/// let (w, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 3.0)))?;
/// // The derivative of w² is 2·w.
/// let tape = Tape::new();
/// let cx = Context::training(&params, &tape);
/// let loss = cx.param(w)?.square()?;
/// let gradients = cx.finish().gradients(tape.backward(&loss)?);
/// assert_eq!(gradients[0].as_ref().map(Tensor::item).transpose()?, Some(6.0));
/// // Without a tape only the value is computed.
/// assert_eq!(Context::inference(&params).param(w)?.square()?.item()?, 9.0);
/// # Ok::<_, nn::Error>(())
/// ```
pub struct Context {
    values: Arc<Vec<Tensor>>,
    /// The model of the values.
    model: ModelId,
    tape: Option<Tape>,
    mode: Mode,
    /// The dtype in which layers see parameters, if not that of the parameters.
    compute: Option<DType>,
    /// The ranks that share the batch.
    ranks: Option<Arc<dyn Collectives>>,
    /// Whether [`Context::checkpoint`] trades time for memory.
    checkpoints: bool,
    /// The position of the random numbers: seed and step.
    draws: Option<(u64, u64)>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Each parameter, on the tape if there is one, once it has been used.
    leaves: Vec<Option<Tensor>>,
    /// Each parameter as layers see it.
    used: Vec<Option<Tensor>>,
    updates: Vec<(ParamId, Tensor)>,
    /// The buffers that layers have asked for.
    read: Vec<ParamId>,
    /// The number of streams of random numbers that layers have asked for.
    streams: u32,
    costs: Option<Vec<Cost>>,
    /// The prefix of the names that are recorded.
    watched: Option<String>,
    observed: Vec<(String, Tensor)>,
}

impl Context {
    /// A pass in evaluation mode: no tape, running statistics.
    pub fn inference(params: &Params) -> Self {
        Self::new(params, Mode::Eval, None)
    }

    /// A pass in training: recorded on `tape`, batch statistics.
    pub fn training(params: &Params, tape: &Tape) -> Self {
        Self::new(params, Mode::Train, Some(tape))
    }

    /// A pass in any mode, with or without a tape.
    ///
    /// ```
    /// use nn::{Context, Mode, Params};
    /// let (_, params) = Params::build(0, engine::DType::F32, |_| Ok(()))?;
    /// // Batch statistics without gradients: to set the running statistics of new data.
    /// assert!(Context::new(&params, Mode::Train, None).is_training());
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn new(params: &Params, mode: Mode, tape: Option<&Tape>) -> Self {
        Self::over(Arc::new(params.values()), params.model(), mode, tape.cloned())
    }

    /// A pass with other values than those of `params`, in the order of its entries: values that
    /// are on a tape already, for instance. For a moving average [`Params::with_values`] does.
    ///
    /// ```
    /// use engine::{DType, Tape, Tensor};
    /// use nn::{Context, Mode, Params};
    /// let (w, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 3.0)))?;
    /// let tape = Tape::new();
    /// let own = tape.leaf(&Tensor::scalar(5.0, DType::F64)?);
    /// let cx = Context::with_values(&params, vec![own.clone()], Mode::Eval)?;
    /// let gradients = tape.backward(&cx.param(w)?.square()?)?;
    /// assert_eq!(gradients.get(&own).map(Tensor::item).transpose()?, Some(10.0));
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`Params::with_values`], but the values may be traced.
    pub fn with_values(params: &Params, values: Vec<Tensor>, mode: Mode) -> Result<Self> {
        params.require_like(&values)?;
        Ok(Self::over(Arc::new(values), params.model(), mode, None))
    }

    pub(crate) fn over(
        values: Arc<Vec<Tensor>>,
        model: ModelId,
        mode: Mode,
        tape: Option<Tape>,
    ) -> Self {
        let (leaves, used) = (vec![None; values.len()], vec![None; values.len()]);
        let state = RefCell::new(State { leaves, used, ..State::default() });
        Self {
            values,
            model,
            tape,
            mode,
            compute: None,
            ranks: None,
            checkpoints: false,
            draws: None,
            state,
        }
    }

    /// The same pass, computing in `dtype` if there is one, else in that of the parameters.
    /// Parameters and their gradients keep their own dtype.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::{Context, Params};
    /// let (w, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 1.0)))?;
    /// let cx = Context::inference(&params).computing_in(Some(DType::F32));
    /// let x = Tensor::scalar(2.0, DType::F64)?;
    /// let y = cx.to_compute(&x)?.mul(&cx.param(w)?)?;
    /// assert_eq!((y.dtype(), params.get(w)?.dtype()), (DType::F32, DType::F64));
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn computing_in(self, dtype: Option<DType>) -> Self {
        Self { compute: dtype, ..self }
    }

    /// The same pass on a part of a batch that `ranks` share, if there are any: BatchNorm
    /// normalizes by the whole.
    ///
    /// [`Buckets`] shows how ranks share gradients.
    ///
    /// ```
    /// use engine::{DType, Tape, Tensor};
    /// use nn::distributed::{ProcessGroup, threads};
    /// use nn::layers::{BatchNorm2d, Module};
    /// use nn::{Context, Params};
    /// use std::sync::Arc;
    /// // The batch is 1 on rank 0 and 3 on rank 1.
    /// let rank = |group: Arc<ProcessGroup>| -> nn::Result<f64> {
    ///     let (norm, params) = Params::build(0, DType::F64, |b| Ok(BatchNorm2d::new(b, 1)))?;
    ///     let x = Tensor::full(&[1, 1, 1, 1], 1.0 + 2.0 * group.rank() as f64, DType::F64)?;
    ///     let cx = Context::training(&params, &Tape::new()).with_ranks(Some(group.clone()));
    ///     let y = norm.forward(&cx, &x)?.item()?;
    ///     group.close(None);
    ///     Ok(y)
    /// };
    /// let ranks = threads(2)?.into_iter().map(Arc::new);
    /// let ranks: Vec<_> = ranks.map(|group| std::thread::spawn(move || rank(group))).collect();
    /// for (rank, expected) in ranks.into_iter().zip([-1.0, 1.0]) {
    ///     assert!((rank.join().expect("no panic")? - expected).abs() < 1e-4);
    /// }
    /// # Ok::<_, nn::Error>(())
    /// ```
    #[must_use]
    pub fn with_ranks(self, ranks: Option<Arc<dyn Collectives>>) -> Self {
        Self { ranks, ..self }
    }

    /// The ranks that share the batch.
    pub(crate) fn ranks(&self) -> Option<&Arc<dyn Collectives>> {
        self.ranks.as_ref()
    }

    /// The same pass; if `on`, the backward pass computes everything in a [`Context::checkpoint`]
    /// again instead of saving it.
    ///
    /// [`Context::checkpoint`] shows it.
    #[must_use]
    pub fn with_checkpoints(self, on: bool) -> Self {
        Self { checkpoints: on, ..self }
    }

    /// The same pass, in which layers such as [`Dropout`](crate::layers::Dropout) draw the random
    /// numbers of `seed` and `step`. They depend on nothing else, so a run that is resumed at a
    /// step sees those that it would have seen. Ranks that share a batch take seeds of their own.
    #[must_use]
    pub fn with_seed(self, seed: u64, step: u64) -> Self {
        Self { draws: Some((seed, step)), ..self }
    }

    /// The random numbers for the next layer that needs some: stream after stream, in the order in
    /// which layers run. A part that is [computed again](Context::checkpoint) gets the same.
    ///
    /// ```
    /// use nn::{Context, Params};
    /// let (_, params) = Params::build(0, engine::DType::F32, |_| Ok(()))?;
    /// let cx = Context::inference(&params).with_seed(7, 12);
    /// let (mut first, mut second) = (cx.rng()?, cx.rng()?);
    /// assert_ne!(first.next_u64(), second.next_u64());
    /// // Without a seed there are none.
    /// assert!(Context::inference(&params).rng().is_err());
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if the pass has no [seed](Context::with_seed).
    pub fn rng(&self) -> Result<Rng> {
        let Some((seed, step)) = self.draws else {
            let message = "a layer draws random numbers, and the pass has no seed: with_seed";
            return Err(Error::Setting(message.into()));
        };
        let mut state = self.state.borrow_mut();
        let stream = state.streams;
        state.streams = stream.wrapping_add(1);
        Ok(Rng::at(seed, stream, step))
    }

    /// Whether this is a pass in training.
    pub fn is_training(&self) -> bool {
        self.mode == Mode::Train
    }

    /// The parameter `id` in the dtype that the pass computes in, on the tape if there is one.
    pub fn param(&self, id: ParamId) -> Result<Tensor> {
        self.param_at(self.index(id)?)
    }

    fn param_at(&self, index: usize) -> Result<Tensor> {
        let mut state = self.state.borrow_mut();
        if let Some(used) = &state.used[index] {
            return Ok(used.clone());
        }
        let value = &self.values[index];
        let leaf = match (&state.leaves[index], &self.tape) {
            // Seen before, in a planned part of the pass.
            (Some(leaf), _) => leaf.clone(),
            (None, Some(tape)) => tape.leaf(value),
            (None, None) => value.clone(),
        };
        let used = match self.compute.filter(|dtype| *dtype != leaf.dtype()) {
            None => leaf.clone(),
            Some(dtype) => leaf.to_dtype(dtype)?,
        };
        state.leaves[index] = Some(leaf);
        state.used[index] = Some(used.clone());
        Ok(used)
    }

    /// `x` in the dtype that the pass computes in.
    ///
    /// [`Context::computing_in`] shows it.
    pub fn to_compute(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self.compute {
            Some(dtype) if dtype != x.dtype() => x.to_dtype(dtype)?,
            _ => x.clone(),
        })
    }

    /// The buffer `id`: the value that this pass last recorded, or that from before the pass. So a
    /// layer that runs twice updates it twice.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::{Context, Params};
    /// let (count, mut params) = Params::build(0, DType::F64, |b| Ok(b.buffer("n", &[], 0.0)))?;
    /// for _ in 0..3 {
    ///     let cx = Context::inference(&params);
    ///     cx.update_buffer(count, cx.buffer(count)?.affine(1.0, 1.0)?);
    ///     cx.finish().update_buffers(&mut params)?;
    /// }
    /// assert_eq!(params.get(count)?.item()?, 3.0);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn buffer(&self, id: ParamId) -> Result<Tensor> {
        let index = self.index(id)?;
        self.state.borrow_mut().read.push(id);
        Ok(self.updated(id).unwrap_or_else(|| self.values[index].detach()))
    }

    /// The value that this pass last recorded for the buffer `id`.
    fn updated(&self, id: ParamId) -> Option<Tensor> {
        let state = self.state.borrow();
        state.updates.iter().rev().find(|(other, _)| *other == id).map(|(_, value)| value.clone())
    }

    fn index(&self, id: ParamId) -> Result<usize> {
        id.index_in(self.model, self.values.len())
    }

    /// Records a new value for the buffer `id`.
    ///
    /// [`Context::buffer`] shows it. A value that does not fit, or a trained parameter's `id`, is
    /// refused when the values are [stored](Pass::update_buffers).
    pub fn update_buffer(&self, id: ParamId, value: Tensor) {
        self.state.borrow_mut().updates.push((id, value));
    }

    /// Runs `f` on `inputs` as [planned](engine::planned): with neighboring operations fused. It
    /// computes the same as `f(self, inputs)`, faster and in less memory. Inside another planned
    /// computation it is a plain call, as the outer plan covers it.
    ///
    /// `f` gets tensors without elements; it may use their shapes but not their values.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::layers::{Activation, Conv2d, Module, Sequential};
    /// use nn::{Context, Params};
    /// let (net, params) = Params::build(0, DType::F32, |b| {
    ///     Ok(Sequential::new().then(Conv2d::new(b, 1, 4, 3)).then(Activation::Gelu))
    /// })?;
    /// let (cx, x) = (Context::inference(&params), Tensor::ones(&[1, 1, 8, 8], DType::F32)?);
    /// // The GELU is computed in the pass over memory that stores the convolution.
    /// let planned = cx.planned(&[x.clone()], |cx, x| Ok(vec![net.forward(cx, &x[0])?]))?;
    /// assert_eq!(planned[0].to_f64_vec()?, net.forward(&cx, &x)?.to_f64_vec()?);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn planned(
        &self,
        inputs: &[Tensor],
        f: impl FnOnce(&Self, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let (used, updates, observed) = {
            let state = self.state.borrow();
            (state.used.clone(), state.updates.len(), state.observed.len())
        };
        let mut outputs = 0;
        let results = engine::planned(inputs, |inputs| {
            let mut results = f(self, inputs)?;
            outputs = results.len();
            let state = self.state.borrow();
            results.extend(state.updates[updates..].iter().map(|(_, value)| value.clone()));
            results.extend(state.observed[observed..].iter().map(|(_, value)| value.clone()));
            Ok::<_, Error>(results)
        });
        // The parameters that layers saw were tensors without elements, too.
        let mut state = self.state.borrow_mut();
        state.used = used;
        let mut results = match results {
            Ok(results) => results,
            Err(error) => {
                // Nor do the records of the failed part.
                state.updates.truncate(updates);
                state.observed.truncate(observed);
                return Err(error);
            }
        };
        let mut noted = results.split_off(outputs).into_iter().map(|value| value.detach());
        let State { updates: all_updates, observed: all_observed, .. } = &mut *state;
        let values = all_updates[updates..].iter_mut().map(|(_, value)| value);
        let values = values.chain(all_observed[observed..].iter_mut().map(|(_, value)| value));
        values.zip(&mut noted).for_each(|(value, computed)| *value = computed);
        Ok(results)
    }

    /// Runs `f` on `x`; in a pass [with checkpoints](Context::with_checkpoints), without saving its
    /// intermediate results for the backward pass, which runs it again.
    ///
    /// Buffers are updated by the first run alone. Costs and observed maps inside are not recorded.
    ///
    /// ```
    /// use engine::{DType, Tape, Tensor};
    /// use nn::{Context, Params};
    /// let (w, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 3.0)))?;
    /// let x = Tensor::scalar(2.0, DType::F64)?;
    /// let gradient = |checkpoints| {
    ///     let tape = Tape::new();
    ///     let cx = Context::training(&params, &tape).with_checkpoints(checkpoints);
    ///     let y = cx.checkpoint(&x, move |cx, x| Ok(x.mul(&cx.param(w)?)?.square()?))?;
    ///     let gradient = cx.finish().gradients(tape.backward(&y)?).remove(0);
    ///     Ok::<_, nn::Error>(gradient.map(|gradient| gradient.item()).transpose()?)
    /// };
    /// // 2·w·x².
    /// assert_eq!((gradient(false)?, gradient(true)?), (Some(24.0), Some(24.0)));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn checkpoint<F>(&self, x: &Tensor, f: F) -> Result<Tensor>
    where
        F: Fn(&Context, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    {
        if self.tape.is_none() || !self.checkpoints {
            return f(self, x);
        }
        // Finds the parameters that it needs and the buffers that it updates, without computing
        // anything.
        let (values, model, mode) = (self.values.clone(), self.model, self.mode);
        let (compute, ranks, draws) = (self.compute, self.ranks.clone(), self.draws);
        let first_stream = self.state.borrow().streams;
        let off_tape = move || {
            let cx = Self::over(values.clone(), model, mode, None);
            cx.state.borrow_mut().streams = first_stream;
            Self { compute, ranks: ranks.clone(), draws, ..cx }
        };
        let scratch = off_tape();
        engine::infer(&[x], |x| Ok::<_, Error>(vec![f(&scratch, &x[0])?]))?;
        let State { used, updates, streams, read, .. } = scratch.state.into_inner();
        self.state.borrow_mut().streams = streams;
        let needed: Vec<usize> = (0..used.len()).filter(|&i| used[i].is_some()).collect();
        let params: Vec<Tensor> =
            needed.iter().map(|&i| self.param_at(i)).collect::<Result<_>>()?;
        // The buffers that it reads and that were updated before, once each.
        let mut earlier: Vec<(ParamId, Tensor)> = Vec::new();
        for id in read {
            if !earlier.iter().any(|(other, _)| *other == id)
                && let Some(value) = self.updated(id)
            {
                earlier.push((id, value));
            }
        }
        let (ids, buffers): (Vec<ParamId>, Vec<Tensor>) = earlier.into_iter().unzip();
        let inputs: Vec<&Tensor> = std::iter::once(x).chain(&params).chain(&buffers).collect();
        let run = move |inputs: &[Tensor]| {
            let cx = off_tape();
            let outputs = engine::planned(inputs, |inputs| {
                for (&i, value) in needed.iter().zip(&inputs[1..]) {
                    cx.state.borrow_mut().used[i] = Some(value.clone());
                }
                let buffers = &inputs[1 + needed.len()..];
                cx.state.borrow_mut().updates =
                    ids.iter().copied().zip(buffers.iter().cloned()).collect();
                let mut outputs = vec![f(&cx, &inputs[0])?];
                let state = cx.state.borrow();
                outputs.extend(state.updates[ids.len()..].iter().map(|(_, value)| value.clone()));
                Ok(outputs)
            });
            outputs.map_err(|error| match error {
                Error::Engine(error) => error,
                other => engine::Error::tape("checkpoint", other.to_string()),
            })
        };
        let mut outputs = engine::checkpoint(&inputs, run)?.into_iter();
        let output =
            outputs.next().ok_or_else(|| engine::Error::tape("checkpoint", "no output"))?;
        let updates = updates.into_iter().map(|(id, _)| id).zip(outputs);
        let updates = updates.map(|(id, value)| (id, value.detach()));
        self.state.borrow_mut().updates.extend(updates);
        Ok(output)
    }

    /// Starts recording the cost of each layer.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::layers::{Linear, Module};
    /// use nn::{Context, Params};
    /// let (linear, params) = Params::build(0, DType::F32, |b| Ok(Linear::new(b, 64, 10)))?;
    /// let cx = Context::inference(&params);
    /// cx.count_costs();
    /// linear.forward(&cx, &Tensor::zeros(&[8, 64], DType::F32)?)?;
    /// let cost = &cx.finish().costs[0];
    /// assert_eq!((cost.multiply_adds(), cost.parameters), (8 * 64 * 10, 64 * 10 + 10));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn count_costs(&self) {
        self.state.borrow_mut().costs.get_or_insert_default();
    }

    /// Records the cost of a layer, if that was asked for.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::{Context, Cost, LayerKind, Params};
    /// let (_, params) = Params::build(0, DType::F32, |_| Ok(()))?;
    /// let (cx, x) = (Context::inference(&params), Tensor::zeros(&[2, 3], DType::F32)?);
    /// let report = || cx.report(|| Cost::new("mine", LayerKind::Bilinear, &x, &x));
    /// report();
    /// cx.count_costs();
    /// report();
    /// assert_eq!(cx.finish().costs.len(), 1);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn report(&self, cost: impl FnOnce() -> Cost) {
        if self.state.borrow().costs.is_none() {
            return;
        }
        // The closure may ask this context for a parameter.
        let cost = cost();
        if let Some(costs) = &mut self.state.borrow_mut().costs {
            costs.push(cost);
        }
    }

    /// Starts recording the intermediate results whose names begin with `prefix`.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::{Context, Params};
    /// let (_, params) = Params::build(0, DType::F32, |_| Ok(()))?;
    /// let (cx, x) = (Context::inference(&params), Tensor::zeros(&[2, 3], DType::F32)?);
    /// cx.watch("encoder.");
    /// cx.observe(|| "encoder.0".into(), &x);
    /// cx.observe(|| "decoder.0".into(), &x);
    /// let observed = cx.finish().observed;
    /// assert_eq!(observed.len(), 1);
    /// assert_eq!(observed[0].0, "encoder.0");
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn watch(&self, prefix: impl Into<String>) {
        self.state.borrow_mut().watched = Some(prefix.into());
    }

    /// Records `x`, an intermediate result, if its name was asked for.
    ///
    /// [`Context::watch`] shows it.
    pub fn observe(&self, name: impl FnOnce() -> String, x: &Tensor) {
        let Some(prefix) = self.state.borrow().watched.clone() else { return };
        // The closure may ask this context for a parameter.
        let name = name();
        if name.starts_with(&prefix) {
            self.state.borrow_mut().observed.push((name, x.detach()));
        }
    }

    /// Ends the pass and returns its results.
    pub fn finish(self) -> Pass {
        let State { leaves, mut updates, costs, observed, .. } = self.state.into_inner();
        // Of several values of a buffer the last one stands, which was made from those before.
        let mut seen = HashSet::new();
        updates.reverse();
        updates.retain(|(id, _)| seen.insert(*id));
        updates.reverse();
        Pass { leaves, updates, costs: costs.unwrap_or_default(), observed }
    }
}

/// The results of a forward pass, besides its output.
#[must_use = "a pass in training holds new running statistics; a `TrainingStep` stores them"]
pub struct Pass {
    leaves: Vec<Option<Tensor>>,
    updates: Vec<(ParamId, Tensor)>,
    /// The cost of each layer, in order of execution, if [`Context::count_costs`] was called.
    pub costs: Vec<Cost>,
    /// The intermediate results that [`Context::watch`] asked for, in order of execution, with
    /// their names.
    pub observed: Vec<(String, Tensor)>,
}

impl Pass {
    /// The gradient of each entry of [`Params`], `None` for those that the loss does not depend on.
    pub fn gradients(&self, mut gradients: Gradients) -> Vec<Option<Tensor>> {
        self.leaves.iter().map(|leaf| gradients.take(leaf.as_ref()?)).collect()
    }

    /// Like [`Pass::gradients`], but of Σ ⟨`outputs[i]`, `seeds[i]`⟩, averaged over the ranks of
    /// `group` during the backward pass on `tape`. All ranks have the same graph.
    ///
    /// [`Buckets`] shows it.
    pub fn mean_gradients(
        &self,
        tape: Tape,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
        group: &ProcessGroup,
    ) -> Result<Vec<Option<Tensor>>> {
        let leaves = self.leaves.iter().enumerate();
        let entries: HashMap<_, _> =
            leaves.filter_map(|(i, leaf)| Some((tape.node_id(leaf.as_ref()?)?, i))).collect();
        let mut buckets = Buckets::new(group);
        tape.backward_with(outputs, seeds, |leaf, gradient| match entries.get(&leaf) {
            Some(&entry) => buckets.add(entry, &gradient),
            None => Ok(()),
        })?;
        buckets.finish(self.leaves.len())
    }

    /// The recorded values of buffers.
    pub(crate) fn updates(&self) -> &[(ParamId, Tensor)] {
        &self.updates
    }

    /// Stores the recorded values in the buffers of `params`.
    ///
    /// [`Context::buffer`] shows it.
    ///
    /// # Errors
    /// [`Error::Setting`] if one does not fit or is [traced](Tensor::is_traced), or is that of a
    /// trained parameter or of another model. Nothing is stored then.
    pub fn update_buffers(self, params: &mut Params) -> Result<()> {
        params.require_buffers(&self.updates)?;
        self.updates.into_iter().try_for_each(|(id, value)| params.set(id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm2d, Conv2d, Module};

    #[test]
    fn closures_of_records_may_ask_for_parameters() {
        let (weight, params) =
            Params::build(1, DType::F32, |b| Ok(b.constant("w", &[3], 1.0))).unwrap();
        let cx = Context::inference(&params);
        cx.count_costs();
        cx.watch("");
        let x = cx.param(weight).unwrap();
        cx.report(|| {
            let count = cx.param(weight).unwrap().numel();
            Cost::new("", crate::LayerKind::BatchNorm, &x, &x).with_parameters(count)
        });
        cx.observe(|| format!("{} weights", cx.param(weight).unwrap().numel()), &x);
        let pass = cx.finish();
        assert_eq!((pass.costs[0].parameters, &*pass.observed[0].0), (3, "3 weights"));
    }

    #[test]
    fn a_layer_that_runs_twice_updates_its_buffers_twice() {
        let (norm, params) = Params::build(0, DType::F64, |b| Ok(BatchNorm2d::new(b, 2))).unwrap();
        let batch = |factor: f64| {
            let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2, 1, 1]).unwrap();
            x.scale(factor).unwrap()
        };
        type Part<'a> = &'a dyn Fn(&Context, &Tensor) -> Result<Tensor>;
        let plain: Part<'_> = &|cx, x| norm.forward(cx, x);
        let planned: Part<'_> = &|cx, x| {
            let y = cx.planned(std::slice::from_ref(x), |cx, x| Ok(vec![norm.forward(cx, &x[0])?]));
            Ok(y?.swap_remove(0))
        };
        let checkpoint: Part<'_> = &|cx, x| {
            let norm = norm.clone();
            cx.checkpoint(x, move |cx, x| norm.forward(cx, x))
        };
        let within: Part<'_> = &|cx, x| {
            let y = cx.planned(std::slice::from_ref(x), |cx, x| Ok(vec![checkpoint(cx, &x[0])?]));
            Ok(y?.swap_remove(0))
        };
        // By PyTorch, whose statistics are those of 1 to 4 and then of ten times as much.
        let expected = [[2.18, 3.27], [20.99, 20.99]];
        let after = |run: &dyn Fn(&Context) -> Result<Tensor>| {
            let (tape, mut params) = (Tape::new(), params.clone());
            let cx = Context::training(&params, &tape).with_checkpoints(true);
            let loss = run(&cx).unwrap().square().unwrap().sum_all().unwrap();
            let pass = cx.finish();
            assert_eq!(pass.updates().len(), 2);
            assert!(pass.gradients(tape.backward(&loss).unwrap())[0].is_some());
            pass.update_buffers(&mut params).unwrap();
            for (found, expected) in params.values()[2..].iter().zip(expected) {
                let found = found.to_f64_vec().unwrap();
                assert!(
                    found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
                    "{found:?}"
                );
            }
        };
        for first in [plain, planned, checkpoint, within] {
            for second in [plain, planned, checkpoint, within] {
                let both =
                    |cx: &Context| Ok(first(cx, &batch(1.0))?.add(&second(cx, &batch(10.0))?)?);
                after(&both);
            }
            // Both in one part.
            after(&|cx| {
                let x = [batch(1.0), batch(10.0)];
                let y =
                    cx.planned(&x, |cx, x| Ok(vec![first(cx, &x[0])?.add(&first(cx, &x[1])?)?]));
                Ok(y?.swap_remove(0))
            });
        }
    }

    #[test]
    fn planned_parts_of_a_pass_share_their_parameters() {
        let build = |b: &mut crate::Builder<'_>| Ok(Conv2d::without_bias(b, 1, 1, 1));
        let (conv, params) = Params::build(1, DType::F64, build).unwrap();
        let x = Tensor::from_slice(&[1.0, 2.0, 4.0], &[1, 1, 1, 3]).unwrap();
        let tape = Tape::new();
        let cx = Context::training(&params, &tape);
        let part = |x: Tensor| {
            let y = cx.planned(&[x], |cx, x| Ok(vec![conv.forward(cx, &x[0])?]));
            y.unwrap().swap_remove(0)
        };
        let sum = part(x.clone()).add(&part(x.scale(2.0).unwrap())).unwrap();
        let failed = cx.planned(&[x], |cx, x| {
            cx.update_buffer(params.parameters().next().unwrap().0, x[0].clone());
            Err(Error::Setting("given up".into()))
        });
        assert!(failed.is_err());
        let pass = cx.finish();
        assert!(pass.updates().is_empty());
        let gradients = pass.gradients(tape.backward(&sum.sum_all().unwrap()).unwrap());
        assert_eq!(gradients[0].as_ref().unwrap().item().unwrap(), 3.0 * 7.0);
    }
}
