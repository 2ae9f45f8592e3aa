//! Tracing: a computation written down instead of being carried out.
//!
//! While a trace is on, every operation that this thread calls is noted in a [`Graph`]: its inputs,
//! and the shape and dtype that its shape rule gives. Nothing is computed. The tensors that it
//! returns have a shape, a dtype and a device, and no elements. Tensors that were there before are
//! captured as they are. [`crate::plan`] makes of such a graph a faster way to the same result.

use crate::{Device, Error, Meta, Result, Tensor};
use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names a tensor of one trace.
pub(crate) type ValueId = usize;

/// An operation with its settings, as the nodes of a graph hold it.
pub(crate) trait Operation: Send + Sync {
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
}

/// One operation of a graph.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) op: Arc<dyn Operation>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

/// A computation as it was written down.
#[derive(Default)]
pub(crate) struct Graph {
    /// Shape and dtype of every tensor.
    pub(crate) values: Vec<Meta>,
    /// The operations, in the order in which they were called.
    pub(crate) nodes: Vec<Node>,
    /// The tensors that were there before.
    pub(crate) captured: Vec<(ValueId, Tensor)>,
}

/// A trace that is being written. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Graph>>);

/// The storage of a traced tensor, in place of elements.
pub(crate) struct Traced {
    trace: Trace,
    id: ValueId,
    pub(crate) device: Device,
}

/// What [`trace`] returns: the graph, and which of its tensors go in and come out.
pub(crate) struct Written {
    pub(crate) graph: Graph,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

thread_local! {
    static CURRENT: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Whether this thread is writing a trace.
pub(crate) fn is_tracing() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Writes down what `f` computes of tensors like `inputs`.
pub(crate) fn trace<E: From<Error>>(
    inputs: &[Tensor],
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
) -> Result<Written, E> {
    /// Puts back what was there before, also if `f` panics.
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
    Ok(Written { graph: std::mem::take(&mut graph), inputs: (0..inputs.len()).collect(), outputs })
}

/// Notes `op` if this thread is writing a trace: its results, of which only the shapes are known.
/// `None` says that it is to be computed now.
pub(crate) fn note(
    op: impl FnOnce() -> Arc<dyn Operation>,
    inputs: &[&Tensor],
    outputs: &[Meta],
) -> Result<Option<Vec<Tensor>>> {
    let Some(trace) = CURRENT.with_borrow(Clone::clone) else { return Ok(None) };
    let op = op();
    let mut graph = trace.lock();
    let ids = inputs.iter().map(|x| trace.id_of(&mut graph, op.name(), x));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let device = inputs.first().map_or(Device::Cpu, |x| x.device());
    let results: Vec<Tensor> =
        outputs.iter().map(|meta| trace.tensor(&mut graph, meta.clone(), device)).collect();
    let outputs = graph.values.len() - results.len()..graph.values.len();
    graph.nodes.push(Node { op, inputs: ids, outputs: outputs.collect() });
    Ok(Some(results))
}

/// As [`note`], for a computation that is more than one operation, or has several results:
/// `compute` is called when the plan runs. Rules find it by its `kind`.
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

impl<K, F> Operation for Deferred<K, F>
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
pub(crate) fn detach() -> Arc<dyn Operation> {
    Arc::new(Detach)
}

struct Detach;

impl Operation for Detach {
    fn name(&self) -> &'static str {
        "detach"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(inputs.to_vec())
    }

    fn compute(&self, inputs: Vec<Tensor>, _: &[Meta]) -> Result<Vec<Tensor>> {
        Ok(inputs.iter().map(Tensor::detach).collect())
    }

    fn settings(&self) -> Option<String> {
        Some(String::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Trace {
    /// A new tensor of the graph.
    fn tensor(&self, graph: &mut Graph, meta: Meta, device: Device) -> Tensor {
        graph.values.push(meta.clone());
        let id = graph.values.len() - 1;
        Tensor::traced(Traced { trace: self.clone(), id, device }, meta)
    }

    /// Which tensor of the graph `x` is; one with elements is captured.
    fn id_of(&self, graph: &mut Graph, op: &'static str, x: &Tensor) -> Result<ValueId> {
        match x.as_traced() {
            Some(traced) if Arc::ptr_eq(&traced.trace.0, &self.0) => Ok(traced.id),
            Some(_) => Err(no_elements(op)),
            None => {
                if let Some((id, _)) = graph.captured.iter().find(|(_, other)| other.is(x)) {
                    return Ok(*id);
                }
                graph.values.push(x.meta());
                let id = graph.values.len() - 1;
                graph.captured.push((id, x.clone()));
                Ok(id)
            }
        }
    }

    /// No code panics while it holds the lock, so the graph is whole even if a thread died.
    fn lock(&self) -> MutexGuard<'_, Graph> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of `op` that was asked for the elements of a traced tensor.
pub(crate) fn no_elements(op: &'static str) -> Error {
    Error::Traced { op }
}
