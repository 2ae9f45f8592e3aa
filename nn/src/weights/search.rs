//! Finds the state dict in a file of `torch.save`, and describes the entries beside it.

use super::bounds::printable;
use super::pickle_value::{Object, ObjectId};
use super::torch::{TensorRef, TorchFile};
use std::collections::{HashMap, HashSet};

/// The usual keys of a model's state dict, the preferred one first.
const WRAPPERS: [&str; 8] = [
    "model",
    "state_dict",
    "model_state_dict",
    "params_ema",
    "params-ema",
    "params",
    "net",
    "netG",
];

/// The most dictionaries that may be nested.
const DEPTH: usize = 5;

/// The most other entries that are described, the most bytes of their texts, and the most bytes of
/// names. One text may occur a million times, so these limits keep a small file from having a large
/// description.
const NOTES: usize = 100;
const LONGEST_TEXT: usize = 1 << 16;
const LONGEST_NAME: usize = 256;

/// A file's state dict.
pub(super) struct StateDict<'p> {
    /// The keys that lead to it.
    pub(super) path: Vec<String>,
    /// Its tensors, in the file's order.
    pub(super) tensors: Vec<(&'p str, Result<TensorRef<'p>, String>)>,
    /// The other entries, key by key, up to [`NOTES`] of them.
    pub(super) beside: Vec<(String, String)>,
    /// The numbers and texts among them.
    pub(super) metadata: HashMap<String, String>,
}

/// A dictionary with tensors.
struct TensorDict<'p> {
    path: Vec<&'p str>,
    tensors: usize,
    id: ObjectId,
}

impl<'p> TensorDict<'p> {
    fn under(self, key: &'p str) -> Self {
        Self { path: [&[key][..], &self.path].concat(), ..self }
    }
}

