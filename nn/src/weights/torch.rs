//! Files of `torch.save`: a pickle, and the storages that its tensors are views of.
//!
//! Since PyTorch 1.6 a file is a zip archive: `NAME/data.pkl`, and `NAME/data/KEY` for each
//! storage. Before, it was a stream: four pickles (a magic number, a version, the machine's
//! properties, the object), one with the storages' keys, and the storages, each after its number of
//! elements.
//!
//! The few calls that weights consist of are recognized by [`is_known`]; [`TorchFile::refused`]
//! lists all others.

use super::bounds::{MAX_RANK, checked_bytes};
use super::pickle::Pickle;
use super::pickle_value::{Object, ObjectId};
use super::zip;
use engine::{DType, Tensor};
use std::collections::HashMap;

/// 0x1950a86a20f9469cfc6c, which the stream begins with: as bytes, and as protocols 0 and 1 write
/// it.
const MAGIC: [&[u8]; 2] =
    [b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"119547037146038801333356"];

/// An element type of PyTorch, and its type here.
pub(super) struct ElementType {
    storage: &'static str,
    names: &'static [&'static str],
    size: usize,
    /// The short name.
    pub(super) label: &'static str,
    dtype: DType,
}

const fn element(
    storage: &'static str,
    names: &'static [&'static str],
    size: usize,
    label: &'static str,
    dtype: DType,
) -> ElementType {
    ElementType { storage, names, size, label, dtype }
}

static ELEMENT_TYPES: [ElementType; 10] = [
    element("FloatStorage", &["float32", "float"], 4, "f32", DType::F32),
    element("DoubleStorage", &["float64", "double"], 8, "f64", DType::F64),
    element("HalfStorage", &["float16", "half"], 2, "f16", DType::F16),
    element("BFloat16Storage", &["bfloat16"], 2, "bf16", DType::BF16),
    element("LongStorage", &["int64", "long"], 8, "i64", DType::I64),
    element("IntStorage", &["int32", "int"], 4, "i32", DType::I64),
    element("ShortStorage", &["int16", "short"], 2, "i16", DType::I64),
    element("CharStorage", &["int8"], 1, "i8", DType::I64),
    element("ByteStorage", &["uint8"], 1, "u8", DType::U8),
    element("BoolStorage", &["bool"], 1, "bool", DType::U8),
];

fn element_type(find: impl Fn(&ElementType) -> bool) -> Option<&'static ElementType> {
    ELEMENT_TYPES.iter().find(|element| find(element))
}

/// Whether weights may import this name. None of these is ever called.
fn is_known(module: &str, name: &str) -> bool {
    match module {
        "collections" => matches!(name, "OrderedDict" | "Counter"),
        "torch._utils" => is_rebuild(name) || name == "_rebuild_parameter",
        "torch.nn.parameter" => name == "Parameter",
        "torch.storage" => name == "UntypedStorage",
        "torch" => {
            matches!(name, "Size" | "device")
                || element_type(|e| e.storage == name || e.names.contains(&name)).is_some()
        }
        // Scores are often stored as NumPy numbers.
        "numpy" => name == "dtype",
        "numpy.core.multiarray" | "numpy._core.multiarray" => name == "scalar",
        "_codecs" => name == "encode",
        _ => false,
    }
}

fn is_rebuild(name: &str) -> bool {
    matches!(name, "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3")
}

/// A tensor's place in the file.
#[derive(Debug)]
pub(super) struct TensorRef<'p> {
    storage: StorageRef<'p>,
    pub(super) element: &'static ElementType,
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

impl TensorRef<'_> {
    pub(super) fn device(&self) -> &str {
        self.storage.device
    }
}

impl std::fmt::Debug for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label)
    }
}

/// The description of a storage in the pickle.
#[derive(Debug)]
struct StorageRef<'p> {
    key: &'p str,
    /// The element type; none for bytes.
    element: Option<&'static ElementType>,
    /// The device that it was saved from: `cpu`, `cuda:0`. It makes no difference.
    device: &'p str,
    /// In elements.
    len: usize,
    /// Offset and length, in elements, of the part that is used; some old files have one.
    part: Option<(usize, usize)>,
}

