//! Parameters and buffers under dotted paths.
//!
//! A model is a tree of layers that hold no numbers, only [`ParamId`]s. The numbers are in one flat
//! list, [`Params`], under the paths that weight files use (`Encoder.0.layers.1.main.0.weight`). So
//! an optimizer, a moving average or a file is a loop over a list, and a layer is an immutable
//! description that threads can share.

use crate::shown;
use crate::weights::{WeightFile, printable};
use crate::{Error, Result};
use engine::{DType, Device, Rng, Tensor, counted};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names an entry of the [`Params`] that it was built with, and of their copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId {
    model: ModelId,
    pub(crate) index: usize,
}

impl ParamId {
    /// The index of the entry among the `count` values of `model`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the entry belongs to another model.
    pub(crate) fn index_in(self, model: ModelId, count: usize) -> Result<usize> {
        match model == self.model && self.index < count {
            true => Ok(self.index),
            false => Err(Error::Setting(format!(
                "entry {} belongs to another model: layers go with the values of the build that \
                 made them, and with copies of those",
                self.index
            ))),
        }
    }
}

/// Identifies the build that an entry comes from, within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModelId(u64);

impl ModelId {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
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
    pub kind: EntryKind,
    /// The current value.
    pub value: Tensor,
}

impl Entry {
    /// An error unless `value` has the shape and dtype of this entry.
    fn require_like(&self, value: &Tensor) -> Result<()> {
        if self.value.meta() == value.meta() {
            return Ok(());
        }
        let (path, expected, got) = (&self.path, self.value.meta(), value.meta());
        Err(Error::Setting(format!("{path}: expected {expected}, got {got}")))
    }

    /// An error unless `value` could be that of this entry: it is like it, and has elements.
    fn require_fit(&self, value: &Tensor) -> Result<()> {
        self.require_like(value)?;
        match value.is_traced() {
            false => Ok(()),
            true => Err(Error::Setting(format!(
                "{}: the new value is traced and has no elements; a layer that is planned runs in \
                 Context::planned",
                self.path
            ))),
        }
    }
}

/// All parameters and buffers of a model, in the order in which its layers were built.
///
/// Copies, also on another device or in another dtype, belong to the same model and have the same
/// [`ParamId`]s. A second build makes another model, even with the same layers.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::Params;
/// let (id, mut params) = Params::build(0, DType::F32, |b| Ok(b.constant("w", &[2], 1.0)))?;
/// params.set(id, Tensor::from_slice(&[5f32, 6.0], &[2])?)?;
/// assert_eq!(params.get(id)?.to_vec::<f32>()?, [5.0, 6.0]);
/// // A value of another shape is refused.
/// assert!(params.set(id, Tensor::zeros(&[3], DType::F32)?).is_err());
/// // The same model in another dtype, and the same id.
/// assert_eq!(params.to_dtype(DType::F64)?.get(id)?.dtype(), DType::F64);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Params {
    model: ModelId,
    entries: Vec<Entry>,
}

impl Params {
    fn new() -> Self {
        Self { model: ModelId::new(), entries: Vec::new() }
    }

