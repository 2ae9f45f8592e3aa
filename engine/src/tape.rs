//! The tape: what was computed from what, in the order it happened, so that gradients can flow
//! back.
//!
//! Nothing is recorded unless it is asked for: [`Tape::leaf`] puts a tensor on a tape, and an
//! operation records itself if one of its inputs is on one. [`Tape::backward`] consumes the tape.
//! It takes the records off the end one by one, asks each for the gradients of its inputs, adds
//! them up, and drops what the record kept: memory falls while gradients flow. The records hold
//! tensors that are off the tape, so nothing points in a circle.
//!
//! ```
//! use engine::{DType, Tape, Tensor};
//! let tape = Tape::new();
//! let x = tape.leaf(&Tensor::scalar(3.0, DType::F64));
//! let y = x.mul(&x)?;
//! let gradients = tape.backward(&y)?;
//! assert_eq!(gradients.get(&x).unwrap().item()?, 6.0);
//! # Ok::<(), engine::Error>(())
//! ```
//!
//! Gradients are first-order: the backward pass computes with plain tensors and cannot itself be
//! differentiated.

use crate::profile::{Call, time};
use crate::tensor::Meta;
use crate::{Error, Result, Tensor};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What errors of a backward pass name.
const OP: &str = "backward";

/// A recording of operations. Cloning the handle does not copy the recording.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Recording>>);

/// Names a tensor of one tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(usize);

/// A tensor's place on a tape.
#[derive(Clone)]
pub(crate) struct Node {
    tape: Tape,
    pub(crate) id: usize,
}

#[derive(Default)]
struct Recording {
    /// Shape and dtype of every tensor that is on the tape.
    nodes: Vec<Meta>,
    records: Vec<Record>,
    consumed: bool,
}

/// One operation that happened.
struct Record {
    name: &'static str,
    /// The node of each input, `None` for one that is not on the tape.
    inputs: Vec<Option<usize>>,
    outputs: Vec<usize>,
    /// Bytes that `backward` keeps alive.
    kept: usize,
    backward: Backward,
}

