//! Constant folding when a plan is made: results that depend on constants alone, such as parts of
//! weights, batch normalization in the weights of a convolution, casts; and weights packed for the
//! processor.

use super::graph::PlanGraph;
use crate::Result;
use crate::Tensor;
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::{Conv2d, PackedWeight};
use crate::trace::ValueId;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Constants that plans share.
#[derive(Default)]
pub(super) struct Constants {
    known: Vec<Tensor>,
    /// The results that plans read. Those that only lead to them are dropped.
    folded: Mutex<HashMap<Key, Tensor>>,
    packed: Mutex<HashMap<(Key, String), PackedWeight>>,
}

/// How a constant came about, which distinguishes it from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// One of the known constants.
    Known(usize),
    /// Output `index` of the operation with these settings.
    Folded { settings: Arc<str>, inputs: Arc<[Key]>, index: usize },
}

impl Constants {
    /// For plans of computations with these constants.
    pub(super) fn new(known: &[Tensor]) -> Self {
        Self { known: known.to_vec(), ..Self::default() }
    }

    /// The number of folded constants.
    #[cfg(test)]
    pub(super) fn folded_tensors(&self) -> usize {
        lock(&self.folded).len()
    }

    /// The number of packed weights.
    #[cfg(test)]
    pub(super) fn packed_weights(&self) -> usize {
        lock(&self.packed).len()
    }
}

/// Computes the results that depend on constants alone. Those of known constants are computed once
/// for all plans.
pub(super) fn apply(graph: &mut PlanGraph, constants: &Constants) -> Result<()> {
    let constant = graph.constants();
    let is_constant =
        |n: &usize| graph.node(*n).is_some_and(|node| node.outputs.iter().all(|&id| constant[id]));
    let (folded, rest): (Vec<usize>, Vec<usize>) = graph.order().into_iter().partition(is_constant);
    let keys = keys(graph, &folded, constants);
    // The values that the plan reads. Others only lead to these, and are not kept.
    let mut read = vec![false; graph.values.len()];
    graph.outputs.iter().for_each(|&id| read[id] = true);
    rest.iter().flat_map(|&n| graph.inputs_of(n)).for_each(|id| read[id] = true);

    let tensors = compute(graph, &folded, &keys, &read, constants)?;
    for n in folded {
        let Some(node) = graph.node(n) else { continue };
        if node.outputs.iter().any(|&id| read[id])
            && let Some(outputs) = node.outputs.iter().map(|id| tensors.get(id).cloned()).collect()
        {
            graph.fold(n, outputs);
        }
    }
    if !graph.on_tape {
        pack(graph, constants, &keys)?;
    }
    Ok(())
}

/// The keys of the known constants and of the results of the nodes `folded`, in this order.
fn keys(graph: &PlanGraph, folded: &[usize], constants: &Constants) -> HashMap<ValueId, Key> {
    let mut keys: HashMap<ValueId, Key> = HashMap::new();
    for (id, tensor) in graph.captured() {
        if let Some(i) = constants.known.iter().position(|known| known.is(tensor)) {
            keys.insert(id, Key::Known(i));
        }
    }
    for node in folded.iter().filter_map(|&n| graph.node(n)) {
        let inputs: Option<Arc<[Key]>> =
            node.inputs.iter().map(|id| keys.get(id).cloned()).collect();
        let (Some(inputs), Some(settings)) = (inputs, node.op.settings()) else { continue };
        let settings: Arc<str> = format!("{} {settings}", node.op.name()).into();
        let key = |index| Key::Folded { settings: settings.clone(), inputs: inputs.clone(), index };
        keys.extend(node.outputs.iter().enumerate().map(|(index, &id)| (id, key(index))));
    }
    keys
}

/// The values of the nodes `folded` that are `read`, and of those that lead to them, unless an
/// earlier plan has computed the values read.
fn compute(
    graph: &PlanGraph,
    folded: &[usize],
    keys: &HashMap<ValueId, Key>,
    read: &[bool],
    constants: &Constants,
) -> Result<HashMap<ValueId, Tensor>> {
    let mut tensors: HashMap<ValueId, Tensor> =
        graph.captured().map(|(id, tensor)| (id, tensor.clone())).collect();
    let (mut needed, mut missing) = (read.to_vec(), Vec::new());
    for node in folded.iter().rev().filter_map(|&n| graph.node(n)) {
        for &id in &node.outputs {
            let shared = keys.get(&id).and_then(|key| lock(&constants.folded).get(key).cloned());
            tensors.extend(shared.map(|tensor| (id, tensor)));
        }
        if node.outputs.iter().any(|id| needed[*id] && !tensors.contains_key(id)) {
            node.inputs.iter().for_each(|&id| needed[id] = true);
            missing.push(node);
        }
    }
    for node in missing.into_iter().rev() {
        let inputs = node.inputs.iter().filter_map(|id| tensors.get(id).cloned()).collect();
        let metas: Vec<_> = node.outputs.iter().map(|&id| graph.values[id].clone()).collect();
        for (&id, tensor) in node.outputs.iter().zip(node.op.compute(inputs, &metas)?) {
            let tensor = match keys.get(&id).filter(|_| read[id]) {
                Some(key) => insert_or_get(&constants.folded, key.clone(), tensor),
                None => tensor,
            };
            tensors.insert(id, tensor);
        }
    }
    Ok(tensors)
}

/// Packs the constant weights of convolutions.
fn pack(graph: &mut PlanGraph, constants: &Constants, keys: &HashMap<ValueId, Key>) -> Result<()> {
    for n in graph.numbers() {
        let inputs = graph.inputs_of(n);
        let weight =
            inputs.get(1).and_then(|&id| Some((graph.constant(id)?.clone(), keys.get(&id))));
        let Some((weight, key)) = weight else { continue };
        if let Some(conv) = graph.op::<Conv2d>(n).cloned() {
            let packed =
                packed(constants, key, format!("{:?}", conv.options), || conv.pack(&weight))?;
            graph.replace(n, conv.with_packed(packed), inputs);
        } else if let Some(conv) = graph.op::<ConvTranspose2d>(n).cloned() {
            let settings = format!("transposed {:?}", conv.options);
            let packed = packed(constants, key, settings, || conv.pack(&weight))?;
            graph.replace(n, conv.with_packed(packed), inputs);
        }
    }
    Ok(())
}

fn packed(
    constants: &Constants,
    key: Option<&Key>,
    settings: String,
    pack: impl FnOnce() -> Result<PackedWeight>,
) -> Result<PackedWeight> {
    match key {
        Some(key) => get_or_make(&constants.packed, (key.clone(), settings), pack),
        None => pack(),
    }
}

/// The entry of `key`, made if there is none.
fn get_or_make<K: Hash + Eq, T: Clone>(
    made: &Mutex<HashMap<K, T>>,
    key: K,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if let Some(made) = lock(made).get(&key) {
        return Ok(made.clone());
    }
    Ok(insert_or_get(made, key, make()?))
}

/// Puts `new` under `key`, unless another thread was faster: both have made the same.
fn insert_or_get<K: Hash + Eq, T: Clone>(made: &Mutex<HashMap<K, T>>, key: K, new: T) -> T {
    lock(made).entry(key).or_insert(new).clone()
}

/// The entries are whole between statements, so a panic elsewhere does no harm.
fn lock<T>(made: &Mutex<T>) -> MutexGuard<'_, T> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}
