//! A step of training: forward, backward, and the parameters moved.
//!
//! Its results are read when all of it has been queued; on a GPU it is recorded once, and then
//! replayed.

use crate::compute::Precision;
use crate::error::Result;
use crate::model::{Loss, LossConfig, Model, dual_domain};
use engine::{Collectives, DType, Device, Replay, Tape, Tensor, interruptible};
use nn::distributed::{Buckets, ProcessGroup};
use nn::optim::{Clip, Optimizer, Rule, norm};
use nn::{Context, Ema, Params, Pass, TrainingStep};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The initial factor of a loss where gradients are in half precision, so that small ones do not
/// become 0.
pub const LOSS_SCALE: f64 = 65536.0;

/// The state of a run that its steps change.
pub struct TrainingState {
    /// The network.
    pub model: Model,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The moving average, if there is one.
    pub ema: Option<Ema>,
    replay: Replay,
    stop: Arc<AtomicBool>,
    group: Option<Arc<ProcessGroup>>,
    checkpoints: bool,
}

/// The settings of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// The loss.
    pub loss: LossConfig,
    /// The precision of the network's products and sums. A recorded step keeps its own.
    pub precision: Precision,
    /// The learning rate.
    pub rate: f64,
    /// The gradients' largest global norm.
    pub limit: f64,
    /// The factor of the loss, by which the gradients are divided; see [`LOSS_SCALE`].
    pub loss_scale: Option<f64>,
}

/// The results of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Equation 10.
    pub loss: f64,
    /// Equation 8.
    pub spatial: f64,
    /// Equation 9.
    pub frequency: f64,
    /// The gradients' global norm before clipping.
    pub gradient_norm: f64,
    /// Whether the parameters were left unchanged because one of these is not finite.
    pub skipped: bool,
}

impl TrainingState {
    /// The state before the first step. `ema` is the decay of a moving average; 0, none.
    pub fn new(model: Model, rule: Rule, ema: f64) -> Result<Self> {
        let optimizer = Optimizer::new(rule, &model.params);
        let ema = (ema > 0.0).then(|| Ema::new(&model.params, ema)).transpose()?;
        Ok(Self::resumed(model, optimizer, ema))
    }

    /// The state of a run that is resumed.
    pub fn resumed(model: Model, optimizer: Optimizer, ema: Option<Ema>) -> Self {
        Self {
            model,
            optimizer,
            ema,
            replay: Replay::default(),
            stop: Arc::default(),
            group: None,
            checkpoints: false,
        }
    }

    /// The same state on `device`.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let Self { model, optimizer, ema, .. } = self;
        let params = model.params.to_device(device)?;
        let ema = ema.map(|ema| ema.to_device(device)).transpose()?;
        Ok(Self::resumed(Model { params, ..model }, optimizer.to_device(device)?, ema))
    }

    /// Once `stop` is true, steps are interrupted in the middle: [`engine::Error::Interrupted`].
    pub fn stop_when(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }

    /// Takes steps together with the ranks of `group`, each on its part of the batch. All ranks
    /// have the same state, before and after each step.
    pub fn set_process_group(&mut self, group: Option<Arc<ProcessGroup>>) {
        self.group = group;
    }

    /// Sets whether steps trade time for memory: whether the backward pass computes CNNBlocks
    /// again.
    pub fn set_checkpoints(&mut self, on: bool) {
        self.checkpoints = on;
    }

    /// The values for predictions: the moving average, if there is one.
    pub fn values(&self) -> Vec<Tensor> {
        match &self.ema {
            Some(ema) => ema.values().to_vec(),
            None => self.model.params.values(),
        }
    }

    /// Takes one step on the degraded images `input` with the ground truth `target`: both of shape
    /// `[N, 3, H, W]`, in f32, on the device of the state.
    ///
    /// # Errors
    /// After one, the state is as it was before.
    pub fn step(
        &mut self,
        input: Tensor,
        target: Tensor,
        settings: StepSettings,
    ) -> Result<StepResult> {
        let mut inputs = vec![input, target];
        if let Some(scale) = settings.loss_scale {
            inputs.push(Tensor::from_slice(&[scale as f32], &[1])?.to_device(inputs[0].device())?);
        }
        let Self { model, optimizer, ema, replay, stop, group, checkpoints } = self;
        let checkpoints = *checkpoints;
        let mut step = TrainingStep::begin_replayed(optimizer, ema.as_mut(), settings.rate)?;
        let outputs = replay.run(&inputs, |inputs| {
            let work = || gradients(model, inputs, settings, group.as_ref(), checkpoints);
            let found = settings.precision.numerics().scope(|| interruptible(stop, work))?;
            apply(&mut step, &mut model.params, found, settings.limit)
        })?;
        let mut numbers = [0.0; 4];
        for (number, output) in numbers.iter_mut().zip(&outputs) {
            *number = output.item()?;
        }
        let [loss, spatial, frequency, gradient_norm] = numbers;
        let skipped = !(loss.is_finite() && gradient_norm.is_finite());
        match skipped {
            true => step.rollback(),
            false => step.commit(),
        }
        Ok(StepResult { loss, spatial, frequency, gradient_norm, skipped })
    }
}