/// Takes the gradient of each output (`None`: nothing depends on it) and returns one for each
/// input.
pub(crate) type Backward =
    Box<dyn FnOnce(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> + Send>;

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// `tensor`, on this tape: the operations it enters are recorded, and [`Tape::backward`] gives
    /// its gradient.
    pub fn leaf(&self, tensor: &Tensor) -> Tensor {
        let id = self.lock().add_node(tensor.meta());
        tensor.clone().with_node(Node { tape: self.clone(), id })
    }

    /// The gradients of `loss`, a tensor of one element, with respect to the leaves. Consumes the
    /// recording.
    pub fn backward(self, loss: &Tensor) -> Result<Gradients> {
        if loss.numel() != 1 {
            return Err(Error::shape(
                OP,
                format!("the loss must be one number, got shape {:?}", loss.shape()),
            ));
        }
        let one = loss.constant(&[1.0], loss.shape())?;
        self.backward_from(&[loss], vec![Some(one)])
    }

    /// The gradients of Σ ⟨`outputs[i]`, `seeds[i]`⟩ with respect to the leaves. Consumes the
    /// recording.
    pub fn backward_from(
        self,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
    ) -> Result<Gradients> {
        let mut found = Gradients { tape: self.clone(), by_node: HashMap::new() };
        self.backward_with(outputs, seeds, |leaf, gradient| {
            found.by_node.insert(leaf.0, gradient);
            Ok::<_, Error>(())
        })?;
        Ok(found)
    }

    /// As [`Tape::backward_from`], giving each leaf's gradient to `found` as soon as nothing is
    /// added to it any more, while the gradients of earlier operations are still to come.
    /// [`Tape::place`] says whose it is. An error of `found` ends the pass.
    pub fn backward_with<E: From<Error>>(
        self,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
        mut found: impl FnMut(Place, Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let starts = self.starts(outputs, seeds)?;
        let (nodes, mut records) = self.lock().consume(OP)?;
        let mut gradients = Gradients { tape: self.clone(), by_node: HashMap::new() };
        for (id, seed) in starts {
            gradients.add(id, seed, &nodes[id])?;
        }
        let mut uses = Uses::of(&records, nodes.len());
        while let Some(record) = records.pop() {
            crate::interrupt::check(record.name)?;
            let dy: Vec<_> = record.outputs.iter().map(|id| gradients.by_node.remove(id)).collect();
            if dy.iter().any(Option::is_some) {
                let dx = (record.backward)(dy)?;
                if dx.len() != record.inputs.len() {
                    let message =
                        format!("{} inputs got {} gradients", record.inputs.len(), dx.len());
                    return Err(Error::tape(record.name, message).into());
                }
                for (input, gradient) in record.inputs.iter().zip(dx) {
                    if let (Some(id), Some(gradient)) = (input, gradient) {
                        gradients.add(*id, gradient, &nodes[*id])?;
                    }
                }
            }
            for &id in record.inputs.iter().flatten() {
                if uses.was_last_of_leaf(id)
                    && let Some(gradient) = gradients.by_node.remove(&id)
                {
                    found(Place(id), gradient)?;
                }
            }
        }
        // What is left are leaves that no operation used, differentiated by themselves.
        let mut left: Vec<_> = gradients.by_node.into_iter().collect();
        left.sort_by_key(|(id, _)| *id);
        left.into_iter().try_for_each(|(id, gradient)| found(Place(id), gradient))
    }

    /// The place of `tensor` on this tape; `None` if it is on none or on another.
    pub fn place(&self, tensor: &Tensor) -> Option<Place> {
        self.own("place", tensor).ok().flatten().map(Place)
    }

    /// The nodes that a backward pass begins at, with their gradients.
    fn starts(
        &self,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
    ) -> Result<Vec<(usize, Tensor)>> {
        if outputs.len() != seeds.len() {
            return Err(Error::tape(
                OP,
                format!("{} outputs with {} seeds", outputs.len(), seeds.len()),
            ));
        }
        let mut starts = Vec::new();
        for (output, seed) in outputs.iter().zip(seeds) {
            let Some(id) = self.own(OP, output)? else {
                return Err(Error::tape(OP, "the tensor to differentiate is not on this tape"));
            };
            let Some(seed) = seed else { continue };
            if seed.meta() != output.meta() {
                return Err(Error::shape(
                    OP,
                    format!("the seed is {}, the output {}", seed.meta(), output.meta()),
                ));
            }
            starts.push((id, seed));
        }
        Ok(starts)
    }

    /// The names of the operations recorded so far, in order.
    pub fn operations(&self) -> Vec<&'static str> {
        self.lock().records.iter().map(|record| record.name).collect()
    }

    /// Bytes that the records keep for the backward pass. A tensor kept by two records counts
    /// twice.
    pub fn kept_bytes(&self) -> usize {
        self.lock().records.iter().map(|record| record.kept).sum()
    }

    /// Records an operation and returns its outputs with their places on the tape.
    pub(crate) fn record(
        &self,
        name: &'static str,
        inputs: &[&Tensor],
        outputs: Vec<Tensor>,
        kept: usize,
        backward: Backward,
    ) -> Result<Vec<Tensor>> {
        let inputs = inputs.iter().map(|input| self.own(name, input)).collect::<Result<_>>()?;
        let mut recording = self.lock();
        if recording.consumed {
            return Err(Error::tape(
                name,
                "an input is on a tape that backward has already consumed",
            ));
        }
        let ids: Vec<usize> =
            outputs.iter().map(|output| recording.add_node(output.meta())).collect();
        recording.records.push(Record { name, inputs, outputs: ids.clone(), kept, backward });
        drop(recording);
        let place = |(output, id): (Tensor, usize)| {
            output.detach().with_node(Node { tape: self.clone(), id })
        };
        Ok(outputs.into_iter().zip(ids).map(place).collect())
    }

    /// The node of `tensor` on this tape, `None` if it is on none; an error if it is on another.
    fn own(&self, op: &'static str, tensor: &Tensor) -> Result<Option<usize>> {
        match tensor.node() {
            None => Ok(None),
            Some(node) if Arc::ptr_eq(&node.tape.0, &self.0) => Ok(Some(node.id)),
            Some(_) => Err(Error::tape(op, "the inputs are on different tapes")),
        }
    }

    /// No code panics while it holds the lock, so the recording is whole even if a thread died.
    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// The tape of the first of `tensors` that is on one.
    pub(crate) fn tape_of<T: Borrow<Tensor>>(tensors: &[T]) -> Option<Tape> {
        tensors.iter().find_map(|tensor| tensor.borrow().node()).map(|node| node.tape.clone())
    }
}

