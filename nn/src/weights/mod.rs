//! Weight files: reading and writing safetensors and the formats of `torch.save`.
//!
//! [`WeightFile::read`] detects the format from a file's bytes, not from its name: safetensors,
//! PyTorch's zip archive or its older stream. The latter two hold a pickle, which is a program.
//! Ours is run by a machine that calls nothing (`unpickle`), and a file that calls anything that
//! weights do not need is refused. [`Contents`] lists the contents of a file without using them.

mod bounds;
mod contents;
mod pickle;
mod pickle_value;
mod safetensors;
mod search;
mod torch;
mod unpickle;
mod write_torch;
mod zip;

#[cfg(test)]
mod tests;

pub use bounds::printable;
pub use contents::{Contents, TensorInfo, WeightFile};

use crate::{Error, Result, write_atomically};
use std::collections::HashMap;
use std::path::Path;
use torch::TorchFile;

/// The largest file that is read, bytes: many times the size of the largest network's.
const LARGEST: u64 = 8 << 30;

impl WeightFile {
    /// Reads a file in any of the formats.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`], naming the file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(&crate::shown(path).to_string(), &read_bytes(path)?)
    }

    /// Reads a file's bytes; `origin` names them in errors.
    pub fn from_bytes(origin: &str, bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: String| Error::Format { origin: origin.into(), reason };
        if is_safetensors(bytes) { safetensors::read(bytes) } else { Self::from_torch(bytes) }
            .map_err(refuse)
    }

    fn from_torch(bytes: &[u8]) -> Result<Self, String> {
        let file = open_torch(bytes)?;
        if !file.refused.is_empty() {
            return Err(refusal(&file.refused));
        }
        let state = file.state_dict()?;
        // Views may be larger than their storages, but not without bound.
        let mut budget = bytes.len().saturating_mul(8).saturating_add(16 << 20);
        let mut tensors = HashMap::new();
        for (name, tensor) in state.tensors {
            let value = tensor.and_then(|tensor| file.value(&tensor, &mut budget));
            let value = value.map_err(|reason| format!("{}: {reason}", printable(name)))?;
            tensors.insert(name.to_string(), value);
        }
        if tensors.is_empty() {
            let keys: Vec<String> = state.beside.into_iter().map(|(key, _)| key).take(8).collect();
            return Err(format!("it holds no state dict; its keys are: {}", keys.join(", ")));
        }
        // The archive's own checksums are of its entries, one by one.
        Ok(Self { tensors, metadata: state.metadata, verified: false })
    }

    /// The bytes of a safetensors file. The same contents give the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        safetensors::write(self).map_err(unwritable)
    }

    /// The bytes of a file for `torch.load`, with the tensors under `model`, as the published code
    /// expects them, and the metadata beside it. The same contents give the same bytes.
    pub fn to_torch_bytes(&self) -> Result<Vec<u8>> {
        write_torch::write(self).map_err(unwritable)
    }

    /// Writes a file in the format of its extension, `safetensors`, or `pkl`, `pth` or `pt`; see
    /// [`write_atomically`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let bytes = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("safetensors") => self.to_bytes()?,
            Some("pkl" | "pth" | "pt") => self.to_torch_bytes()?,
            _ => {
                let path = crate::shown(path);
                return Err(Error::Setting(format!(
                    "{path}: weights are written as .safetensors, or as .pkl, .pth or .pt"
                )));
            }
        };
        write_atomically(path, &bytes).map_err(|source| Error::Io { path: path.into(), source })
    }
}

impl Contents {
    /// Lists the contents of a file's bytes; `origin` names them in errors.
    ///
    /// # Errors
    /// [`Error::Format`] if there is nothing to be seen. That the file can be seen does not say
    /// that it can be used.
    pub fn from_bytes(origin: &str, bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: String| Error::Format { origin: origin.into(), reason };
        if is_safetensors(bytes) { safetensors::contents(bytes) } else { Self::of_torch(bytes) }
            .map_err(refuse)
    }

    fn of_torch(bytes: &[u8]) -> Result<Self, String> {
        let file = open_torch(bytes)?;
        let mut contents =
            Self { format: file.format, refused: file.refused.clone(), ..Self::default() };
        let state = match file.state_dict() {
            Err(_) if !file.refused.is_empty() => return Ok(contents),
            state => state?,
        };
        contents.beside = state.beside;
        for (name, tensor) in state.tensors {
            match tensor {
                Ok(tensor) => contents.tensors.push(TensorInfo {
                    name: name.to_string(),
                    dtype: tensor.element.label.into(),
                    device: Some(tensor.device().chars().take(40).collect()),
                    shape: tensor.shape,
                }),
                // The rest of the contents is still listed.
                Err(reason) => contents
                    .beside
                    .push((printable(name), format!("a tensor that cannot be read: {reason}"))),
            }
        }
        Ok(Self { path: state.path, ..contents })
    }
}

/// The bytes of a weight file.
///
/// ```
/// let error = nn::weights::read_bytes("missing.pt".as_ref()).unwrap_err();
/// assert!(error.to_string().starts_with("missing.pt: "));
/// # Ok::<_, nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a path that is not a regular file, and never ends, or is
/// larger than any network.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let refuse = |reason: &str| {
        Err(Error::Format { origin: crate::shown(path).to_string(), reason: reason.into() })
    };
    if !metadata.is_file() {
        return refuse("not a file");
    }
    if metadata.len() > LARGEST {
        return refuse("too large for a weight file");
    }
    std::fs::read(path).map_err(io)
}

/// Whether the bytes begin like a safetensors file: after 8 bytes of length, a JSON object.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

fn open_torch(bytes: &[u8]) -> Result<TorchFile<'_>, String> {
    if bytes.is_empty() { Err("the file is empty".into()) } else { TorchFile::open(bytes) }
}

fn refusal(refused: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if refused.len() > SHOWN {
        format!("; and {} more", refused.len() - SHOWN)
    } else {
        String::new()
    };
    let shown = refused[..refused.len().min(SHOWN)].join("; ");
    format!(
        "refused: the pickle references callables not needed for weights: {shown}{more}. \
         None were executed. If this is a whole model, save its state_dict() instead"
    )
}

fn unwritable(reason: String) -> Error {
    Error::Format { origin: "weights to be written".into(), reason }
}
