//! safetensors: a length, a JSON header with names, dtypes, shapes and string metadata, and the
//! tensors' bytes in row-major order. Reading and writing of the format itself is the `safetensors`
//! crate's.
//!
//! The format has no checksum, so one is stored in the metadata. It covers the contents and not the
//! bytes, so another program may write the same contents in another order.

use super::bounds::{checked_bytes, printable};
use super::contents::{Contents, TensorInfo, WeightFile};
use engine::{DType, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};

fn open(bytes: &[u8]) -> Result<(SafeTensors<'_>, HashMap<String, String>), String> {
    let refuse =
        |error: safetensors::SafeTensorError| format!("not a complete safetensors file: {error}");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(refuse)?;
    Ok((
        SafeTensors::deserialize(bytes).map_err(refuse)?,
        header.metadata().clone().unwrap_or_default(),
    ))
}

/// The header's key of the metadata, where those of tensors stand.
const METADATA: &str = "__metadata__";

/// The metadata's key of the checksum, eight hexadecimal digits.
const CHECKSUM: &str = "crc32";

pub(super) fn read(bytes: &[u8]) -> Result<WeightFile, String> {
    let (file, mut metadata) = open(bytes)?;
    let verified = match metadata.remove(CHECKSUM) {
        None => false,
        Some(expected) if expected == checksum(&file.iter().collect(), &metadata) => true,
        Some(_) => {
            return Err("its checksum does not match its contents: the file is damaged".into());
        }
    };
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        let refuse = |reason: String| format!("{}: {reason}", printable(name));
        let dtype = dtype_of(view.dtype()).ok_or_else(|| {
            refuse(format!("its elements have the unsupported type {}", label(view.dtype())))
        })?;
        checked_bytes(view.shape(), dtype).map_err(refuse)?;
        let tensor = Tensor::from_le_bytes(view.data(), view.shape(), dtype)
            .map_err(|e| refuse(e.to_string()))?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(WeightFile { tensors, metadata, verified })
}

pub(super) fn contents(bytes: &[u8]) -> Result<Contents, String> {
    let (file, metadata) = open(bytes)?;
    let info = |(name, view): (&str, TensorView<'_>)| TensorInfo {
        name: name.into(),
        dtype: label(view.dtype()),
        shape: view.shape().to_vec(),
        device: None,
    };
    let mut tensors: Vec<TensorInfo> = file.iter().map(info).collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let mut beside: Vec<_> =
        metadata.iter().map(|(key, value)| (printable(key), printable(value))).collect();
    beside.sort();
    Ok(Contents { format: "safetensors", tensors, beside, ..Contents::default() })
}

pub(super) fn write(file: &WeightFile) -> Result<Vec<u8>, String> {
    if file.metadata.contains_key(CHECKSUM) {
        return Err(format!("{CHECKSUM} is the name of the checksum in the metadata"));
    }
    if file.tensors.contains_key(METADATA) {
        return Err(format!("{METADATA} is no name for a tensor in safetensors"));
    }
    let mut data = BTreeMap::new();
    for (name, tensor) in &file.tensors {
        data.insert(name, tensor.to_le_bytes().map_err(|error| error.to_string())?);
    }
    let mut views = BTreeMap::new();
    for (name, bytes) in &data {
        let tensor = &file.tensors[*name];
        let view = TensorView::new(to_dtype(tensor.dtype()), tensor.shape().to_vec(), bytes);
        views.insert(name.as_str(), view.map_err(|error| error.to_string())?);
    }
    let mut metadata = file.metadata.clone();
    metadata.insert(CHECKSUM.into(), checksum(&views, &file.metadata));
    Ok(sorted_header(
        safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())?,
    ))
}

/// The CRC-32 of names, dtypes, shapes, elements and metadata, in the order of names.
fn checksum(views: &BTreeMap<&str, TensorView<'_>>, metadata: &HashMap<String, String>) -> String {
    let mut crc = crc32fast::Hasher::new();
    // With its length, so that what belongs to one text cannot pass for a part of the next.
    let mut add = |bytes: &[u8]| {
        crc.update(&(bytes.len() as u64).to_le_bytes());
        crc.update(bytes);
    };
    for (name, view) in views {
        add(name.as_bytes());
        add(format!("{:?} {:?}", view.dtype(), view.shape()).as_bytes());
        add(view.data());
    }
    for (key, value) in metadata.iter().collect::<BTreeMap<_, _>>() {
        add(key.as_bytes());
        add(value.as_bytes());
    }
    format!("{:08x}", crc.finalize())
}

/// The same file with the names of its header in order: the crate writes metadata in the random
/// order of a hash map.
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

fn label(dtype: Dtype) -> String {
    format!("{dtype:?}").to_lowercase()
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
