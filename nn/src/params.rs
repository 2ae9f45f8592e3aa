//! Parameters and buffers under dotted paths.
//!
//! A model is a tree of layers that hold no numbers, only [`ParamId`]s. The numbers are in one flat
//! list, [`Params`], under the paths that weight files use (`Encoder.0.layers.1.main.0.weight`). So
//! an optimizer, a moving average or a file is a loop over a list, and a layer is an immutable
//! description that threads can share.

use crate::weights::printable;
use crate::{Error, Result};
use engine::{DType, Device, Rng, Tensor};
use std::collections::HashMap;

/// Names an entry of [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

impl ParamId {
    /// The error of an id that is not among `count` entries.
    pub(crate) fn foreign(self, count: usize) -> Error {
        let message = format!("entry {} belongs to another model: this one has {count}", self.0);
        Error::Setting(message)
    }
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Trained by gradients.
    Parameter,
    /// Part of the model's state, but not trained: running statistics.
    Buffer,
}

/// One named tensor of a model.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The dotted path.
    pub path: String,
    /// Parameter or buffer.
    pub kind: Kind,
    /// The value now.
    pub value: Tensor,
}

/// All parameters and buffers of a model, in the order in which its layers were made.
#[derive(Clone, Debug, Default)]
pub struct Params {
    entries: Vec<Entry>,
}

impl Params {
    /// Builds a model's layers with `build`, which draws initial values from `seed` through the
    /// [`Builder`].
    ///
    /// # Errors
    /// Those of `build`, and of the first entry whose values could not be made.
    pub fn build<M>(
        seed: u64,
        dtype: DType,
        build: impl FnOnce(&mut Builder<'_>) -> Result<M>,
    ) -> Result<(M, Params)> {
        let values = Values::Drawn { seed, refused: None };
        let mut draft = Draft { params: Params::default(), values, dtype };
        let model = build(&mut Builder { draft: &mut draft, prefix: String::new() })?;
        match draft.values {
            Values::Drawn { refused: Some(error), .. } => Err(error.into()),
            _ => Ok((model, draft.params)),
        }
    }

    /// Builds a model's layers with `build`, which takes its values from `source`, converted to
    /// `dtype`. What does not fit is found without making room for it, so that a small file cannot
    /// ask for a large model.
    ///
    /// # Errors
    /// As of [`Params::load`].
    pub fn build_from<M>(
        origin: &str,
        source: HashMap<String, Tensor>,
        dtype: DType,
        build: impl FnOnce(&mut Builder<'_>) -> Result<M>,
    ) -> Result<(M, Params)> {
        let mut draft =
            Draft { params: Params::default(), values: Values::Given(Fitting::new(source)), dtype };
        let model = build(&mut Builder { draft: &mut draft, prefix: String::new() })?;
        if let Values::Given(fitting) = draft.values {
            fitting.finish(origin)?;
        }
        Ok((model, draft.params))
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, to be changed by the optimizer, which keeps their shapes and dtypes.
    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The trained entries, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (ParamId, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.kind == Kind::Parameter)
            .map(|(i, e)| (ParamId(i), e))
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.parameters().map(|(_, entry)| entry.value.numel()).sum()
    }

    /// The value of an entry.
    ///
    /// # Errors
    /// [`Error::Setting`] if the model has no such entry, as the id is of another one.
    pub fn get(&self, id: ParamId) -> Result<&Tensor> {
        let entry = self.entries.get(id.0).ok_or_else(|| id.foreign(self.entries.len()))?;
        Ok(&entry.value)
    }

    /// Replaces the value of an entry by one of the same shape and dtype.
    ///
    /// # Errors
    /// [`Error::Setting`] if the value does not fit, or there is no such entry.
    pub fn set(&mut self, id: ParamId, value: Tensor) -> Result<()> {
        let count = self.entries.len();
        let entry = self.entries.get_mut(id.0).ok_or_else(|| id.foreign(count))?;
        if entry.value.meta() != value.meta() {
            let message =
                format!("{}: expected {}, got {}", entry.path, entry.value.meta(), value.meta());
            return Err(Error::Setting(message));
        }
        entry.value = value.detach();
        Ok(())
    }

    /// All values, in order. Sharing, not copying.
    pub fn values(&self) -> Vec<Tensor> {
        self.entries.iter().map(|entry| entry.value.clone()).collect()
    }

    /// Takes every value from `source`, converted to the entry's dtype.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the missing, unexpected and wrongly shaped names; nothing is
    /// changed then. `num_batches_tracked`, which PyTorch's BatchNorm counts and nothing here
    /// needs, may be there; so may `n_averaged`, the same of its averaged models.
    pub fn load(&mut self, origin: &str, source: &HashMap<String, Tensor>) -> Result<()> {
        let mut fitting = Fitting::new(source.clone());
        let mut values = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            values.extend(fitting.take(&entry.path, entry.value.shape(), entry.value.dtype()));
        }
        fitting.finish(origin)?;
        for (entry, value) in self.entries.iter_mut().zip(values) {
            entry.value = value;
        }
        Ok(())
    }

    /// The same model with every value on `device`.
    pub fn to_device(&self, device: Device) -> Result<Params> {
        let there =
            |entry: &Entry| Ok(Entry { value: entry.value.to_device(device)?, ..entry.clone() });
        Ok(Params { entries: self.entries.iter().map(there).collect::<Result<_>>()? })
    }

    /// The same model with every value in `dtype`.
    pub fn to_dtype(&self, dtype: DType) -> Result<Params> {
        let convert = |entry: &Entry| {
            Ok(Entry { value: entry.value.to_dtype(dtype)?.detach(), ..entry.clone() })
        };
        Ok(Params { entries: self.entries.iter().map(convert).collect::<Result<_>>()? })
    }
}

/// Where a layer under construction puts its parameters.
pub struct Builder<'a> {
    draft: &'a mut Draft,
    prefix: String,
}

