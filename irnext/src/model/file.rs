//! A model in a weight file: the parameters under the published names, and the configuration in the
//! metadata.

use crate::error::{Error, Result};
use crate::model::detect::{detect_config, strip_prefix};
use crate::model::{IrNext, Model, ModelConfig};
use engine::{DType, Tensor};
use nn::Params;
use nn::shown;
use nn::weights::{WeightFile, printable};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The metadata key of the configuration, as JSON.
const CONFIG: &str = "irnext.model";

/// The metadata key of the task.
pub const TASK: &str = "irnext.task";

impl Model {
    /// Reads a weight file, in any of the formats of [`WeightFile::read`].
    pub fn read(path: &Path) -> Result<(Self, HashMap<String, String>)> {
        Self::from_file(&shown(&path).to_string(), WeightFile::read(path)?)
    }

    /// Reads the bytes of a weight file; `origin` names them in errors.
    pub fn from_bytes(origin: &str, bytes: &[u8]) -> Result<(Self, HashMap<String, String>)> {
        Self::from_file(origin, WeightFile::from_bytes(origin, bytes)?)
    }

    /// The model, in f32, and the file's metadata. The network of a file without a configuration is
    /// detected, and a prefix of the published names, such as `module.`, is removed.
    ///
    /// # Errors
    /// [`Error::Config`] if this is another network, or a configuration that makes none;
    /// [`nn::Error::Mismatch`] if single tensors are missing, unexpected or of another shape;
    /// [`Error::Config`] also if a value is not finite.
    pub fn from_file(origin: &str, file: WeightFile) -> Result<(Self, HashMap<String, String>)> {
        check_finite(origin, &file.tensors)?;
        Self::from_checkpoint(origin, file)
    }

    /// Like [`Model::from_file`], but accepts any values, since a training run checks its own.
    pub(crate) fn from_checkpoint(
        origin: &str,
        mut file: WeightFile,
    ) -> Result<(Self, HashMap<String, String>)> {
        strip_prefix(&mut file.tensors);
        let config = match said(origin, &file)? {
            Some(config) => config,
            None => detect_config(&file.tensors).map_err(|reason| refuse(origin, &reason))?,
        };
        config.validate().map_err(|error| refuse(origin, &error.to_string()))?;
        Ok((Self::build(origin, file.tensors, config)?, file.metadata))
    }

    /// The network of `config` with the parameters of a weight file, in f32.
    ///
    /// # Errors
    /// [`Error::Config`] if the file says that it holds another network; [`nn::Error::Mismatch`] if
    /// one that says nothing does.
    pub fn read_as(path: &Path, config: &ModelConfig) -> Result<Self> {
        let origin = shown(&path).to_string();
        let mut file = WeightFile::read(path)?;
        strip_prefix(&mut file.tensors);
        if said(&origin, &file)?.is_some_and(|said| said != *config) {
            return Err(refuse(
                &origin,
                "its network is not the one that is configured (see `irnext inspect`)",
            ));
        }
        check_finite(&origin, &file.tensors)?;
        Self::build(&origin, file.tensors, config.clone())
    }

    fn build(origin: &str, tensors: HashMap<String, Tensor>, config: ModelConfig) -> Result<Self> {
        let (network, params) =
            Params::build_from(origin, tensors, DType::F32, |b| Ok(IrNext::new(b, &config)))?;
        Ok(Self { config, network: Arc::new(network), params })
    }

