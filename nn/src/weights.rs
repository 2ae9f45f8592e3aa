//! Weight files: safetensors, in and out.
//!
//! The format is a length, a JSON header with names, dtypes, shapes and string metadata, and the tensors' bytes in row-major
//! order. Reading and writing of the format itself is the `safetensors` crate's; here are the tensors and the care for files.

use crate::{Error, Result, write_atomically};
use engine::{DType, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// A weight file's contents.
#[derive(Debug, Default)]
pub struct WeightFile {
    /// Named tensors, off any tape.
    pub tensors: HashMap<String, Tensor>,
    /// What the header says besides.
    pub metadata: HashMap<String, String>,
}

impl WeightFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`], naming the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Reads a file's bytes; `origin` names them in errors.
    pub fn from_bytes(origin: &str, bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: String| Error::Format { origin: origin.into(), reason };
        let not_safetensors = |error: safetensors::SafeTensorError| refuse(format!("not a safetensors file: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let mut tensors = HashMap::new();
        for (name, view) in file.iter() {
            let dtype =
                dtype_of(view.dtype()).ok_or_else(|| refuse(format!("{name} is of type {:?}", view.dtype())))?;
            tensors.insert(name.to_string(), Tensor::from_le_bytes(view.data(), view.shape(), dtype)?);
        }
        Ok(Self { tensors, metadata: header.metadata().clone().unwrap_or_default() })
    }

    /// The file's bytes. The same contents give the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut names: Vec<&String> = self.tensors.keys().collect();
        names.sort();
        let data: Vec<(&String, Vec<u8>)> =
            names.into_iter().map(|name| (name, self.tensors[name].to_le_bytes())).collect();
        let refuse = |error: safetensors::SafeTensorError| Error::Format {
            origin: "weights to be written".into(),
            reason: error.to_string(),
        };
        let mut views = Vec::with_capacity(data.len());
        for (name, bytes) in &data {
            let tensor = &self.tensors[*name];
            views.push((
                *name,
                TensorView::new(to_dtype(tensor.dtype()), tensor.shape().to_vec(), bytes).map_err(refuse)?,
            ));
        }
        let metadata = (!self.metadata.is_empty()).then(|| self.metadata.clone());
        Ok(sorted_header(safetensors::serialize(views, metadata).map_err(refuse)?))
    }

    /// Writes a file; see [`write_atomically`].
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, &self.to_bytes()?).map_err(|source| Error::Io { path: path.into(), source })
    }
}

/// The same file with the names of its header in order: the crate writes metadata in the random order of a hash map.
fn sorted_header(bytes: Vec<u8>) -> Vec<u8> {
    let sorted = || {
        let length = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
        let (header, data) = bytes.get(8..)?.split_at_checked(length)?;
        let header: serde_json::Value = serde_json::from_slice(header).ok()?;
        let mut header = header.to_string().into_bytes();
        // The format aligns the data to 8 bytes with blanks.
        header.resize(header.len().next_multiple_of(8), b' ');
        Some([&(header.len() as u64).to_le_bytes()[..], &header, data].concat())
    };
    sorted().unwrap_or(bytes)
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

fn to_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> WeightFile {
        WeightFile {
            tensors: HashMap::from([
                (
                    "map".into(),
                    Tensor::from_slice(&(0..24).map(|i| i as f32).collect::<Vec<_>>(), &[1, 2, 3, 4]).unwrap(),
                ),
                ("half".into(), Tensor::full(&[3], 0.1, DType::F16)),
                ("count".into(), Tensor::full(&[], 7.0, DType::I64)),
            ]),
            metadata: HashMap::from([("task".into(), "dehaze".into())]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        sample().write(&path).unwrap();
        let read = WeightFile::read(&path).unwrap();
        assert_eq!(read.metadata, sample().metadata);
        for (name, tensor) in sample().tensors {
            assert_eq!(read.tensors[&name].meta(), tensor.meta());
            assert_eq!(read.tensors[&name].to_f64_vec(), tensor.to_f64_vec());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        let with_metadata = || {
            let mut file = sample();
            file.metadata.extend((0..9).map(|i| (format!("key {i}"), i.to_string())));
            file.to_bytes().unwrap()
        };
        assert!((0..5).all(|_| with_metadata() == with_metadata()));
        let read = WeightFile::from_bytes("memory", &with_metadata()).unwrap();
        assert!(read.to_bytes().unwrap() == with_metadata());
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let bytes = sample().to_bytes().unwrap();
        for damaged in [&bytes[..bytes.len() - 3], &bytes[..5], b"", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"] {
            let message = WeightFile::from_bytes("w.safetensors", damaged).unwrap_err().to_string();
            assert!(message.starts_with("w.safetensors: not a safetensors file"), "{message}");
        }
        let message = WeightFile::read(Path::new("/nowhere/w.safetensors")).unwrap_err().to_string();
        assert!(message.starts_with("/nowhere/w.safetensors: "));
    }
}