/// An opened file. None of its contents has been used yet.
pub(super) struct TorchFile<'a> {
    pub(super) format: &'static str,
    pub(super) pickle: Pickle<'a>,
    /// The calls in the file that weights do not need.
    pub(super) refused: Vec<String>,
    storages: HashMap<String, &'a [u8]>,
    big_endian: bool,
}

/// Opening.
impl<'a> TorchFile<'a> {
    /// Opens a file in either form. A pickle that `torch.save` did not write is opened only to be
    /// refused.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.starts_with(b"PK\x03\x04") {
            Self::open_zip(bytes)
        } else {
            Self::open_stream(bytes)
        }
    }

    fn open_zip(bytes: &'a [u8]) -> Result<Self, String> {
        let entries =
            zip::read(bytes).map_err(|reason| format!("not a complete zip archive: {reason}"))?;
        let root =
            |name: &&'a str| name.strip_suffix("/data.pkl").filter(|root| !root.contains('/'));
        let mut roots = entries.keys().filter_map(root);
        let (Some(root), None) = (roots.next(), roots.next()) else {
            return Err(
                "a zip archive that torch.save did not write: it needs exactly one data.pkl".into(),
            );
        };
        let pickle = Pickle::read(entries[format!("{root}/data.pkl").as_str()], &mut 0);
        let big_endian = match entries.get(format!("{root}/byteorder").as_str()) {
            None | Some(&b"little") => false,
            Some(&b"big") => true,
            Some(_) => return Err("its byte order is neither little nor big".into()),
        };
        let data = format!("{root}/data/");
        let storages = entries
            .iter()
            .filter_map(|(name, &bytes)| Some((name.strip_prefix(&data)?.to_string(), bytes)));
        let refused = pickle.refused(is_known);
        Ok(Self {
            format: "PyTorch zip archive",
            storages: storages.collect(),
            refused,
            pickle,
            big_endian,
        })
    }

    fn open_stream(bytes: &'a [u8]) -> Result<Self, String> {
        let mut at = 0;
        let magic = Pickle::read(bytes, &mut at);
        let mut refused = magic.refused(is_known);
        // Numbers are little-endian in this form, whatever machine wrote them.
        let file = |format, pickle, refused, storages| Self {
            format,
            pickle,
            refused,
            storages,
            big_endian: false,
        };
        if !is_magic(&magic) {
            return match &magic.root {
                _ if !refused.is_empty() => Ok(file("pickle", magic, refused, HashMap::new())),
                Err(reason) if bytes.starts_with(b"\x80") => {
                    Err(format!("a damaged pickle: {reason}"))
                }
                Err(_) => Err("neither a safetensors file nor one that torch.save wrote".into()),
                Ok(_) => Err("a pickle, but not one that torch.save wrote".into()),
            };
        }
        let [version, machine, object] = [(); 3].map(|()| Pickle::read(bytes, &mut at));
        refused.extend(
            [&version, &machine, &object].into_iter().flat_map(|pickle| pickle.refused(is_known)),
        );
        let mut storages = HashMap::new();
        if refused.is_empty() && object.root.is_ok() {
            if version.root.as_ref().ok().and_then(|&id| version.int(id)) != Some(1001) {
                return Err("an unknown version of PyTorch's older format".into());
            }
            let keys = Pickle::read(bytes, &mut at);
            refused.extend(keys.refused(is_known));
            if refused.is_empty() {
                storages = stream_storages(bytes, at, &object, &keys)?;
            }
        }
        Ok(file("PyTorch stream (the older format)", object, refused, storages))
    }
}

fn is_magic(pickle: &Pickle<'_>) -> bool {
    pickle
        .root
        .as_ref()
        .is_ok_and(|&id| matches!(pickle.object(id), Object::Long(value) if MAGIC.contains(value)))
}