/// The parameters of a model under construction.
struct Draft {
    params: Params,
    values: Values,
    dtype: DType,
}

/// Where a model under construction has its values from.
enum Values {
    /// Drawn, from this seed; and the error of the first value that could not be made.
    Drawn {
        seed: u64,
        refused: Option<engine::Error>,
    },
    Given(Fitting),
}

impl Builder<'_> {
    /// The builder of the part called `name`.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        let prefix = self.path(&name.to_string());
        Builder { draft: self.draft, prefix }
    }

    /// The dotted path so far.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Adds a parameter whose elements are independently uniform in [−`bound`, `bound`).
    ///
    /// The draws depend on the seed and the path alone: a layer added elsewhere changes none of
    /// them.
    pub fn uniform(&mut self, name: &str, shape: &[usize], bound: f64) -> ParamId {
        let draw = |path: &str, seed, dtype| {
            Tensor::rand(shape, -bound, bound, dtype, &mut Rng::at(seed, fnv1a(path), 0))
        };
        self.add(name, Kind::Parameter, shape, draw)
    }

    /// Adds a parameter whose elements are all `value`.
    pub fn constant(&mut self, name: &str, shape: &[usize], value: f64) -> ParamId {
        self.add(name, Kind::Parameter, shape, |_, _, dtype| Tensor::full(shape, value, dtype))
    }

    /// Adds a buffer whose elements are all `value`.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f64) -> ParamId {
        self.add(name, Kind::Buffer, shape, |_, _, dtype| Tensor::full(shape, value, dtype))
    }

    /// Adds an entry, with the value that `draw` makes of path, seed and dtype if none is given.
    /// Without a value there is no entry; the failure is noted, and the build ends with it.
    fn add(
        &mut self,
        name: &str,
        kind: Kind,
        shape: &[usize],
        draw: impl FnOnce(&str, u64, DType) -> Result<Tensor, engine::Error>,
    ) -> ParamId {
        let path = self.path(name);
        let Draft { params, values, dtype } = &mut *self.draft;
        debug_assert!(
            params.entries.iter().all(|entry| entry.path != path),
            "{path} is there twice"
        );
        let value = match values {
            Values::Drawn { seed, refused } => {
                draw(&path, *seed, *dtype).map_err(|error| refused.get_or_insert(error)).ok()
            }
            Values::Given(fitting) => fitting.take(&path, shape, *dtype),
        };
        let id = ParamId(params.entries.len());
        params.entries.extend(value.map(|value| Entry { path, kind, value }));
        id
    }

    fn path(&self, name: &str) -> String {
        match self.prefix.is_empty() {
            true => name.to_string(),
            false => format!("{}.{name}", self.prefix),
        }
    }
}

/// Weights on their way into a model: what is left of them, and what did not fit so far.
struct Fitting {
    source: HashMap<String, Tensor>,
    missing: Vec<String>,
    misshapen: Vec<String>,
}

impl Fitting {
    fn new(source: HashMap<String, Tensor>) -> Self {
        Self { source, missing: vec![], misshapen: vec![] }
    }

    /// The value for `path`; if none fits, that is noted.
    fn take(&mut self, path: &str, shape: &[usize], dtype: DType) -> Option<Tensor> {
        match self.source.remove(path) {
            Some(value) if value.shape() == shape => {
                if let Ok(value) = value.to_dtype(dtype).and_then(|value| value.contiguous()) {
                    return Some(value.detach());
                }
                self.misshapen.push(format!("{path} cannot become {dtype}"));
            }
            Some(value) => {
                self.misshapen.push(format!("{path} is {:?}, not {shape:?}", value.shape()))
            }
            None => self.missing.push(path.into()),
        }
        None
    }