    /// Builds a model's layers with `build`, which draws initial values from `seed` through the
    /// [`Builder`].
    ///
    /// ```
    /// use nn::{Params, layers::Linear};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Linear::new(&mut b.at("head"), 64, 10));
    /// let (_head, params) = Params::build(7, engine::DType::F32, build)?;
    /// let names: Vec<&str> = params.entries().iter().map(|entry| entry.path.as_str()).collect();
    /// assert_eq!(names, ["head.weight", "head.bias"]);
    /// assert_eq!(params.count(), 10 * 64 + 10);
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `build`, and the first that was [recorded](Builder::refuse): of an entry whose
    /// values could not be made, of a path that was added twice, of a layer's settings.
    /// [`Error::Setting`] for a `dtype` of integers, which nothing can be trained in.
    pub fn build<M>(
        seed: u64,
        dtype: DType,
        build: impl FnOnce(&mut Builder<'_>) -> Result<M>,
    ) -> Result<(M, Params)> {
        let (model, draft) = Draft::built(Values::Drawn { seed }, dtype, build)?;
        Ok((model, draft.params))
    }

    /// Builds a model's layers with `build`, which takes its values from `source`, converted to
    /// `dtype`. Values that do not fit are found before memory is allocated, so that a small file
    /// cannot ask for a large model.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::{Params, layers::Linear};
    /// let file = [
    ///     ("weight".to_string(), Tensor::ones(&[1, 2], DType::F64)?),
    ///     ("bias".to_string(), Tensor::zeros(&[1], DType::F64)?),
    /// ];
    /// let build = |b: &mut nn::Builder<'_>| Ok(Linear::new(b, 2, 1));
    /// let (_sum, params) = Params::build_from("sum.pt", file.into(), DType::F32, build)?;
    /// assert_eq!(params.values()[0].to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`Params::load`] and [`Params::build`].
    pub fn build_from<M>(
        origin: &str,
        source: HashMap<String, Tensor>,
        dtype: DType,
        build: impl FnOnce(&mut Builder<'_>) -> Result<M>,
    ) -> Result<(M, Params)> {
        let values = Values::Given(Fitting::new(source));
        let (model, draft) = Draft::built(values, dtype, build)?;
        if let Values::Given(fitting) = draft.values {
            fitting.finish(origin)?;
        }
        Ok((model, draft.params))
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, to be changed by the optimizer, which preserves their shapes and dtypes.
    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The trained entries, in order.
    ///
    /// ```
    /// let (_, params) = nn::Params::build(0, engine::DType::F32, |b| {
    ///     Ok(nn::layers::BatchNorm2d::new(b, 8))
    /// })?;
    /// let trained: Vec<&str> = params.parameters().map(|(_, entry)| &*entry.path).collect();
    /// assert_eq!(trained, ["weight", "bias"]);
    /// assert_eq!((params.count(), params.entries().len()), (16, 4));
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn parameters(&self) -> impl Iterator<Item = (ParamId, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.kind == EntryKind::Parameter)
            .map(|(index, e)| (ParamId { model: self.model, index }, e))
    }

    /// The number of trained parameters.
    pub fn count(&self) -> usize {
        self.parameters().map(|(_, entry)| entry.value.numel()).sum()
    }

    /// The value of an entry.
    ///
    /// # Errors
    /// [`Error::Setting`] if the entry belongs to another model.
    pub fn get(&self, id: ParamId) -> Result<&Tensor> {
        Ok(&self.entries[self.index(id)?].value)
    }

    /// Replaces the value of an entry by one of the same shape and dtype.
    ///
    /// # Errors
    /// [`Error::Setting`] if the value does not fit or is [traced](Tensor::is_traced), or the entry
    /// belongs to another model.
    pub fn set(&mut self, id: ParamId, value: Tensor) -> Result<()> {
        let index = self.index(id)?;
        let entry = &mut self.entries[index];
        entry.require_fit(&value)?;
        entry.value = value.detach();
        Ok(())
    }

    /// All values, in order. They are shared, not copied.
    pub fn values(&self) -> Vec<Tensor> {
        self.entries.iter().map(|entry| entry.value.clone()).collect()
    }

    /// The same model with other `values`, in the order of the entries: a moving average, for
    /// instance. They are shared, not copied.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::Params;
    /// let (weight, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 2.0)))?;
    /// let average = params.with_values(vec![Tensor::scalar(1.5, DType::F64)?])?;
    /// assert_eq!((average.get(weight)?.item()?, params.get(weight)?.item()?), (1.5, 2.0));
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if there are more or fewer values than entries, or one has another shape
    /// or dtype, or is [traced](Tensor::is_traced).
    pub fn with_values(&self, values: Vec<Tensor>) -> Result<Params> {
        self.require_fit(&values)?;
        let mut params = self.clone();
        params.restore(values.iter().map(Tensor::detach).collect());
        Ok(params)
    }

    /// Sets the values of all entries, which they fit.
    pub(crate) fn restore(&mut self, values: Vec<Tensor>) {
        self.entries.iter_mut().zip(values).for_each(|(entry, value)| entry.value = value);
    }

    /// An error unless each could be the new value of a buffer.
    pub(crate) fn require_buffers(&self, updates: &[(ParamId, Tensor)]) -> Result<()> {
        updates.iter().try_for_each(|(id, value)| {
            let entry = &self.entries[self.index(*id)?];
            if entry.kind == EntryKind::Parameter {
                let message = format!("{} is trained, and no buffer to be updated", entry.path);
                return Err(Error::Setting(message));
            }
            entry.require_fit(value)
        })
    }

    /// An error unless these could be the values of the entries.
    pub(crate) fn require_fit(&self, values: &[Tensor]) -> Result<()> {
        self.require_each(values, Entry::require_fit)
    }

    /// Like [`Params::require_fit`], but for a pass, whose values may be traced.
    pub(crate) fn require_like(&self, values: &[Tensor]) -> Result<()> {
        self.require_each(values, Entry::require_like)
    }

    fn require_each(
        &self,
        values: &[Tensor],
        require: impl Fn(&Entry, &Tensor) -> Result<()>,
    ) -> Result<()> {
        if values.len() != self.entries.len() {
            let given = counted(values.len(), "value");
            return Err(Error::Setting(format!("{given} for a model with {}", self.kinds())));
        }
        self.entries.iter().zip(values).try_for_each(|(entry, value)| require(entry, value))
    }

    /// Writes all values to a weight file in the format of its extension: `safetensors`, or `pkl`,
    /// `pth` or `pt` for PyTorch. [`Params::load_file`] reads it.
    ///
    /// ```
    /// use engine::DType;
    /// use nn::{Params, layers::Linear};
    /// let build = |b: &mut nn::Builder<'_>| Ok(Linear::new(b, 64, 10));
    /// let (_, params) = Params::build(1, DType::F32, build)?;
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// let path = folder.path().join("weights.safetensors");
    /// params.save(&path)?;
    /// // The same layers with other values, until those of the file are loaded.
    /// let (_, mut other) = Params::build(2, DType::F32, build)?;
    /// other.load_file(&path)?;
    /// let [saved, loaded] = [params, other].map(|params| params.values()[0].to_f64_vec());
    /// assert_eq!(saved?, loaded?);
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for any other extension, and [`Error::Io`]. For metadata in the file,
    /// [`WeightFile::write`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let named = |entry: &Entry| Ok((entry.path.clone(), entry.value.to_device(Device::Cpu)?));
        let tensors = self.entries.iter().map(named).collect::<Result<_>>()?;
        WeightFile { tensors, ..WeightFile::default() }.write(path.as_ref())
    }

    /// Replaces every value by that in a weight file, in any of the formats of
    /// [`WeightFile::read`], on the entry's device. [`Params::save`] shows it.
    ///
    /// # Errors
    /// Same errors as [`Params::load`] and [`WeightFile::read`]; nothing is changed then.
    pub fn load_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut source = WeightFile::read(path)?.tensors;
        for entry in &self.entries {
            if let Some(value) = source.get_mut(&entry.path) {
                *value = value.to_device(entry.value.device())?;
            }
        }
        self.load(&shown(&path).to_string(), &source)
    }