/// The storages in a stream, from byte `at` on, in the order of `keys`; `object` says how long
/// their elements are.
fn stream_storages<'a>(
    bytes: &'a [u8],
    mut at: usize,
    object: &Pickle<'_>,
    keys: &Pickle<'_>,
) -> Result<HashMap<String, &'a [u8]>, String> {
    let mut units = HashMap::new();
    for (_, value) in object.objects() {
        if let Object::Persistent(id) = value {
            let storage = storage(object, *id)?;
            units.insert(storage.key, storage.unit());
        }
    }
    let mut storages = HashMap::new();
    for &key in keys.elements(keys.root.clone()?).ok_or("its list of storages is not a list")? {
        let key = keys.text(key).ok_or("the key of a storage is not a string")?;
        let unit =
            units.get(key).ok_or_else(|| format!("storage {key:.20} belongs to no tensor"))?;
        let mut take = |count: usize| {
            let taken = at.checked_add(count).and_then(|end| bytes.get(at..end));
            at += taken.map_or(0, <[u8]>::len);
            taken.ok_or_else(|| format!("the file ends inside storage {key}"))
        };
        let count = take(8)?.iter().rev().fold(0u64, |count, &byte| count << 8 | u64::from(byte));
        let size = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(*unit))
            .unwrap_or(usize::MAX);
        storages.insert(key.to_string(), take(size)?);
    }
    Ok(storages)
}

/// The storage of a persistent identifier, `('storage', type, key, device, elements)`, of old files
/// with a sixth part.
fn storage<'p>(pickle: &'p Pickle<'_>, id: ObjectId) -> Result<StorageRef<'p>, String> {
    let refuse = || format!("{} is not a storage", pickle.describe(id));
    let (kind, class, key, device, len, part) = match *pickle.elements(id).ok_or_else(refuse)? {
        [kind, class, key, device, len] => (kind, class, key, device, len, None),
        [kind, class, key, device, len, part] => {
            (kind, class, key, device, len, pickle.elements(part))
        }
        _ => return Err(refuse()),
    };
    let element = match pickle.global(class).ok_or_else(refuse)? {
        ("torch.storage", "UntypedStorage") => None,
        ("torch", name) => {
            Some(element_type(|element| element.storage == name).ok_or_else(refuse)?)
        }
        _ => return Err(refuse()),
    };
    let size = |id| pickle.int(id).and_then(|size| usize::try_from(size).ok()).ok_or_else(refuse);
    let part = match part {
        Some(&[_, offset, len]) => Some((size(offset)?, size(len)?)),
        _ => None,
    };
    match (pickle.text(kind), pickle.text(key), pickle.text(device)) {
        (Some("storage"), Some(key), Some(device)) if key.len() <= 100 => {
            Ok(StorageRef { key, element, device, len: size(len)?, part })
        }
        _ => Err(refuse()),
    }
}

impl StorageRef<'_> {
    /// The size of the units of its length, in bytes.
    fn unit(&self) -> usize {
        self.element.map_or(1, |element| element.size)
    }
}