impl TorchFile<'_> {
    /// The model's state dict: under one of [`WRAPPERS`], or where most tensors are.
    pub(super) fn state_dict(&self) -> Result<StateDict<'_>, String> {
        let root = self.pickle.root.clone()?;
        let found = self.find(root, DEPTH, &mut HashSet::new())?;
        let (path, id) = found.map_or((vec![], root), |found| (found.path, found.id));
        let mut state = StateDict {
            path: path.iter().map(|key| key.to_string()).collect(),
            tensors: vec![],
            beside: vec![],
            metadata: HashMap::new(),
        };
        // The dictionaries on the path, and the entries beside it in each.
        let mut outer = root;
        for &key in &path {
            let Some(entries) = self.entries(outer) else { break };
            entries
                .iter()
                .filter(|entry| entry.0 != key)
                .for_each(|&(name, id)| self.note(name, id, &mut state));
            outer = entries.iter().find(|entry| entry.0 == key).map_or(id, |entry| entry.1);
        }
        for (name, id) in self.entries(id).ok_or("it holds no dictionary")? {
            match self.tensor(id) {
                Some(tensor) => state.tensors.push((name, tensor)),
                None => self.note(name, id, &mut state),
            }
        }
        Ok(state)
    }

    fn find(
        &self,
        id: ObjectId,
        depth: usize,
        seen: &mut HashSet<ObjectId>,
    ) -> Result<Option<TensorDict<'_>>, String> {
        // Visited once, however many keys lead to it.
        if depth == 0 || !seen.insert(id) {
            return Ok(None);
        }
        let Some(entries) = self.entries(id) else { return Ok(None) };
        for wrapper in WRAPPERS {
            let Some(&(key, value)) = entries.iter().find(|entry| entry.0 == wrapper) else {
                continue;
            };
            if let Some(found) = self.find(value, depth - 1, seen)? {
                return Ok(Some(found.under(key)));
            }
        }
        let here = entries.iter().filter(|entry| self.tensor(entry.1).is_some()).count();
        let mut best = (here > 0).then_some(TensorDict { path: vec![], tensors: here, id });
        let mut rival = None;
        // An optimizer's tensors do not count here: they are under numbers, not names.
        for &(key, value) in &entries {
            let Some(found) = self.find(value, depth - 1, seen)?.map(|found| found.under(key))
            else {
                continue;
            };
            match &best {
                Some(best) if best.tensors > found.tensors => {}
                Some(best) if best.tensors == found.tensors => rival = Some(found),
                _ => (best, rival) = (Some(found), None),
            }
        }
        match (best, rival) {
            (Some(best), Some(rival)) => {
                let [a, b] = [best, rival].map(|found| printable(&found.path.join(".")));
                Err(format!(
                    "it holds several state dicts, such as {a:?} and {b:?}, but none under a \
                     usual name"
                ))
            }
            (best, _) => Ok(best),
        }
    }

    /// The entries of a dictionary whose keys are names, in order; the last value of a key that is
    /// set twice.
    fn entries(&self, id: ObjectId) -> Option<Vec<(&str, ObjectId)>> {
        let mut entries: Vec<(&str, ObjectId)> = Vec::new();
        let mut places = HashMap::new();
        for (key, value) in self.pairs(id)? {
            let Some(text) = self.pickle.text(key).filter(|text| text.len() <= LONGEST_NAME) else {
                continue;
            };
            let place = *places.entry(text).or_insert(entries.len());
            match entries.get_mut(place) {
                Some(entry) => entry.1 = value,
                None => entries.push((text, value)),
            }
        }
        Some(entries)
    }

    /// The entries of a dictionary.
    fn pairs(&self, id: ObjectId) -> Option<Vec<(ObjectId, ObjectId)>> {
        if let Object::Dict(items) = self.pickle.object(id) {
            return Some(items.clone());
        }
        let (("collections", _), args, call) = self.pickle.call(id)? else { return None };
        // Python 2 fills an OrderedDict when it makes it; a Counter is filled from a dictionary.
        let given = match args.first() {
            Some(&given) => match (self.pickle.object(given), self.pickle.elements(given)) {
                (Object::Dict(items), _) => items.clone(),
                (_, Some(lists)) => lists
                    .iter()
                    .filter_map(|&pair| self.pickle.elements(pair)?.try_into().ok())
                    .map(|[k, v]: [ObjectId; 2]| (k, v))
                    .collect(),
                _ => vec![],
            },
            None => vec![],
        };
        Some(given.into_iter().chain(call.items.iter().copied()).collect())
    }

    /// Records the description of an entry beside the state dict.
    fn note(&self, key: &str, id: ObjectId, state: &mut StateDict<'_>) {
        if state.beside.len() >= NOTES {
            return;
        }
        let scalar = self.scalar(id);
        let said = scalar.as_deref().map(printable).or_else(|| self.optimizer(id));
        let said = said.unwrap_or_else(|| match self.tensor(id) {
            Some(Ok(tensor)) => format!("tensor {:?} {}", tensor.shape, tensor.element.label),
            _ => self.pickle.describe(id),
        });
        state.beside.push((printable(key), said));
        if let Some(text) = scalar {
            state.metadata.insert(key.to_string(), text);
        }
    }

    /// A number or a text, as text.
    fn scalar(&self, id: ObjectId) -> Option<String> {
        match self.pickle.object(id) {
            Object::Text(text) if text.len() <= LONGEST_TEXT => Some(text.to_string()),
            Object::Int(value) => Some(value.to_string()),
            Object::Float(value) => Some(value.to_string()),
            Object::Bool(value) => Some(value.to_string()),
            _ => self.numpy_scalar(id).map(|value| value.to_string()),
        }
    }

    /// `scalar(dtype(name, …), bytes)`, of floats and integers.
    fn numpy_scalar(&self, id: ObjectId) -> Option<f64> {
        let ((_, "scalar"), &[dtype, bytes], _) = self.pickle.call(id)? else { return None };
        let ((_, "dtype"), args, dtype) = self.pickle.call(dtype)? else { return None };
        let mut bytes: Vec<u8> = match self.pickle.object(bytes) {
            Object::Bytes(bytes) if bytes.len() <= 8 => bytes.to_vec(),
            // Protocol 2 has no bytes, and writes encode('…', 'latin1').
            _ => match self.pickle.call(bytes)? {
                (("_codecs", "encode"), &[text, _], _) => self
                    .pickle
                    .text(text)?
                    .chars()
                    .take(9)
                    .map(u8::try_from)
                    .collect::<Result<_, _>>()
                    .ok()?,
                _ => return None,
            },
        };
        let order =
            dtype.state.and_then(|state| self.pickle.text(*self.pickle.elements(state)?.get(1)?));
        if order == Some(">") {
            bytes.reverse();
        }
        Some(match self.pickle.text(*args.first()?)? {
            "f8" => f64::from_le_bytes(bytes.try_into().ok()?),
            "f4" => f32::from_le_bytes(bytes.try_into().ok()?).into(),
            "i8" => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
            "i4" => i32::from_le_bytes(bytes.try_into().ok()?).into(),
            _ => return None,
        })
    }

    /// The contents of an optimizer's state dict; none if the object is something else.
    fn optimizer(&self, id: ObjectId) -> Option<String> {
        let entries = self.entries(id)?;
        let get = |name: &str| entries.iter().find(|entry| entry.0 == name).map(|entry| entry.1);
        let (state, groups) = (self.pairs(get("state")?)?, get("param_groups")?);
        let kept = state.first().and_then(|&(_, first)| self.entries(first)).unwrap_or_default();
        let kept: Vec<&str> = kept.iter().take(8).map(|entry| entry.0).collect();
        let group = self
            .pickle
            .elements(groups)
            .and_then(|groups| self.entries(*groups.first()?))
            .unwrap_or_default();
        let settings = group
            .iter()
            .filter(|entry| ["lr", "betas", "eps", "weight_decay", "momentum"].contains(&entry.0));
        let settings: Vec<String> =
            settings.map(|&(name, id)| format!("{name} {}", self.pickle.describe(id))).collect();
        let of = if kept.is_empty() {
            String::new()
        } else {
            format!(" ({})", printable(&kept.join(", ")))
        };
        Some(format!(
            "state of an optimizer for {}{of}; {}",
            engine::counted(state.len(), "parameter"),
            settings.join(", ")
        ))
    }
}
