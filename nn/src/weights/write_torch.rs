//! Writes files that `torch.load` reads, also with `weights_only=True`: a zip archive of a pickle
//! of protocol 2, and a storage for each tensor.

use super::contents::WeightFile;
use super::zip::Writer;
use engine::DType;

/// `{'model': OrderedDict(name → tensor), key: text, …}`, all in the order of their names.
pub(super) fn write(file: &WeightFile) -> Result<Vec<u8>, String> {
    let mut names: Vec<&String> = file.tensors.keys().collect();
    names.sort();
    let mut keys: Vec<&String> = file.metadata.keys().filter(|key| *key != "model").collect();
    keys.sort();

    let mut pickle = Pickler(b"\x80\x02}(".to_vec());
    pickle.text("model");
    pickle.ordered_dict();
    pickle.0.push(b'(');
    for (i, name) in names.iter().enumerate() {
        let tensor = &file.tensors[*name];
        pickle.text(name);
        pickle.tensor(&i.to_string(), tensor.dtype(), tensor.shape());
    }
    pickle.0.push(b'u');
    for key in keys {
        pickle.text(key);
        pickle.text(&file.metadata[key]);
    }
    pickle.0.extend(b"u.");

    // PyTorch looks for every entry in the folder that the first one is in.
    let mut archive = Writer::default();
    archive.add("archive/data.pkl", &pickle.0);
    archive.add("archive/byteorder", b"little");
    for (i, name) in names.iter().enumerate() {
        let bytes = file.tensors[*name].to_le_bytes().map_err(|error| error.to_string())?;
        archive.add(&format!("archive/data/{i}"), &bytes);
    }
    archive.add("archive/version", b"3\n");
    archive.finish()
}

/// A pickle being written.
struct Pickler(Vec<u8>);

impl Pickler {
    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend(b")R");
    }

    /// An integer of 8 bytes.
    fn int(&mut self, value: usize) {
        self.0.extend(b"\x8a\x08");
        self.0.extend((value as u64).to_le_bytes());
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.0.push(b'(');
        sizes.iter().for_each(|&size| self.int(size));
        self.0.push(b't');
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`, row-major.
    fn tensor(&mut self, key: &str, dtype: DType, shape: &[usize]) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend(b"((");
        self.text("storage");
        self.global("torch", storage_class(dtype));
        self.text(key);
        self.text("cpu");
        self.int(shape.iter().product());
        self.0.extend(b"tQ");
        self.int(0);
        self.sizes(shape);
        let strides = (0..shape.len()).map(|d| shape[d + 1..].iter().product());
        self.sizes(&strides.collect::<Vec<usize>>());
        // requires_grad = False
        self.0.push(0x89);
        self.ordered_dict();
        self.0.extend(b"tR");
    }
}

fn storage_class(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "FloatStorage",
        DType::F64 => "DoubleStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::I64 => "LongStorage",
        DType::U8 => "ByteStorage",
    }
}
