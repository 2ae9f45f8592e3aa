//! The tape: the record of a computation, in its order, so that gradients can flow back.
//!
//! Nothing is recorded without a request: [`Tape::leaf`] puts a tensor on a tape, and an operation
//! records itself if one of its inputs is on one. [`Tape::backward`] (in `backward.rs`) consumes
//! the tape. It takes the records off the end one by one, asks each for the gradients of its
//! inputs, adds them up, and drops the saved tensors of the record: memory falls while gradients
//! flow. The records hold tensors that are off the tape, so nothing points in a circle.
//!
//! ```
//! use engine::{DType, Tape, Tensor};
//! let tape = Tape::new();
//! let x = tape.leaf(&Tensor::scalar(3.0, DType::F64)?);
//! let y = x.mul(&x)?;
//! let gradients = tape.backward(&y)?;
//! assert_eq!(gradients.get(&x).unwrap().item()?, 6.0);
//! # Ok::<(), engine::Error>(())
//! ```
//!
//! Gradients are first-order: the backward pass computes with plain tensors and cannot itself be
//! differentiated.

use crate::{Error, Meta, Numerics, Result, Tensor, counted};
use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The operation that errors of a backward pass name.
pub(crate) const OP: &str = "backward";

/// A recording of operations. Cloning the handle does not copy the recording.
///
/// ```
/// use engine::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(&Tensor::from_slice(&[1.0, 2.0], &[2])?);
/// let loss = x.square()?.sum_all()?;
/// assert_eq!(tape.operations(), ["square", "sum", "reshape"]);
/// assert_eq!(tape.saved_bytes(), 16); // square saves x; the others need nothing
/// let gradients = tape.backward(&loss)?;
/// assert_eq!(gradients.get(&x).unwrap().to_f64_vec()?, [2.0, 4.0]);
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Records>>);

/// Names a tensor of one tape. See [`Tape::node_id`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub(crate) usize);

/// A tensor's node on a tape.
#[derive(Clone)]
pub(crate) struct Node {
    tape: Tape,
    pub(crate) id: usize,
}

impl Node {
    /// Whether both are the same node of the same tape.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tape.0, &other.tape.0) && self.id == other.id
    }
}

#[derive(Default)]
struct Records {
    /// Shape and dtype of every tensor that is on the tape.
    nodes: Vec<Meta>,
    records: Vec<Record>,
    consumed: bool,
}

/// One operation that happened.
pub(crate) struct Record {
    pub(crate) name: &'static str,
    /// The node of each input, `None` for one that is not on the tape.
    pub(crate) inputs: Vec<Option<usize>>,
    pub(crate) outputs: Vec<usize>,
    /// Bytes of the tensors saved for `backward`.
    saved_bytes: usize,
    /// The numerics of the forward pass, under which `backward` runs, too.
    pub(crate) numerics: Numerics,
    pub(crate) backward: Backward,
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
    /// its gradient. One that is on a tape already becomes a leaf of its own here, as after
    /// [`Tensor::detach`]: no gradient flows on to what it was computed from.
    ///
    /// ```
    /// use engine::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let constant = Tensor::from_slice(&[3.0], &[1])?;
    /// let x = tape.leaf(&constant);
    /// let y = x.mul(&constant)?; // recorded
    /// constant.square()?; // not recorded
    /// assert_eq!(tape.operations(), ["mul"]);
    /// assert_eq!(tape.backward(&y)?.get(&x).unwrap().item()?, 3.0);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn leaf(&self, tensor: &Tensor) -> Tensor {
        let id = self.lock().add_node(tensor.meta());
        tensor.clone().with_node(Node { tape: self.clone(), id })
    }

    /// The node of `tensor` on this tape; `None` if it is on none or on another.
    ///
    /// ```
    /// use engine::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let constant = Tensor::from_slice(&[3.0], &[1])?;
    /// let x = tape.leaf(&constant);
    /// assert!(tape.node_id(&constant).is_none());
    /// assert_eq!(tape.node_id(&x), tape.node_id(&x.clone()));
    /// assert_ne!(tape.node_id(&x), tape.node_id(&x.square()?));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn node_id(&self, tensor: &Tensor) -> Option<NodeId> {
        self.own("node_id", tensor).ok().flatten().map(NodeId)
    }

    /// The names of the operations recorded so far, in order.
    pub fn operations(&self) -> Vec<&'static str> {
        self.lock().records.iter().map(|record| record.name).collect()
    }

    /// Bytes that the records save for the backward pass; the largest number there is if there are
    /// more. A tensor saved by two records counts twice.
    pub fn saved_bytes(&self) -> usize {
        let sum = |sum: usize, record: &Record| sum.saturating_add(record.saved_bytes);
        self.lock().records.iter().fold(0, sum)
    }

    /// Records an operation and returns its outputs with their nodes on the tape.
    pub(crate) fn record(
        &self,
        name: &'static str,
        inputs: &[&Tensor],
        outputs: Vec<Tensor>,
        saved_bytes: usize,
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
        recording.records.push(Record {
            name,
            inputs,
            outputs: ids.clone(),
            saved_bytes,
            numerics: Numerics::current(),
            backward,
        });
        drop(recording);
        let on_tape = |(output, id): (Tensor, usize)| {
            output.detach().with_node(Node { tape: self.clone(), id })
        };
        Ok(outputs.into_iter().zip(ids).map(on_tape).collect())
    }

    /// The node of `tensor` on this tape, `None` if it is on none; an error if it is on another.
    pub(crate) fn own(&self, op: &'static str, tensor: &Tensor) -> Result<Option<usize>> {
        match tensor.node() {
            None => Ok(None),
            Some(node) if Arc::ptr_eq(&node.tape.0, &self.0) => Ok(Some(node.id)),
            Some(_) => Err(Error::tape(op, "the inputs are on different tapes")),
        }
    }

    /// Shape and dtype of every node, and the records, which are taken off the tape.
    pub(crate) fn consume(&self) -> Result<(Vec<Meta>, Vec<Record>)> {
        self.lock().consume(OP)
    }

    /// No code panics while it holds the lock, so the recording is whole even if a thread died.
    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// The tape of the first of `tensors` that is on one.
    pub(crate) fn tape_of<T: Borrow<Tensor>>(tensors: &[T]) -> Option<Tape> {
        tensors.iter().find_map(|tensor| tensor.borrow().node()).map(|node| node.tape.clone())
    }
}

impl Records {
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

/// One record a line: `#5 = conv2d(#1, #2, –) [1, 8, 16, 16] f32, keeps 8.0 KiB`, or bytes where
/// they are few.
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
            match record.saved_bytes {
                bytes if bytes < 1024 => writeln!(f, ", keeps {}", counted(bytes, "byte"))?,
                bytes => writeln!(f, ", keeps {:.1} KiB", bytes as f64 / 1024.0)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = counted(self.operations().len(), "record");
        write!(f, "Tape({records}, keeps {})", counted(self.saved_bytes(), "byte"))
    }
}
