//! Parameters and buffers under dotted paths.
//!
//! A model is a tree of layers that hold no numbers, only [`ParamId`]s. The numbers are in one flat list, [`Params`],
//! under the paths that weight files use (`Encoder.0.layers.1.main.0.weight`). So an optimiser, a moving average or
//! a file is a loop over a list, and a layer is an immutable description that threads can share.

use crate::{Error, Result};
use engine::{DType, Rng, Tensor};
use std::collections::HashMap;

/// Names an entry of [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

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
    /// Builds a model's layers with `build`, which draws initial values from `seed` through the [`Builder`].
    pub fn build<M>(seed: u64, dtype: DType, build: impl FnOnce(&mut Builder<'_>) -> Result<M>) -> Result<(M, Params)> {
        let mut params = Params::default();
        let model = build(&mut Builder { params: &mut params, prefix: String::new(), seed, dtype })?;
        Ok((model, params))
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The trained entries, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (ParamId, &Entry)> {
        self.entries.iter().enumerate().filter(|(_, e)| e.kind == Kind::Parameter).map(|(i, e)| (ParamId(i), e))
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.parameters().map(|(_, entry)| entry.value.numel()).sum()
    }

    /// The value of an entry.
    pub fn get(&self, id: ParamId) -> &Tensor {
        &self.entries[id.0].value
    }

    /// Replaces the value of an entry by one of the same shape and dtype.
    pub fn set(&mut self, id: ParamId, value: Tensor) -> Result<()> {
        let entry = &mut self.entries[id.0];
        if entry.value.meta() != value.meta() {
            let message = format!("{}: expected {}, got {}", entry.path, entry.value.meta(), value.meta());
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
    /// [`Error::Mismatch`] with all missing, unexpected and wrongly shaped names; nothing is changed then.
    /// `num_batches_tracked`, which PyTorch's BatchNorm counts and nothing here needs, may be there.
    pub fn load(&mut self, origin: &str, source: &HashMap<String, Tensor>) -> Result<()> {
        let mut problems = Vec::new();
        let mut values = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let expected = entry.value.shape();
            match source.get(&entry.path) {
                None => problems.push(format!("{} is missing", entry.path)),
                Some(value) if value.shape() != expected => {
                    problems.push(format!("{} has shape {:?}, expected {expected:?}", entry.path, value.shape()));
                }
                Some(value) => values.push(value.to_dtype(entry.value.dtype())?.standard().detach()),
            }
        }
        let known: std::collections::HashSet<&str> = self.entries.iter().map(|entry| entry.path.as_str()).collect();
        let mut unexpected: Vec<&String> = source
            .keys()
            .filter(|name| !known.contains(name.as_str()) && !name.ends_with(".num_batches_tracked"))
            .collect();
        unexpected.sort();
        problems.extend(unexpected.into_iter().map(|name| format!("{name} is unexpected")));
        if !problems.is_empty() {
            return Err(Error::Mismatch { origin: origin.into(), details: problems.join("; ") });
        }
        for (entry, value) in self.entries.iter_mut().zip(values) {
            entry.value = value;
        }
        Ok(())
    }

    /// The same model with every value in `dtype`.
    pub fn to_dtype(&self, dtype: DType) -> Result<Params> {
        let convert = |entry: &Entry| Ok(Entry { value: entry.value.to_dtype(dtype)?.detach(), ..entry.clone() });
        Ok(Params { entries: self.entries.iter().map(convert).collect::<Result<_>>()? })
    }
}

/// Where a layer under construction puts its parameters.
pub struct Builder<'a> {
    params: &'a mut Params,
    prefix: String,
    seed: u64,
    dtype: DType,
}

impl Builder<'_> {
    /// The builder of the part called `name`.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        let prefix = self.path(&name.to_string());
        Builder { params: self.params, prefix, seed: self.seed, dtype: self.dtype }
    }

    /// The dotted path so far.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Adds a parameter whose elements are independently uniform in [−`bound`, `bound`).
    ///
    /// The draws depend on the seed and the path alone: a layer added elsewhere changes none of them.
    pub fn uniform(&mut self, name: &str, shape: &[usize], bound: f64) -> ParamId {
        let mut rng = Rng::at(self.seed, fnv1a(&self.path(name)), 0);
        let value = Tensor::rand(shape, -bound, bound, self.dtype, &mut rng);
        self.add(name, Kind::Parameter, value)
    }

    /// Adds a parameter whose elements are all `value`.
    pub fn constant(&mut self, name: &str, shape: &[usize], value: f64) -> ParamId {
        let value = Tensor::full(shape, value, self.dtype);
        self.add(name, Kind::Parameter, value)
    }

    /// Adds a buffer whose elements are all `value`.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f64) -> ParamId {
        let value = Tensor::full(shape, value, self.dtype);
        self.add(name, Kind::Buffer, value)
    }

    fn add(&mut self, name: &str, kind: Kind, value: Tensor) -> ParamId {
        let path = self.path(name);
        debug_assert!(self.params.entries.iter().all(|entry| entry.path != path), "{path} is there twice");
        self.params.entries.push(Entry { path, kind, value });
        ParamId(self.params.entries.len() - 1)
    }

    fn path(&self, name: &str) -> String {
        match self.prefix.is_empty() {
            true => name.to_string(),
            false => format!("{}.{name}", self.prefix),
        }
    }
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
        assert_eq!(more.unwrap().1.entries()[1].value.to_f64_vec(), params.entries()[0].value.to_f64_vec());
    }

    #[test]
    fn a_mismatch_names_everything_and_changes_nothing() {
        let mut params = two();
        let before = params.entries()[0].value.to_f64_vec();
        let source = HashMap::from([
            ("a.weight".to_string(), Tensor::zeros(&[3, 2], DType::F32)),
            ("c".to_string(), Tensor::zeros(&[1], DType::F32)),
            ("b.num_batches_tracked".to_string(), Tensor::zeros(&[], DType::I64)),
        ]);
        let message = params.load("w.safetensors", &source).unwrap_err().to_string();
        assert_eq!(
            message,
            "w.safetensors does not fit the model: a.weight has shape [3, 2], expected [2, 3]; b.mean is missing; c is unexpected"
        );
        assert_eq!(params.entries()[0].value.to_f64_vec(), before);
    }
}