    /// Replaces every value by that in `source`, converted to the entry's dtype.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// use nn::{Error, Params};
    /// let (w, mut params) = Params::build(0, DType::F32, |b| Ok(b.constant("w", &[2], 0.0)))?;
    /// let file = |name: &str, x| [(name.to_string(), x)].into();
    /// params.load("a.pt", &file("w", Tensor::ones(&[2], DType::F64)?))?;
    /// assert_eq!(params.get(w)?.to_vec::<f32>()?, [1.0, 1.0]);
    /// let error = params.load("b.pt", &file("v", Tensor::ones(&[2], DType::F32)?));
    /// assert!(matches!(error, Err(Error::Mismatch { .. })));
    /// # Ok::<_, nn::Error>(())
    /// ```
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
        self.restore(values);
        Ok(())
    }

    /// The same model with every value on `device`.
    ///
    /// ```no_run
    /// use engine::{DType, Device, Tensor};
    /// use nn::layers::{Conv2d, Module};
    /// use nn::{Context, Params};
    /// let (conv, params) = Params::build(0, DType::F32, |b| Ok(Conv2d::new(b, 3, 8, 3)))?;
    /// // A layer holds no values: it computes where those of the pass and its input are.
    /// let gpu = Device::Cuda(0);
    /// let params = params.to_device(gpu)?;
    /// let x = Tensor::zeros(&[1, 3, 32, 32], DType::F32)?.to_device(gpu)?;
    /// let y = conv.forward(&Context::inference(&params), &x)?;
    /// assert_eq!(y.device(), gpu);
    /// let pixels = y.to_device(Device::Cpu)?.to_vec::<f32>()?;
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn to_device(&self, device: Device) -> Result<Params> {
        let there =
            |entry: &Entry| Ok(Entry { value: entry.value.to_device(device)?, ..entry.clone() });
        self.map_entries(there)
    }

    /// The same model with every value in `dtype`.
    pub fn to_dtype(&self, dtype: DType) -> Result<Params> {
        let convert = |entry: &Entry| {
            Ok(Entry { value: entry.value.to_dtype(dtype)?.detach(), ..entry.clone() })
        };
        self.map_entries(convert)
    }

    fn map_entries(&self, entry: impl Fn(&Entry) -> Result<Entry>) -> Result<Params> {
        Ok(Params {
            model: self.model,
            entries: self.entries.iter().map(entry).collect::<Result<_>>()?,
        })
    }

    /// The number of parameters and of buffers, for messages.
    pub(crate) fn kinds(&self) -> String {
        let parameters = self.parameters().count();
        let buffers = counted(self.entries.len() - parameters, "buffer");
        format!("{} and {buffers}", counted(parameters, "parameter"))
    }

    fn index(&self, id: ParamId) -> Result<usize> {
        id.index_in(self.model, self.entries.len())
    }

    pub(crate) fn model(&self) -> ModelId {
        self.model
    }
}

