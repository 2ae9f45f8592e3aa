//! The contents of a weight file: the types that every format is read into and written from.

use engine::Tensor;
use std::collections::HashMap;

/// The weights of a model, as files hold them.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::weights::WeightFile;
/// let tensors = [("head.bias".to_string(), Tensor::ones(&[2], DType::F32)?)].into();
/// let metadata = [("epoch".to_string(), "7".to_string())].into();
/// let file = WeightFile { tensors, metadata, verified: false };
/// // Safetensors with a checksum, and a file for `torch.load`.
/// for bytes in [file.to_bytes()?, file.to_torch_bytes()?] {
///     let read = WeightFile::from_bytes("memory", &bytes)?;
///     assert_eq!(read.tensors["head.bias"].to_vec::<f32>()?, [1.0, 1.0]);
///     assert_eq!(read.metadata["epoch"], "7");
/// }
/// # let folder = tempfile::tempdir().expect("a folder");
/// // On the disk, in the format of the extension.
/// let path = folder.path().join("weights.pth");
/// file.write(&path)?;
/// assert_eq!(WeightFile::read(&path)?.tensors.len(), 1);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct WeightFile {
    /// Named tensors, off any tape.
    pub tensors: HashMap<String, Tensor>,
    /// The metadata: that of safetensors, or the numbers and texts beside the state dict in a
    /// PyTorch file.
    pub metadata: HashMap<String, String>,
    /// Whether the file had a checksum of all this, and it was right. Files written here have one.
    pub verified: bool,
}

/// The contents of a weight file, listed without using any of it.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::weights::{Contents, WeightFile};
/// let tensors = [("head.bias".to_string(), Tensor::ones(&[2], DType::F32)?)].into();
/// let bytes = WeightFile { tensors, ..WeightFile::default() }.to_torch_bytes()?;
/// let contents = Contents::from_bytes("memory", &bytes)?;
/// assert_eq!(contents.path, ["model"]);
/// assert_eq!((&*contents.tensors[0].name, &*contents.tensors[0].dtype), ("head.bias", "f32"));
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Contents {
    /// The file's format.
    pub format: &'static str,
    /// The keys that lead to the state dict in a PyTorch file.
    pub path: Vec<String>,
    /// The tensors of the state dict, in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// The other entries, each with a description: metadata, an epoch, an optimizer's state.
    pub beside: Vec<(String, String)>,
    /// The imports that weights do not need, with the arguments of their calls. None of them was
    /// called.
    pub refused: Vec<String>,
}

/// The description of a tensor in a file.
#[derive(Debug)]
pub struct TensorInfo {
    /// Its key.
    pub name: String,
    /// Its element type in the file: `f32`, `bf16`, `i32`, ….
    pub dtype: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// The device on which PyTorch had it: `cpu`, `cuda:0`.
    pub device: Option<String>,
}
