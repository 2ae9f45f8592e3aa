//! Tracing: recording a computation as a graph instead of carrying it out.
//!
//! While a thread traces, every operation that it calls is noted in a [`OpGraph`]: its inputs, and
//! the shape and dtype that its shape rule gives. Nothing is computed. The tensors that it returns
//! have a shape, a dtype and a device, and no elements. Tensors that existed before are captured as
//! they are. [`crate::plan`] turns such a graph into a faster computation of the same result.

use crate::rows::{RowRule, StripPlace};
use crate::{Device, Error, Meta, Result, Tensor};
use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names a tensor of one trace.
pub(crate) type ValueId = usize;

/// An operation in a graph, whatever its type. `ops::Applied` implements it for every
/// [`Op`](crate::ops::Op); `Deferred` is a result that is computed later.
pub(crate) trait DynOp: Send + Sync {
    /// The name in errors, tapes and profiles.
    fn name(&self) -> &'static str;

    /// The shape rule.
    fn infer(&self, inputs: &[Meta]) -> Result<Vec<Meta>>;

    /// Computes. The operation owns its inputs: where nothing else holds one and nothing is
    /// recorded, the result may be made in its memory.
    fn compute(&self, inputs: Vec<Tensor>, outputs: &[Meta]) -> Result<Vec<Tensor>>;

    /// The settings that distinguish this operation from others of the same name. `None` if the
    /// result depends on more than settings and inputs. With settings, an operation on constants
    /// is computed once, when a plan is made.
    fn settings(&self) -> Option<String>;

    /// The operation itself, for rules that look for one kind.
    fn as_any(&self) -> &dyn Any;

    /// The rows of an input that a row of the result depends on; see
    /// [`Op::rows`](crate::ops::Op::rows).
    fn rows(&self, _input: usize, _inputs: &[Meta]) -> Option<RowRule> {
        None
    }

    /// The operation for a strip of its result, if it is another one.
    fn in_strip(&self, _place: &StripPlace) -> Option<Arc<dyn DynOp>> {
        None
    }

    /// The cost; see [`Op::flops`](crate::ops::Op::flops).
    fn flops(&self, _inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        0
    }
}