/// Tensors.
impl TorchFile<'_> {
    /// The tensor that a call stands for; none if the object is something else.
    pub(super) fn tensor(&self, mut id: ObjectId) -> Option<Result<TensorRef<'_>, String>> {
        // A parameter is a tensor in a wrapper.
        for _ in 0..4 {
            match self.pickle.call(id)? {
                (
                    ("torch._utils", "_rebuild_parameter") | ("torch.nn.parameter", "Parameter"),
                    args,
                    _,
                ) => {
                    id = *args.first()?;
                }
                (("torch._utils", name), args, _) if is_rebuild(name) => {
                    return Some(self.rebuild(args));
                }
                _ => return None,
            }
        }
        None
    }

    /// `_rebuild_tensor(storage, offset, size, stride, …)`, whose third version names the element
    /// type as its seventh argument.
    fn rebuild(&self, args: &[ObjectId]) -> Result<TensorRef<'_>, String> {
        let pickle = &self.pickle;
        let &[place, offset, shape, strides, ..] = args else {
            return Err("a tensor has too few arguments".into());
        };
        let Object::Persistent(id) = *pickle.object(place) else {
            return Err("a tensor has no storage".into());
        };
        let storage = storage(pickle, id)?;
        let named = || match pickle.global(*args.get(6)?)? {
            ("torch", name) => element_type(|element| element.names.contains(&name)),
            _ => None,
        };
        let element = storage.element.or_else(named).ok_or("its element type is not supported")?;
        let offset = pickle
            .int(offset)
            .and_then(|offset| usize::try_from(offset).ok())
            .ok_or("its offset is not a size")?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(format!("shape {shape:?} and strides {strides:?} differ in length"));
        }
        Ok(TensorRef { storage, element, offset, shape, strides })
    }

    /// A tuple of sizes, or a `torch.Size` of one.
    fn sizes(&self, id: ObjectId) -> Result<Vec<usize>, String> {
        let id = match self.pickle.call(id) {
            Some((("torch", "Size"), &[tuple], _)) => tuple,
            _ => id,
        };
        let elements = self.pickle.elements(id).filter(|elements| elements.len() <= MAX_RANK);
        let size = |&id| self.pickle.int(id).and_then(|size| usize::try_from(size).ok());
        let sizes = elements.and_then(|elements| elements.iter().map(size).collect());
        sizes.ok_or_else(|| format!("{} is not a shape", self.pickle.describe(id)))
    }

    /// Reads a tensor's elements. `budget` is the number of bytes that tensors may still take,
    /// since many tensors can be views of one storage, and a stride of 0 makes any number of
    /// elements out of one.
    pub(super) fn value(
        &self,
        tensor: &TensorRef<'_>,
        budget: &mut usize,
    ) -> Result<Tensor, String> {
        let TensorRef { storage, element, offset, shape, strides } = tensor;
        let size = element.size;
        let bytes = self
            .storages
            .get(storage.key)
            .ok_or_else(|| format!("storage {} is missing", storage.key))?;
        if storage.len.checked_mul(storage.unit()) != Some(bytes.len()) {
            let (len, unit) = (storage.len, storage.unit());
            return Err(format!(
                "storage {} should have {len} × {unit} bytes, but has {}",
                storage.key,
                bytes.len()
            ));
        }
        let part = match storage.part {
            Some((start, len)) => start
                .checked_add(len)
                .and_then(|end| bytes.get(start * size..end.checked_mul(size)?)),
            None => Some(*bytes),
        };
        let bytes = part
            .ok_or_else(|| format!("a part of storage {} extends beyond its end", storage.key))?;

        let out_bytes = checked_bytes(shape, element.dtype)?;
        let count = out_bytes / element.dtype.size();
        let last = shape.iter().zip(strides).try_fold(*offset, |last, (&n, &stride)| {
            last.checked_add(n.saturating_sub(1).checked_mul(stride)?)
        });
        if count > 0 && last.is_none_or(|last| last >= bytes.len() / size) {
            return Err(format!(
                "shape {shape:?}, strides {strides:?} and offset {offset} extend beyond its storage"
            ));
        }
        *budget = budget
            .checked_sub(out_bytes)
            .ok_or("the file's tensors are far larger than the file")?;

        let mut out = Vec::with_capacity(out_bytes);
        let mut push = |at: usize| {
            let start = out.len();
            out.extend(&bytes[at * size..][..size]);
            if self.big_endian {
                out[start..].reverse();
            }
            // Short integers become long ones.
            let sign = if out[out.len() - 1] & 0x80 == 0 { 0 } else { 0xFF };
            out.resize(start + element.dtype.size(), sign);
        };
        for_each_place(shape, strides, *offset, count, &mut push);
        Tensor::from_le_bytes(&out, shape, element.dtype).map_err(|error| error.to_string())
    }
}

/// The positions of a view's elements in its storage, in row-major order.
fn for_each_place(
    shape: &[usize],
    strides: &[usize],
    offset: usize,
    count: usize,
    visit: &mut impl FnMut(usize),
) {
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    for _ in 0..count {
        visit(at);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            if index[d] < shape[d] {
                at += strides[d];
                break;
            }
            at -= strides[d] * (shape[d] - 1);
            index[d] = 0;
        }
    }
}
