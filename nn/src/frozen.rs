//! Values that will not change any more, and what can be computed of them once: a model in use.

use crate::{ParamId, Result};
use engine::{DType, PackedWeight, Tensor};
use std::sync::{Arc, OnceLock};

/// The values of a model, in the order of its [`Params`](crate::Params), with what its layers make
/// of them at their first use. Passes on any number of threads share it, by
/// [`Context::frozen`](crate::Context::frozen).
pub struct Frozen {
    pub(crate) values: Arc<Vec<Tensor>>,
    packed: Vec<OnceLock<PackedWeight>>,
    packed_parts: Vec<OnceLock<[PackedWeight; 2]>>,
    folded: Vec<OnceLock<[Tensor; 2]>>,
    converted: Vec<OnceLock<Tensor>>,
}

impl Frozen {
    /// These values, for good.
    pub fn new(values: Vec<Tensor>) -> Self {
        let packed = values.iter().map(|_| OnceLock::new()).collect();
        let packed_parts = values.iter().map(|_| OnceLock::new()).collect();
        let folded = values.iter().map(|_| OnceLock::new()).collect();
        let converted = values.iter().map(|_| OnceLock::new()).collect();
        Self { values: Arc::new(values), packed, packed_parts, folded, converted }
    }

    /// The value `id` in `dtype`: all passes compute in one.
    pub(crate) fn converted(&self, id: ParamId, dtype: DType) -> Result<Tensor> {
        get_or_make(&self.converted[id.0], || Ok(self.values[id.0].to_dtype(dtype)?))
    }

    /// The weight `id` of a convolution, packed.
    pub(crate) fn packed(
        &self,
        id: ParamId,
        pack: impl FnOnce() -> Result<PackedWeight>,
    ) -> Result<PackedWeight> {
        get_or_make(&self.packed[id.0], pack)
    }

    /// The two parts of the weight `id` of a convolution of joined maps, packed.
    pub(crate) fn packed_parts(
        &self,
        id: ParamId,
        pack: impl FnOnce() -> Result<[PackedWeight; 2]>,
    ) -> Result<[PackedWeight; 2]> {
        get_or_make(&self.packed_parts[id.0], pack)
    }

    /// The weight `id` of a convolution and its bias, with the normalisation after it worked into
    /// them.
    pub(crate) fn folded(
        &self,
        id: ParamId,
        fold: impl FnOnce() -> Result<[Tensor; 2]>,
    ) -> Result<[Tensor; 2]> {
        get_or_make(&self.folded[id.0], fold)
    }
}

/// Two passes that meet here at once may both make it; they make the same.
fn get_or_make<T: Clone>(place: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(made) = place.get() {
        return Ok(made.clone());
    }
    let made = make()?;
    Ok(place.get_or_init(|| made).clone())
}
