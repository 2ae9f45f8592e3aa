//! What depends on constants alone, computed at planning: parts of weights, batch normalization in
//! the weights of a convolution, casts, and weights packed for the processor.

use super::graph::PlanGraph;
use crate::Result;
use crate::Tensor;
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::{Conv2d, PackedWeight};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Constants that plans share.
#[derive(Default)]
pub(super) struct Constants {
    known: Vec<Tensor>,
    folded: Mutex<HashMap<Key, Vec<Tensor>>>,
    packed: Mutex<HashMap<(Key, String), PackedWeight>>,
}

/// How a constant came about, which tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// One of those that were known.
    Known(usize),
    /// Output `index` of the operation with these settings.
    Folded { settings: Arc<str>, inputs: Arc<[Key]>, index: usize },
}

impl Constants {
    /// For plans of computations with these constants.
    pub(super) fn new(known: &[Tensor]) -> Self {
        Self { known: known.to_vec(), ..Self::default() }
    }

    /// How many weights are packed.
    #[cfg(test)]
    pub(super) fn packed_weights(&self) -> usize {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Computes what can be computed now. What is made of known constants is made once for all plans.
pub(super) fn apply(graph: &mut PlanGraph, constants: &Constants) -> Result<()> {
    let mut keys: HashMap<usize, Key> = HashMap::new();
    for (id, tensor) in graph.captured() {
        if let Some(i) = constants.known.iter().position(|known| known.is(tensor)) {
            keys.insert(id, Key::Known(i));
        }
    }
    for n in graph.order() {
        let Some(node) = graph.node(n) else { continue };
        let inputs: Option<Vec<Tensor>> =
            node.inputs.iter().map(|&id| graph.constant(id).cloned()).collect();
        let (Some(settings), Some(inputs)) = (node.op.settings(), inputs) else { continue };
        let known: Option<Arc<[Key]>> =
            node.inputs.iter().map(|id| keys.get(id).cloned()).collect();
        let settings: Arc<str> = format!("{} {settings}", node.op.name()).into();
        let (op, outputs) = (node.op.clone(), node.outputs.clone());
        let metas: Vec<_> = outputs.iter().map(|&id| graph.values[id].clone()).collect();
        let compute = || op.compute(inputs, &metas);
        let key = |index, inputs: &Arc<[Key]>| Key::Folded {
            settings: settings.clone(),
            inputs: inputs.clone(),
            index,
        };
        let tensors = match &known {
            Some(inputs) => get_or_make(&constants.folded, key(0, inputs), compute)?,
            None => compute()?,
        };
        if let Some(inputs) = &known {
            keys.extend(outputs.iter().enumerate().map(|(i, &id)| (id, key(i, inputs))));
        }
        graph.fold(n, tensors);
    }
    if !graph.recorded {
        pack(graph, constants, &keys)?;
    }
    Ok(())
}

/// Packs the constant weights of convolutions.
fn pack(graph: &mut PlanGraph, constants: &Constants, keys: &HashMap<usize, Key>) -> Result<()> {
    for n in graph.numbers() {
        let Some(inputs) = graph.node(n).map(|node| node.inputs.clone()) else { continue };
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

/// Two plans that meet here at once may both make it; they make the same.
fn get_or_make<K: Hash + Eq, T: Clone>(
    made: &Mutex<HashMap<K, T>>,
    key: K,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if let Some(made) = made.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(made.clone());
    }
    let new = make()?;
    Ok(made.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(new).clone())
}