impl Recording {
    fn add_node(&mut self, meta: Meta) -> usize {
        self.nodes.push(meta);
        self.nodes.len() - 1
    }

    fn consume(&mut self, op: &'static str) -> Result<(Vec<Meta>, Vec<Record>)> {
        if std::mem::replace(&mut self.consumed, true) {
            return Err(Error::tape(op, "backward has already consumed this tape"));
        }
        // The nodes stay, so that a number is never given twice.
        Ok((self.nodes.clone(), std::mem::take(&mut self.records)))
    }
}

/// One record a line: `#5 = conv2d(#1, #2, –) [1, 8, 16, 16] f32, keeps 8.0 KiB`.
impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recording = self.lock();
        for record in &recording.records {
            let inputs: Vec<String> = record
                .inputs
                .iter()
                .map(|id| id.map_or("–".into(), |id| format!("#{id}")))
                .collect();
            let named = |show: &dyn Fn(usize) -> String| {
                record.outputs.iter().map(|&id| show(id)).collect::<Vec<_>>().join(", ")
            };
            let (outputs, metas) =
                (named(&|id| format!("#{id}")), named(&|id| recording.nodes[id].to_string()));
            write!(f, "{outputs} = {}({}) {metas}", record.name, inputs.join(", "))?;
            writeln!(f, ", keeps {:.1} KiB", record.kept as f64 / 1024.0)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.operations().len();
        write!(f, "Tape({records} records, keeps {} bytes)", self.kept_bytes())
    }
}

/// How often leaves are still used by operations whose backward is to come.
struct Uses(Vec<usize>);

impl Uses {
    /// No use is ever the last one of a tensor that an operation made: its gradient goes into that
    /// operation's backward.
    const MADE: usize = usize::MAX;

    fn of(records: &[Record], nodes: usize) -> Self {
        let mut uses = vec![0; nodes];
        for record in records {
            record.inputs.iter().flatten().for_each(|&id| uses[id] += 1);
        }
        records.iter().flat_map(|record| &record.outputs).for_each(|&id| uses[id] = Self::MADE);
        Self(uses)
    }

    /// Counts one use, and says whether the node is a leaf that has no other.
    fn was_last_of_leaf(&mut self, id: usize) -> bool {
        if self.0[id] != Self::MADE {
            self.0[id] -= 1;
        }
        self.0[id] == 0
    }
}

/// What [`Tape::backward`] found: the gradient of every leaf that the loss depends on.
pub struct Gradients {
    tape: Tape,
    by_node: HashMap<usize, Tensor>,
}

impl Gradients {
    /// The gradient with respect to `leaf`, in its shape; `None` if the loss does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.by_node.get(&self.tape.own("gradient", leaf).ok()??)
    }

    /// As [`Gradients::get`], moved out.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Tensor> {
        self.by_node.remove(&self.tape.own("gradient", leaf).ok()??)
    }

    /// The one place in the engine that adds gradients together: the first moves in, later ones are
    /// added, and a gradient in the shape that an operand was broadcast to is summed back to the
    /// operand's own.
    fn add(&mut self, id: usize, gradient: Tensor, meta: &Meta) -> Result<()> {
        let gradient = gradient.sum_to(&meta.shape)?;
        let sum = match self.by_node.remove(&id) {
            None => gradient,
            Some(earlier) => {
                let call = Call::new("accumulate", &[earlier.meta(), gradient.meta()], meta, || 0);
                time(call, || crate::ops::arith::accumulate(earlier, &gradient))?
            }
        };
        self.by_node.insert(id, sum);
        Ok(())
    }
}