/// Adds the parameters of a layer under construction.
///
/// ```
/// use nn::{Builder, ParamId, Params};
/// /// y = a·x + b, with running statistics.
/// struct Line {
///     a: ParamId,
///     b: ParamId,
///     mean: ParamId,
/// }
/// let line = |b: &mut Builder<'_>| Line {
///     a: b.normal("a", &[8], 0.02),
///     b: b.constant("b", &[8], 0.0),
///     mean: b.buffer("mean", &[8], 0.0),
/// };
/// let build = |b: &mut Builder<'_>| {
///     assert_eq!(b.at("body").at(0).prefix(), "body.0");
///     Ok(line(&mut b.at("body").at(0)))
/// };
/// let (line, params) = Params::build(0, engine::DType::F32, build)?;
/// assert_eq!(params.entries()[0].path, "body.0.a");
/// assert_eq!(params.get(line.mean)?.to_vec::<f32>()?, [0.0; 8]);
/// # Ok::<_, nn::Error>(())
/// ```
pub struct Builder<'a> {
    draft: &'a mut Draft,
    prefix: String,
}

/// The parameters of a model under construction.
struct Draft {
    params: Params,
    values: Values,
    dtype: DType,
    /// The paths so far.
    paths: HashSet<String>,
    /// The first error, which the build ends with.
    refused: Option<Error>,
}

/// The source of the values of a model under construction.
enum Values {
    /// Drawn from this seed.
    Drawn {
        seed: u64,
    },
    Given(Fitting),
}