/// The results of the forward and backward passes.
struct BackwardResult {
    loss: Tensor,
    spatial: Tensor,
    frequency: Tensor,
    gradients: Vec<Option<Tensor>>,
    pass: Pass,
}

/// Queues the forward and backward passes. `inputs` are the degraded images, the ground truth, and
/// the loss scale if there is one.
fn gradients(
    model: &Model,
    inputs: &[Tensor],
    settings: StepSettings,
    group: Option<&Arc<ProcessGroup>>,
    checkpoints: bool,
) -> Result<BackwardResult> {
    let Model { network, params, .. } = model;
    let (input, target, scale) = (&inputs[0], &inputs[1], inputs.get(2));
    let tape = Tape::new();
    let ranks = group.map(|group| group.clone() as Arc<dyn Collectives>);
    let cx = Context::training(params, &tape).computing_in(settings.precision.dtype());
    let cx = cx.with_ranks(ranks).with_checkpoints(checkpoints);
    let [quarter, half, full] = network.forward(&cx, &cx.to_compute(input)?)?;
    let predictions = [in_f32(quarter)?, in_f32(half)?, in_f32(full)?];
    let Loss { spatial, frequency, total, .. } = dual_domain(&predictions, target, settings.loss)?;
    drop(predictions);
    let pass = cx.finish();
    let losses = [total.detach(), spatial.detach(), frequency.detach()];
    let seed = match scale {
        None => total.constant(&[1.0], total.shape())?,
        Some(scale) => scale.reshape(&[])?,
    };
    let (losses, mut gradients) = match group {
        None => (losses, pass.gradients(tape.backward_from(&[&total], vec![Some(seed)])?)),
        Some(group) => {
            let gradients = pass.mean_gradients(tape, &[&total], vec![Some(seed)], group)?;
            (means(group, &losses)?, gradients)
        }
    };
    let [loss, spatial, frequency] = losses;
    if let Some(scale) = scale {
        for gradient in gradients.iter_mut().flatten() {
            *gradient = gradient.div(scale)?;
        }
    }
    Ok(BackwardResult { loss, spatial, frequency, gradients, pass })
}

/// The means over the ranks of the results on each one's part of the batch: the results for the
/// whole batch.
fn means(group: &ProcessGroup, losses: &[Tensor; 3]) -> Result<[Tensor; 3]> {
    let mut buckets = Buckets::new(group);
    losses.iter().enumerate().try_for_each(|(i, loss)| buckets.add(i, loss))?;
    let means: Vec<Tensor> = buckets.finish(losses.len())?.into_iter().flatten().collect();
    Ok(means.try_into().expect("as many as were put in"))
}

/// Queues the update of the parameters. Returns the loss, its spatial and its frequency part, and
/// the gradients' norm before clipping; if one of them is not finite, nothing has changed.
fn apply(
    step: &mut TrainingStep<'_>,
    params: &mut Params,
    found: BackwardResult,
    limit: f64,
) -> Result<Vec<Tensor>> {
    let BackwardResult { loss, spatial, frequency, gradients, pass } = found;
    // A loss that is not finite stops the step as a norm does: 0 times it is 0 or NaN.
    let norm = norm(&gradients)?;
    let checked = norm.add(&loss.to_dtype(DType::F64)?.scale(0.0)?)?;
    step.apply(params, &gradients, pass, Some(Clip { norm: &checked, limit }))?;
    Ok(vec![loss, spatial, frequency, norm])
}

/// `x` in f32, if it is in half precision.
fn in_f32(x: Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => Ok(x.to_dtype(DType::F32)?),
        _ => Ok(x),
    }
}
