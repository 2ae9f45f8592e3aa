//! A model in a weight file: the numbers under the published names, and in the metadata which network they belong to.

use crate::error::{Error, Result};
use crate::model::{IrNext, Model, ModelConfig};
use engine::{DType, Tensor};
use nn::Params;
use nn::weights::WeightFile;
use std::collections::HashMap;
use std::path::Path;

/// The metadata key of the configuration, as JSON.
const CONFIG: &str = "irnext.model";

/// The metadata key of the task.
pub const TASK: &str = "irnext.task";

impl Model {
    /// Reads a weight file.
    pub fn read(path: &Path) -> Result<(Self, HashMap<String, String>)> {
        Self::from_file(&path.display().to_string(), WeightFile::read(path)?)
    }

    /// Reads the bytes of a weight file; `origin` names them in errors.
    pub fn from_bytes(origin: &str, bytes: &[u8]) -> Result<(Self, HashMap<String, String>)> {
        Self::from_file(origin, WeightFile::from_bytes(origin, bytes)?)
    }

    /// The model, in f32, and the file's metadata. A file that does not say which network it holds is looked at for it.
    pub fn from_file(origin: &str, file: WeightFile) -> Result<(Self, HashMap<String, String>)> {
        let config = match file.metadata.get(CONFIG) {
            Some(json) => serde_json::from_str(json)
                .map_err(|error| Error::Config { reason: format!("{origin}: metadata {CONFIG}: {error}") })?,
            None => guess(&file.tensors).ok_or_else(|| Error::Config {
                reason: format!("{origin}: this is no IRNeXt: its tensors have other names or shapes"),
            })?,
        };
        config.validate()?;
        let (network, mut params) = Params::build(0, DType::F32, |b| Ok(IrNext::new(b, &config)))?;
        params.load(origin, &file.tensors)?;
        Ok((Self { config, network, params }, file.metadata))
    }

    /// The model's values as a weight file in `dtype`, with `metadata` besides the configuration.
    pub fn to_file(&self, dtype: DType, metadata: HashMap<String, String>) -> Result<WeightFile> {
        let values = self.params.values();
        self.to_file_with(&values, dtype, metadata)
    }

    /// As [`Model::to_file`], with other values in the order of the parameters: a moving average.
    pub fn to_file_with(
        &self,
        values: &[Tensor],
        dtype: DType,
        mut metadata: HashMap<String, String>,
    ) -> Result<WeightFile> {
        let config = serde_json::to_string(&self.config).map_err(|e| Error::Config { reason: e.to_string() })?;
        metadata.insert(CONFIG.into(), config);
        metadata.insert("format".into(), "pt".into());
        let mut tensors = HashMap::new();
        for (entry, value) in self.params.entries().iter().zip(values) {
            tensors.insert(entry.path.clone(), value.to_dtype(dtype)?);
        }
        Ok(WeightFile { tensors, metadata })
    }
}

/// The released variant's configuration, from the names and shapes of its tensors.
fn guess(tensors: &HashMap<String, Tensor>) -> Option<ModelConfig> {
    let width = tensors.get("feat_extract.0.main.0.weight")?.shape().first().copied()?;
    let blocks =
        (0..).take_while(|i| tensors.contains_key(&format!("Encoder.0.layers.{i}.main.0.main.0.weight"))).count();
    let n = blocks.checked_sub(1)?;
    let last = format!("Encoder.0.layers.{n}.main");
    let msm = (1..).take_while(|i| tensors.contains_key(&format!("{last}.{i}.conv_sum.weight"))).count();
    let scores = tensors.get(&format!("{last}.1.dynas.0.conv.weight")).map(|weight| weight.shape()[0]);
    let kernel = 3;
    Some(ModelConfig {
        width,
        n,
        msm,
        lam: scores.is_some(),
        modulation: tensors.contains_key(&format!("{last}.1.dynas.0.inside_all")),
        groups: scores.map_or(8, |scores| scores / (kernel * kernel)),
        kernel,
        ..ModelConfig::default()
    })
}