/// A node of a graph: one operation, with its inputs and outputs.
#[derive(Clone)]
pub(crate) struct OpNode {
    pub(crate) op: Arc<dyn DynOp>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

/// A traced computation.
#[derive(Default)]
pub(crate) struct OpGraph {
    /// Shape and dtype of every tensor.
    pub(crate) values: Vec<Meta>,
    /// The device of every tensor.
    pub(crate) devices: Vec<Device>,
    /// The operations, in the order in which they were called.
    pub(crate) nodes: Vec<OpNode>,
    /// The tensors that existed before the trace.
    pub(crate) captured: Vec<(ValueId, Tensor)>,
}

/// A trace in progress. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<OpGraph>>);

/// The storage of a traced tensor: which value of which trace it is, instead of elements.
pub(crate) struct TracedValue {
    trace: Trace,
    id: ValueId,
    pub(crate) device: Device,
}

/// A graph with its inputs and outputs: the result of [`trace`].
pub(crate) struct TracedGraph {
    pub(crate) graph: OpGraph,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

thread_local! {
    static CURRENT: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Whether this thread is tracing.
pub(crate) fn is_tracing() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Traces `f` on tensors like `inputs`.
pub(crate) fn trace<E: From<Error>>(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<TracedGraph, E> {
    /// Restores the previous trace, also if `f` panics.
    struct Restore(Option<Trace>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let trace = Trace::default();
    let placeholders: Vec<Tensor> = {
        let mut graph = trace.lock();
        let add = |x: &Tensor| trace.tensor(&mut graph, x.meta(), x.device());
        inputs.iter().map(add).collect()
    };
    let results = {
        let _restore = Restore(CURRENT.replace(Some(trace.clone())));
        f(&placeholders)?
    };
    let mut graph = trace.lock();
    let outputs = results.iter().map(|x| trace.id_of(&mut graph, "trace", x));
    let outputs = outputs.collect::<Result<_>>()?;
    Ok(TracedGraph {
        graph: std::mem::take(&mut graph),
        inputs: (0..inputs.len()).collect(),
        outputs,
    })
}

/// Notes `op` in the trace of this thread, and returns its results, of which only the shapes are
/// known. `None` if the thread is not tracing: then `op` is to be computed now.
pub(crate) fn note(
    op: impl FnOnce() -> Arc<dyn DynOp>,
    inputs: &[&Tensor],
    outputs: &[Meta],
) -> Result<Option<Vec<Tensor>>> {
    let Some(trace) = CURRENT.with_borrow(Clone::clone) else { return Ok(None) };
    let op = op();
    let mut graph = trace.lock();
    let ids = inputs.iter().map(|x| trace.id_of(&mut graph, op.name(), x));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let device = inputs.first().map(|x| x.device()).unwrap_or_default();
    let results: Vec<Tensor> =
        outputs.iter().map(|meta| trace.tensor(&mut graph, meta.clone(), device)).collect();
    let outputs = graph.values.len() - results.len()..graph.values.len();
    graph.nodes.push(OpNode { op, inputs: ids, outputs: outputs.collect() });
    Ok(Some(results))
}

/// Like [`note`], but for a computation of several operations, or with several results: `compute`
/// is called when the plan runs. Rules find it by its `kind`.
pub(crate) fn defer<K: Any + Send + Sync>(
    name: &'static str,
    kind: K,
    inputs: &[&Tensor],
    outputs: &[Meta],
    compute: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
) -> Result<Option<Vec<Tensor>>> {
    let outputs_again = outputs.to_vec();
    note(|| Arc::new(Deferred { name, kind, outputs: outputs_again, compute }), inputs, outputs)
}

struct Deferred<K, F> {
    name: &'static str,
    kind: K,
    outputs: Vec<Meta>,
    compute: F,
}

impl<K, F> DynOp for Deferred<K, F>
where
    K: Any + Send + Sync,
    F: Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, _: &[Meta]) -> Result<Vec<Meta>> {
        Ok(self.outputs.clone())
    }

    fn compute(&self, inputs: Vec<Tensor>, _: &[Meta]) -> Result<Vec<Tensor>> {
        (self.compute)(&inputs)
    }

    fn settings(&self) -> Option<String> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        &self.kind
    }
}

/// Stops gradients.
pub(crate) fn detach() -> Arc<dyn DynOp> {
    Arc::new(OffTape { name: "detach", of: |x| Ok(x.detach()) })
}

/// Copies, and stops gradients.
pub(crate) fn copy() -> Arc<dyn DynOp> {
    Arc::new(OffTape { name: "copy", of: Tensor::copy })
}

/// The same values off the tape, which `of` gives.
struct OffTape {
    name: &'static str,
    of: fn(&Tensor) -> Result<Tensor>,
}

impl DynOp for OffTape {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(inputs.to_vec())
    }

    fn compute(&self, inputs: Vec<Tensor>, _: &[Meta]) -> Result<Vec<Tensor>> {
        inputs.iter().map(self.of).collect()
    }

    fn settings(&self) -> Option<String> {
        Some(String::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl OpGraph {
    /// The number of a new tensor.
    fn push(&mut self, meta: Meta, device: Device) -> ValueId {
        self.values.push(meta);
        self.devices.push(device);
        self.values.len() - 1
    }
}

impl Trace {
    /// A new tensor of the graph.
    fn tensor(&self, graph: &mut OpGraph, meta: Meta, device: Device) -> Tensor {
        let id = graph.push(meta.clone(), device);
        Tensor::traced(TracedValue { trace: self.clone(), id, device }, meta)
    }

    /// Which tensor of the graph `x` is; one with elements is captured.
    fn id_of(&self, graph: &mut OpGraph, op: &'static str, x: &Tensor) -> Result<ValueId> {
        match x.as_traced() {
            Some(traced) if Arc::ptr_eq(&traced.trace.0, &self.0) => Ok(traced.id),
            Some(_) => Err(no_elements(op)),
            None => {
                if let Some((id, _)) = graph.captured.iter().find(|(_, other)| other.is(x)) {
                    return Ok(*id);
                }
                let id = graph.push(x.meta(), x.device());
                graph.captured.push((id, x.clone()));
                Ok(id)
            }
        }
    }

    /// No code panics while it holds the lock, so the graph is whole even if a thread died.
    fn lock(&self) -> MutexGuard<'_, OpGraph> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of an `op` that needs the elements of a traced tensor.
pub(crate) fn no_elements(op: &'static str) -> Error {
    Error::Traced { op }
}