impl Draft {
    /// What `build` makes of a new draft.
    fn built<M>(
        values: Values,
        dtype: DType,
        build: impl FnOnce(&mut Builder<'_>) -> Result<M>,
    ) -> Result<(M, Self)> {
        if matches!(dtype, DType::I64 | DType::U8) {
            let message = format!("a model's values are floating-point numbers, not {dtype}");
            return Err(Error::Setting(message));
        }
        let (params, paths) = (Params::new(), HashSet::new());
        let mut draft = Self { params, values, dtype, paths, refused: None };
        let model = build(&mut Builder { draft: &mut draft, prefix: String::new() })?;
        match draft.refused.take() {
            Some(error) => Err(error),
            None => Ok((model, draft)),
        }
    }
}

impl Builder<'_> {
    /// The builder for the part called `name`.
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
    ///
    /// ```
    /// use nn::{Builder, Params};
    /// let build = |b: &mut Builder<'_>| Ok(b.uniform("w", &[100], 0.5));
    /// let draws = |seed| -> nn::Result<Vec<f64>> {
    ///     let (w, params) = Params::build(seed, engine::DType::F64, build)?;
    ///     Ok(params.get(w)?.to_f64_vec()?)
    /// };
    /// assert!(draws(7)?.iter().all(|x| (-0.5..0.5).contains(x)));
    /// assert_eq!(draws(7)?, draws(7)?);
    /// assert_ne!(draws(7)?, draws(8)?);
    /// # Ok::<_, nn::Error>(())
    /// ```
    ///
    /// With a bound that is negative or not finite, the build ends with an error.
    pub fn uniform(&mut self, name: &str, shape: &[usize], bound: f64) -> ParamId {
        self.require_spread("bound", bound);
        let draw = |path: &str, seed, dtype| {
            Tensor::rand(shape, -bound, bound, dtype, &mut Rng::at(seed, fnv1a(path), 0))
        };
        self.add(name, EntryKind::Parameter, shape, draw)
    }

    /// Adds a parameter whose elements are independently normal with mean 0 and standard deviation
    /// `deviation`. The draws depend on the seed and the path alone. With a deviation that is
    /// negative or not finite, the build ends with an error.
    pub fn normal(&mut self, name: &str, shape: &[usize], deviation: f64) -> ParamId {
        self.require_spread("deviation", deviation);
        let draw = |path: &str, seed, dtype| {
            Tensor::randn(shape, dtype, &mut Rng::at(seed, fnv1a(path), 0))?.scale(deviation)
        };
        self.add(name, EntryKind::Parameter, shape, draw)
    }

    /// Adds a parameter whose elements are all `value`. With NaN, the build ends with an error.
    pub fn constant(&mut self, name: &str, shape: &[usize], value: f64) -> ParamId {
        self.require_known(value);
        self.add(name, EntryKind::Parameter, shape, |_, _, dtype| Tensor::full(shape, value, dtype))
    }