    /// The model with the mean of its values and those of `other`, of which `share` (0 to 1)
    /// counts: that of two runs from the same weights often has the strengths of both (Wortsman
    /// et al.: "Model soups", 2022).
    ///
    /// # Errors
    /// [`Error::Config`] if `other` is of another network, or `share` outside of that.
    pub fn mixed_with(&self, other: &Self, share: f64) -> Result<Self> {
        if self.config != other.config {
            let reason = "weights of different networks have no mean (see `irnext inspect`)";
            return Err(Error::Config { reason: reason.into() });
        }
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Config { reason: format!("the share {share} is not from 0 to 1") });
        }
        let mean = |(a, b): (&Tensor, &Tensor)| -> Result<Tensor> {
            let [a, b] = [a, b].map(|value| value.to_dtype(DType::F64));
            let mean = a?.affine(1.0 - share, 0.0)?.add(&b?.affine(share, 0.0)?)?;
            Ok(mean.to_dtype(DType::F32)?)
        };
        let values = (self.params.values(), other.params.values());
        let values = values.0.iter().zip(&values.1).map(mean).collect::<Result<_>>()?;
        let params = self.params.with_values(values)?;
        Ok(Self { config: self.config.clone(), network: self.network.clone(), params })
    }

    /// The model's values as a weight file in `dtype`, with `metadata` besides the file's own
    /// description.
    pub fn to_file(&self, dtype: DType, metadata: HashMap<String, String>) -> Result<WeightFile> {
        let values = self.params.values();
        self.to_file_with(&values, dtype, metadata)
    }

    /// Like [`Model::to_file`], but with other values in the order of the parameters: a moving
    /// average.
    pub fn to_file_with(
        &self,
        values: &[Tensor],
        dtype: DType,
        mut metadata: HashMap<String, String>,
    ) -> Result<WeightFile> {
        let mut tensors = HashMap::new();
        for (entry, value) in self.params.entries().iter().zip(values) {
            tensors.insert(entry.path.clone(), value.to_dtype(dtype)?);
            // PyTorch's BatchNorm counts batches. The number is not needed, but a complete state
            // dict has it.
            if let Some(path) = entry.path.strip_suffix("running_mean") {
                tensors
                    .insert(format!("{path}num_batches_tracked"), Tensor::scalar(0.0, DType::I64)?);
            }
        }
        metadata.extend(self.describe(&metadata)?);
        Ok(WeightFile { tensors, metadata, ..WeightFile::default() })
    }

    /// The metadata that describes this model. This program reads [`CONFIG`]; the rest is for
    /// people and other programs (`modelspec` is the convention for metadata in safetensors).
    fn describe(&self, metadata: &HashMap<String, String>) -> Result<Vec<(String, String)>> {
        let config = &self.config;
        let json = serde_json::to_string(config)
            .map_err(|error| Error::Config { reason: error.to_string() })?;
        let title = match metadata.get(TASK) {
            Some(task) => format!("IRNeXt, {task}"),
            None => "IRNeXt".into(),
        };
        let entries = [
            ("format", "pt".into()),
            (CONFIG, json),
            ("irnext.n", config.n.to_string()),
            ("irnext.kernel", config.kernel.to_string()),
            ("irnext.groups", config.groups.to_string()),
            ("modelspec.sai_model_spec", "1.0.1".into()),
            ("modelspec.architecture", "irnext".into()),
            ("modelspec.implementation", "https://github.com/c-yn/IRNeXt".into()),
            ("modelspec.title", title),
        ];
        Ok(entries.map(|(key, value)| (key.to_string(), value)).into())
    }
}

/// Refuses weights that no image can come out of.
fn check_finite(origin: &str, tensors: &HashMap<String, Tensor>) -> Result<()> {
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    for name in names {
        let tensor = &tensors[name];
        if tensor.dtype() == DType::I64 {
            continue;
        }
        let values = tensor.to_dtype(DType::F32)?.to_vec::<f32>()?;
        let count = values.iter().filter(|value| !value.is_finite()).count();
        if count > 0 {
            let name = printable(name);
            let reason = format!(
                "{count} of the {} values of {name} are NaN or infinite: the file is damaged, or \
                 its training diverged",
                values.len()
            );
            return Err(refuse(origin, &reason));
        }
    }
    Ok(())
}

/// The configuration in a file's metadata, if there is one.
fn said(origin: &str, file: &WeightFile) -> Result<Option<ModelConfig>> {
    let parse = |json: &String| serde_json::from_str(json);
    file.metadata
        .get(CONFIG)
        .map(parse)
        .transpose()
        .map_err(|error| refuse(origin, &format!("metadata {CONFIG}: {error}")))
}

fn refuse(origin: &str, reason: &str) -> Error {
    Error::Config { reason: format!("{origin}: {reason}") }
}
