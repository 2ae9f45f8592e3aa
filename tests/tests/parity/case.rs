//! A case: a network, a batch, and a file of what PyTorch makes of them; and what we make of them,
//! under the same names.

use crate::reference::{Folder, Tensors};
use crate::report::{largest, norm};
use engine::{DType, Tape, Tensor};
use irnext::model::{Loss, LossConfig, Model, dual_domain};
use nn::optim::{Optimizer, Rule, clip_global_norm, global_norm};
use nn::{Context, EntryKind, Mode, Params, Pass, TrainingStep};
use std::collections::{BTreeSet, HashMap};

/// The learning rate and the clipping of the trajectories.
const RATE: f64 = 1e-4;
const CLIP: f64 = 1e-3;

/// `case_<weights>_<eval or train>_<N>x<H>x<W>.safetensors`.
pub struct Case {
    pub name: String,
    pub model: Model,
    pub file: Tensors,
}

/// A key of a file.
pub struct Key {
    /// The key without the `64` that ends its first part: `grad64.train.FAM1.merge.main.0.bias` is
    /// `grad.train.FAM1.merge…`.
    pub name: String,
    /// Whether PyTorch computed in f64.
    pub double: bool,
}

impl Case {
    pub fn open(folder: &Folder, name: &str) -> Self {
        // Mode and sizes are the last two parts.
        let weights = name.strip_prefix("case_").and_then(|name| name.rsplitn(3, '_').nth(2));
        let weights =
            weights.unwrap_or_else(|| panic!("{name}: not case_<weights>_<mode>_<sizes>"));
        Self { name: name.into(), model: folder.model(weights), file: folder.tensors(name) }
    }

    /// The keys of all results, those of trajectories or the others.
    pub fn keys(&self, of_trajectory: bool) -> impl Iterator<Item = (&str, Key, &Tensor)> {
        let keys = self.file.iter().filter(|(key, _)| !["input", "label"].contains(&key.as_str()));
        let keys = keys.map(|(key, value)| (key.as_str(), Key::of(key), value));
        keys.filter(move |(_, key, _)| key.name.starts_with("traj.") == of_trajectory)
    }

    /// The network's parameters in this dtype; the files have them in f32.
    pub fn params(&self, dtype: DType) -> Params {
        self.model.params.to_dtype(dtype).unwrap()
    }

    fn batch(&self, dtype: DType) -> [Tensor; 2] {
        ["input", "label"].map(|name| self.file[name].to_dtype(dtype).unwrap())
    }

    /// Whether the file has results whose names begin so.
    fn asks_for(&self, starts: &[String]) -> bool {
        self.keys(false).any(|(_, key, _)| starts.iter().any(|start| key.name.starts_with(start)))
    }
}

impl Key {
    fn of(key: &str) -> Self {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        let double = first.ends_with("64");
        let first = first.strip_suffix("64").unwrap_or(first);
        Self {
            name: if rest.is_empty() { first.into() } else { format!("{first}.{rest}") },
            double,
        }
    }
}

/// A forward pass, the loss, and their gradients.
pub struct Evaluation {
    pub outputs: [Tensor; 3],
    pub loss: Loss,
    pub gradients: Vec<Option<Tensor>>,
    pub pass: Pass,
}

impl Evaluation {
    fn of(
        case: &Case,
        params: &Params,
        mode: Mode,
        [input, label]: &[Tensor; 2],
        backward: bool,
    ) -> Self {
        let tape = Tape::new();
        let cx = Context::new(params, mode, backward.then_some(&tape));
        let outputs = case.model.network.forward(&cx, input).unwrap();
        let loss = dual_domain(&outputs, label, LossConfig::default()).unwrap();
        let pass = cx.finish();
        let gradients =
            if backward { pass.gradients(tape.backward(&loss.total).unwrap()) } else { Vec::new() };
        Self { outputs, loss, gradients, pass }
    }
}

/// What we compute for a case, under the names of its keys.
#[derive(Default)]
pub struct Run(HashMap<String, Tensor>);

impl Run {
    /// All but the trajectory.
    pub fn of(case: &Case, dtype: DType) -> Self {
        let mut run = Self::default();
        let (params, batch) = (case.params(dtype), case.batch(dtype));
        let [_, _, h, w] = batch[1].dims4("label").unwrap();
        run.add("label_half", batch[1].bilinear(h / 2, w / 2, false).unwrap());
        run.add("label_quarter", batch[1].bilinear(h / 4, w / 4, false).unwrap());
        for (mode, name) in [(Mode::Eval, "eval"), (Mode::Train, "train")] {
            let backward =
                case.asks_for(&[format!("grad.{name}"), format!("gradnorm_total.{name}")]);
            let statistics = mode == Mode::Train && case.asks_for(&["bn_after".into()]);
            if backward
                || statistics
                || case.asks_for(&[format!("out.{name}"), format!("loss.{name}")])
            {
                run.add_evaluation(
                    &params,
                    name,
                    Evaluation::of(case, &params, mode, &batch, backward),
                );
            }
        }
        run
    }