    /// Adds a buffer whose elements are all `value`. With NaN, the build ends with an error.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f64) -> ParamId {
        self.require_known(value);
        self.add(name, EntryKind::Buffer, shape, |_, _, dtype| Tensor::full(shape, value, dtype))
    }

    /// Records that the part under construction cannot be made for this `reason`. The build ends
    /// with the first such error. So a layer's constructor returns the layer, not a result.
    ///
    /// ```
    /// use nn::{Builder, Params};
    /// let odd = |b: &mut Builder<'_>, kernel: usize| {
    ///     if kernel % 2 == 0 {
    ///         b.refuse("the kernel must have a center");
    ///     }
    ///     b.constant("weight", &[kernel], 0.0)
    /// };
    /// let build = |b: &mut Builder<'_>| Ok(odd(&mut b.at("filter"), 4));
    /// let error = Params::build(0, engine::DType::F32, build).unwrap_err();
    /// assert_eq!(error.to_string(), "filter: the kernel must have a center");
    /// ```
    pub fn refuse(&mut self, reason: impl std::fmt::Display) {
        let part = if self.prefix.is_empty() { "the model" } else { &self.prefix };
        let error = Error::Setting(format!("{part}: {reason}"));
        self.draft.refused.get_or_insert(error);
    }

    /// Refuses a bound or deviation that no random numbers have.
    fn require_spread(&mut self, what: &str, spread: f64) {
        if !(spread.is_finite() && spread >= 0.0) {
            self.refuse(format!("the {what} must be finite and not negative, got {spread}"));
        }
    }

    /// Refuses NaN as the first value of an entry.
    fn require_known(&mut self, value: f64) {
        if value.is_nan() {
            self.refuse("the values of an entry must be numbers, got NaN");
        }
    }

    /// Adds an entry. If no value is given, `draw` makes it from path, seed and dtype. Without a
    /// value there is no entry; the failure is recorded, and the build ends with it.
    fn add(
        &mut self,
        name: &str,
        kind: EntryKind,
        shape: &[usize],
        draw: impl FnOnce(&str, u64, DType) -> Result<Tensor, engine::Error>,
    ) -> ParamId {
        let path = self.path(name);
        let Draft { params, values, dtype, paths, refused } = &mut *self.draft;
        let id = ParamId { model: params.model, index: params.entries.len() };
        if path.split('.').any(str::is_empty) {
            let message = format!("each entry, and each part of the model, needs a name: {path:?}");
            refused.get_or_insert(Error::Setting(message));
            return id;
        }
        if !paths.insert(path.clone()) {
            let message = format!("{path} is added twice: name each part with Builder::at");
            refused.get_or_insert(Error::Setting(message));
            return id;
        }
        let value = match values {
            Values::Drawn { seed } => {
                draw(&path, *seed, *dtype).map_err(|error| refused.get_or_insert(error.into())).ok()
            }
            Values::Given(fitting) => fitting.take(&path, shape, *dtype),
        };
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

/// Weights being loaded into a model: those not used yet, and those that did not fit.
struct Fitting {
    source: HashMap<String, Tensor>,
    missing: Vec<String>,
    misshapen: Vec<String>,
    /// The error if memory ran out, which is no fault of the weights.
    out_of_memory: Option<engine::Error>,
}

impl Fitting {
    fn new(source: HashMap<String, Tensor>) -> Self {
        Self { source, missing: vec![], misshapen: vec![], out_of_memory: None }
    }

    /// The value for `path`; if none fits, that is recorded.
    fn take(&mut self, path: &str, shape: &[usize], dtype: DType) -> Option<Tensor> {
        match self.source.remove(path) {
            Some(value) if value.shape() == shape => {
                match value.to_dtype(dtype).and_then(|value| value.contiguous()) {
                    Ok(value) if !value.is_traced() => return Some(value.detach()),
                    Err(error) if error.is_out_of_memory() => self.out_of_memory = Some(error),
                    _ => self.misshapen.push(format!("{path} cannot become {dtype}")),
                }
            }
            Some(value) => {
                self.misshapen.push(format!("{path} is {:?}, not {shape:?}", value.shape()))
            }
            None => self.missing.push(path.into()),
        }
        None
    }

    /// Fails if anything did not fit, or is left over.
    fn finish(self, origin: &str) -> Result<()> {
        if let Some(error) = self.out_of_memory {
            return Err(error.into());
        }
        let counter = |name: &str| name == "n_averaged" || name.ends_with("num_batches_tracked");
        let mut unexpected: Vec<String> =
            self.source.keys().filter(|name| !counter(name)).map(|name| printable(name)).collect();
        unexpected.sort();
        let prefix = common_prefix(&unexpected, &self.missing);
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
        if details.is_empty() {
            return Ok(());
        }
        let advice = prefix.map(|prefix| {
            format!(
                "; each unexpected name is a missing one behind {prefix:?}: remove that from it"
            )
        });
        let details = details.join("; ") + &advice.unwrap_or_default();
        Err(Error::Mismatch { origin: origin.into(), details })
    }
}

/// The prefix without which each of `unexpected` is one of `missing`, such as `module.` in files of
/// PyTorch's distributed training.
fn common_prefix(unexpected: &[String], missing: &[String]) -> Option<String> {
    let missing: HashSet<&str> = missing.iter().map(String::as_str).collect();
    let first = unexpected.first()?;
    let prefixes = first.match_indices('.').map(|(dot, _)| &first[..=dot]);
    let leads = |prefix: &&str| {
        let rest = |name: &String| name.strip_prefix(prefix).is_some_and(|x| missing.contains(x));
        unexpected.iter().all(rest)
    };
    prefixes.take(8).find(leads).map(str::to_string)
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

/// The 32-bit FNV-1a hash, which identifies a stream of random numbers by a path.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Mode};

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
    fn a_prefix_of_all_names_is_pointed_out() {
        let mut params = two();
        let mut load = |names: [&str; 2]| {
            let shapes = [&[2, 3][..], &[3]];
            let named = names.into_iter().zip(shapes);
            let tensor = |shape| Tensor::zeros(shape, DType::F32).unwrap();
            let source = named.map(|(name, shape)| (name.to_string(), tensor(shape))).collect();
            params.load("w.pt", &source).unwrap_err().to_string()
        };
        for (names, prefix) in [
            (["module.a.weight", "module.b.mean"], Some("\"module.\"")),
            (["net.module.a.weight", "net.module.b.mean"], Some("\"net.module.\"")),
            (["module.a.weight", "b.mean"], Some("\"module.\"")),
            (["module.a.weight", "other.b.mean"], None),
            (["module.a.weight", "module.b.deviation"], None),
        ] {
            let message = load(names);
            let advice = prefix.map(|p| format!("a missing one behind {p}: remove that from it"));
            match advice {
                Some(advice) => assert!(message.ends_with(&advice), "{message}"),
                None => assert!(!message.contains("behind"), "{message}"),
            }
        }
    }

    #[test]
    fn values_and_names_that_no_model_has_are_refused() {
        let message = |made: Result<(ParamId, Params)>| made.unwrap_err().to_string();
        let build = |dtype, add: fn(&mut Builder<'_>) -> ParamId| {
            message(Params::build(1, dtype, |b| Ok(add(&mut b.at("a")))))
        };
        for dtype in [DType::I64, DType::U8] {
            let expected = format!("a model's values are floating-point numbers, not {dtype}");
            assert_eq!(build(dtype, |b| b.constant("w", &[1], 0.0)), expected);
        }
        let nan: [fn(&mut Builder<'_>) -> ParamId; 2] =
            [|b| b.constant("w", &[1], f64::NAN), |b| b.buffer("w", &[1], f64::NAN)];
        for add in nan {
            let expected = "a: the values of an entry must be numbers, got NaN";
            assert_eq!(build(DType::F32, add), expected);
        }
        let nameless: [fn(&mut Builder<'_>) -> ParamId; 2] =
            [|b| b.constant("", &[1], 0.0), |b| b.at("").constant("w", &[1], 0.0)];
        for add in nameless {
            let error = build(DType::F32, add);
            assert!(error.starts_with("each entry, and each part of the model, needs"), "{error}");
        }
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
        assert_eq!(
            params.get(foreign).unwrap_err().to_string(),
            "entry 0 belongs to another model: layers go with the values of the build that made \
             them, and with copies of those"
        );
        let value = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        assert!(matches!(params.set(foreign, value), Err(Error::Setting(_))));
        let cx = crate::Context::inference(&params);
        assert!(cx.param(foreign).is_err() && cx.buffer(foreign).is_err());
    }

    #[test]
    fn an_entry_of_an_equal_model_is_of_another_model() {
        let (mut params, other) = (two(), two());
        let foreign = other.parameters().next().unwrap().0;
        let value = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        assert!(matches!(params.get(foreign), Err(Error::Setting(_))));
        assert!(matches!(params.set(foreign, value.clone()), Err(Error::Setting(_))));
        let tape = engine::Tape::new();
        for cx in [crate::Context::inference(&params), crate::Context::training(&params, &tape)] {
            assert!(cx.param(foreign).is_err() && cx.buffer(foreign).is_err());
            cx.update_buffer(foreign, value.clone());
            assert!(cx.finish().update_buffers(&mut params).is_err());
        }
        let cx = Context::with_values(&params, params.values(), Mode::Eval).unwrap();
        assert!(cx.param(foreign).is_err());
        let frozen = crate::Frozen::new(&params, None, engine::Numerics::default());
        assert!(frozen.run(vec![value], |cx, _| Ok(vec![cx.param(foreign)?])).is_err());
    }

    #[test]
    fn a_path_that_is_added_twice_is_an_error() {
        let twice = |b: &mut Builder<'_>| {
            b.at("a").uniform("weight", &[2], 1.0);
            b.at("b").uniform("weight", &[2], 1.0);
            Ok(b.buffer("a.weight", &[2], 1.0))
        };
        let message = Params::build(1, DType::F32, twice).unwrap_err().to_string();
        assert!(message.starts_with("a.weight is added twice"), "{message}");
        let one = || Tensor::ones(&[2], DType::F32).unwrap();
        let source = HashMap::from([("a.weight".into(), one()), ("b.weight".into(), one())]);
        let error = Params::build_from("w", source, DType::F32, twice).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn other_values_must_fit() {
        let params = two();
        let doubled: Vec<Tensor> =
            params.values().iter().map(|value| value.scale(2.0).unwrap()).collect();
        let other = params.with_values(doubled.clone()).unwrap();
        assert_eq!(other.values()[1].to_f64_vec().unwrap(), [1.0; 3]);
        assert_eq!(other.parameters().next().unwrap().0, params.parameters().next().unwrap().0);
        for wrong in [vec![], doubled[..1].to_vec(), vec![doubled[1].clone(), doubled[0].clone()]] {
            let in_context = Context::with_values(&params, wrong.clone(), Mode::Eval).map(|_| ());
            let messages =
                [params.with_values(wrong).map(|_| ()), in_context].map(|r| r.unwrap_err());
            assert_eq!(messages[0].to_string(), messages[1].to_string());
            let named = ["for a model with 1 parameter and 1 buffer", "a.weight: expected"];
            assert!(named.iter().any(|part| messages[0].to_string().contains(part)));
        }
    }

    #[test]
    fn copies_are_of_the_same_model() {
        let mut params = two();
        let id = params.parameters().next().unwrap().0;
        let copies = [
            params.clone(),
            params.to_device(Device::Cpu).unwrap(),
            params.to_dtype(DType::F64).unwrap(),
        ];
        for mut copy in copies {
            assert_eq!(copy.parameters().next().unwrap().0, id);
            let value = copy.get(id).unwrap().clone();
            copy.set(id, value).unwrap();
        }
        let values = params.entries().iter().map(|e| (e.path.clone(), e.value.clone())).collect();
        params.load("itself", &values).unwrap();
        assert!(params.get(id).is_ok());
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
    fn draws_of_no_spread_are_refused() {
        type Add = fn(&mut Builder<'_>, f64) -> ParamId;
        let adds: [(Add, &str); 2] = [
            (|b, bound| b.uniform("w", &[2], bound), "bound"),
            (|b, deviation| b.normal("w", &[2], deviation), "deviation"),
        ];
        for (add, what) in adds {
            for spread in [f64::NAN, f64::INFINITY, -1.0] {
                let made = Params::build(1, DType::F32, |b| Ok(add(&mut b.at("a"), spread)));
                assert_eq!(
                    made.unwrap_err().to_string(),
                    format!("a: the {what} must be finite and not negative, got {spread}")
                );
            }
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