    /// An error if anything did not fit, or is left.
    fn finish(self, origin: &str) -> Result<()> {
        let counter = |name: &str| name == "n_averaged" || name.ends_with("num_batches_tracked");
        let mut unexpected: Vec<String> =
            self.source.keys().filter(|name| !counter(name)).map(|name| printable(name)).collect();
        unexpected.sort();
        let kinds = [
            ("missing", self.missing),
            ("unexpected", unexpected),
            ("of another shape", self.misshapen),
        ];
        let details: Vec<String> = kinds
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| list(kind, names))
            .collect();
        match details.is_empty() {
            true => Ok(()),
            false => Err(Error::Mismatch { origin: origin.into(), details: details.join("; ") }),
        }
    }
}

/// `2 missing: a, b`, with the first names if there are many.
fn list(kind: &str, names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = if names.len() > SHOWN {
        format!(" and {} more", names.len() - SHOWN)
    } else {
        String::new()
    };
    format!("{} {kind}: {shown}{more}", names.len())
}

/// The 32-bit FNV-1a hash: names a stream of random numbers by a path.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Params {
        let build = |b: &mut Builder<'_>| {
            b.at("a").uniform("weight", &[2, 3], 1.0);
            b.at("b").buffer("mean", &[3], 0.5);
            Ok(())
        };
        Params::build(1, DType::F32, build).unwrap().1
    }

    #[test]
    fn paths_are_dotted_and_draws_depend_on_them_alone() {
        let params = two();
        let paths: Vec<&str> = params.entries().iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["a.weight", "b.mean"]);
        assert_eq!(params.count(), 6);
        let more = Params::build(1, DType::F32, |b| {
            b.uniform("first", &[9], 1.0);
            b.at("a").uniform("weight", &[2, 3], 1.0);
            Ok(())
        });
        assert_eq!(
            more.unwrap().1.entries()[1].value.to_f64_vec().unwrap(),
            params.entries()[0].value.to_f64_vec().unwrap()
        );
    }

    #[test]
    fn a_mismatch_names_everything_and_changes_nothing() {
        let mut params = two();
        let before = params.entries()[0].value.to_f64_vec().unwrap();
        let source = HashMap::from([
            ("a.weight".to_string(), Tensor::zeros(&[3, 2], DType::F32).unwrap()),
            ("c".to_string(), Tensor::zeros(&[1], DType::F32).unwrap()),
            ("b.num_batches_tracked".to_string(), Tensor::zeros(&[], DType::I64).unwrap()),
        ]);
        let message = params.load("w.safetensors", &source).unwrap_err().to_string();
        assert_eq!(
            message,
            "w.safetensors does not fit the model: 1 missing: b.mean; 1 unexpected: c; \
             1 of another shape: a.weight is [3, 2], not [2, 3]"
        );
        assert_eq!(params.entries()[0].value.to_f64_vec().unwrap(), before);
        // The same when the model is made for the weights.
        let build = |b: &mut Builder<'_>| {
            b.at("a").uniform("weight", &[2, 3], 1.0);
            b.at("b").buffer("mean", &[3], 0.5);
            Ok(())
        };
        let error = Params::build_from("w.safetensors", source, DType::F32, build).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn long_lists_of_names_are_shortened() {
        let source = (0..300)
            .map(|i| (format!("x{i:03}"), Tensor::zeros(&[1], DType::F32).unwrap()))
            .collect();
        let message =
            Params::build_from("w", source, DType::F32, |_| Ok(())).unwrap_err().to_string();
        assert!(
            message.contains("300 unexpected: x000, x001")
                && message.ends_with("x019 and 280 more"),
            "{message}"
        );
    }

    #[test]
    fn an_entry_of_another_model_is_an_error() {
        let (_, mut params) = Params::build(1, DType::F32, |_| Ok(())).unwrap();
        let foreign = two().parameters().next().unwrap().0;
        assert!(matches!(params.get(foreign), Err(Error::Setting(_))));
        let value = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        assert!(matches!(params.set(foreign, value), Err(Error::Setting(_))));
        let cx = crate::Context::inference(&params);
        assert!(cx.param(foreign).is_err() && cx.buffer(foreign).is_err());
    }

    #[test]
    fn an_entry_that_cannot_be_made_is_an_error() {
        for shape in [[1 << 40, 1 << 40], [usize::MAX, 2]] {
            let build = |b: &mut Builder<'_>| {
                b.uniform("vast", &shape, 1.0);
                b.constant("small", &[1], 0.0);
                Ok(())
            };
            let message = Params::build(1, DType::F32, build).unwrap_err().to_string();
            assert!(message.starts_with("rand: shape"), "{message}");
        }
    }

    #[test]
    fn missing_entries_allocate_nothing() {
        let vast = |b: &mut Builder<'_>| Ok(b.uniform("vast", &[1 << 30, 1 << 20], 1.0));
        let message =
            Params::build_from("w", HashMap::new(), DType::F32, vast).unwrap_err().to_string();
        assert!(message.ends_with("1 missing: vast"), "{message}");
    }
}