    fn add_evaluation(&mut self, params: &Params, mode: &str, evaluation: Evaluation) {
        let Evaluation { outputs, loss, gradients, pass } = evaluation;
        for (i, output) in outputs.into_iter().enumerate() {
            self.add(&format!("out.{mode}.{i}"), output);
        }
        let scales = |terms: &[Tensor]| {
            let terms: Vec<Tensor> =
                terms.iter().map(|term| term.detach().reshape(&[1]).unwrap()).collect();
            Tensor::concat(&terms.iter().collect::<Vec<_>>(), 0).unwrap()
        };
        self.add(&format!("loss.{mode}.pixel_scales"), scales(&loss.spatial_scales));
        self.add(&format!("loss.{mode}.fft_scales"), scales(&loss.frequency_scales));
        self.add(&format!("loss.{mode}.pixel"), loss.spatial);
        self.add(&format!("loss.{mode}.fft"), loss.frequency);
        self.add(&format!("loss.{mode}.total"), loss.total);
        let total = Tensor::scalar(global_norm(&gradients).unwrap(), DType::F64).unwrap();
        self.add(&format!("gradnorm_total.{mode}"), total);
        for (entry, gradient) in params.entries().iter().zip(gradients) {
            if let Some(gradient) = gradient {
                self.add(&format!("grad.{mode}.{}", entry.path), gradient);
            }
        }
        if mode == "train" {
            let mut after = params.clone();
            pass.update_buffers(&mut after).unwrap();
            for entry in after.entries().iter().filter(|entry| entry.kind == EntryKind::Buffer) {
                self.add(&format!("bn_after.{}", entry.path), entry.value.clone());
            }
        }
    }

    /// The trajectory alone, from `params` on and in their dtype.
    pub fn of_trajectory(case: &Case, params: &Params) -> Self {
        // Keys with a number are about the state after that many steps; the curves have a value for
        // each step.
        let states: BTreeSet<usize> = case
            .keys(true)
            .filter_map(|(_, key, _)| key.name.split('.').nth(1)?.parse().ok())
            .collect();
        let curves = case
            .keys(true)
            .filter(|(_, key, _)| key.name == "traj.total")
            .map(|(_, _, curve)| curve.numel() - 1);
        let steps = curves.chain(states.iter().copied()).max().unwrap_or(0);
        let mut run = Self::default();
        let curves = train(case, params, steps, |step, params, _| {
            if states.contains(&step) {
                for entry in params.entries() {
                    let kind = if entry.kind == EntryKind::Buffer { "buffer" } else { "param" };
                    run.add(&format!("traj.{step}.{kind}.{}", entry.path), entry.value.clone());
                }
            }
        });
        for (name, curve) in ["pixel", "fft", "total", "gradnorm"].into_iter().zip(curves) {
            run.add(&format!("traj.{name}"), Tensor::from_slice(&curve, &[curve.len()]).unwrap());
        }
        run
    }

    fn add(&mut self, name: &str, value: Tensor) {
        self.0.insert(name.into(), value.detach());
    }

    /// The numbers called `name`. The files have some tensors whole, and of others the norm
    /// (`grad.train_norm.<path>`) and samples (`grad.train_samp.<path>`).
    pub fn get(&self, name: &str) -> Option<Numbers> {
        let part = ["_norm.", "_samp."].into_iter().find(|part| name.contains(part)).unwrap_or(".");
        let whole = self.0.get(&name.replacen(part, ".", 1))?.to_f64_vec().unwrap();
        let (largest, of) = (largest(&whole), whole.len());
        let values = match part {
            "_norm." => vec![norm(&whole)],
            "_samp." => samples(&whole),
            _ => whole,
        };
        Some(Numbers { values, largest, of })
    }
}

/// The part of a tensor that the files hold, if not the whole.
pub fn samples(whole: &[f64]) -> Vec<f64> {
    whole.iter().copied().step_by((whole.len() / 64).max(1)).take(64).collect()
}

/// The numbers that a key has, whole or not.
pub struct Numbers {
    pub values: Vec<f64>,
    /// The largest absolute value of the whole tensor.
    pub largest: f64,
    /// How many numbers the whole tensor has.
    pub of: usize,
}

/// Trains on the case's batch for `steps` steps, from `params` on and in their dtype. `after` sees
/// each step's number, from 1, and the state after it. Returns the losses before each step and at
/// the end (spatial, frequency, total), and the gradients' norms before clipping.
pub fn train(
    case: &Case,
    params: &Params,
    steps: usize,
    mut after: impl FnMut(usize, &Params, &Optimizer),
) -> [Vec<f64>; 4] {
    let (mut params, batch) = (params.clone(), case.batch(params.entries()[0].value.dtype()));
    let mut optimizer = Optimizer::new(Rule::adam(), &params);
    let mut curves = [const { Vec::new() }; 4];
    for number in 0..=steps {
        let Evaluation { loss, mut gradients, pass, .. } =
            Evaluation::of(case, &params, Mode::Train, &batch, number < steps);
        for (curve, value) in curves.iter_mut().zip([loss.spatial, loss.frequency, loss.total]) {
            curve.push(value.item().unwrap());
        }
        if number < steps {
            curves[3].push(clip_global_norm(&mut gradients, CLIP).unwrap());
            let mut step = TrainingStep::begin(&mut optimizer, None, RATE).unwrap();
            step.apply(&mut params, &gradients, pass, None).unwrap();
            step.commit();
            after(number + 1, &params, &optimizer);
        }
    }
    curves
}

/// Whether a key is about a parameter that has no gradient but rounding: the bias of ConvS's last
/// convolution, which an instance normalization takes away again.
pub fn is_rounding(key: &str) -> bool {
    ["SCM1", "SCM2"].iter().any(|conv_s| key.ends_with(&format!("{conv_s}.main.3.main.0.bias")))
}
